import json

import pytest
import torch

pytest.importorskip("peft")

from diffusers.loaders.lora_pipeline import (
    CogVideoXLoraLoaderMixin,
    HunyuanVideoLoraLoaderMixin,
    LTXVideoLoraLoaderMixin,
    WanLoraLoaderMixin,
)

from tests.backbones.small import inputs_for, small_backbone
from tests.backbones.test_identity import adapter_on, predict, source_for
from vpdata.backbones.identity_saving import load_id_adapter, save_id_adapter
from vpdata.errors import BackendError

torch.set_num_threads(1)


@torch.no_grad()
@pytest.mark.parametrize("scope", ["id_only", "joint"])
@pytest.mark.parametrize("name", ["cogvideox-5b", "wan", "ltx", "hunyuan"])
def test_loaded_adapter_predicts_what_the_saved_one_did(name, scope, tmp_path):
    saved = adapter_on(name, scope=scope, trained=True)
    saved.capture(source_for(saved))
    save_id_adapter(tmp_path, saved)
    loaded = load_id_adapter(tmp_path, small_backbone(name))
    assert loaded.settings == saved.settings
    loaded.capture(source_for(loaded))
    assert torch.equal(predict(loaded), predict(saved))


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "loader"),
    [
        ("cogvideox-5b", CogVideoXLoraLoaderMixin),
        ("wan", WanLoraLoaderMixin),
        ("ltx", LTXVideoLoraLoaderMixin),
        ("hunyuan", HunyuanVideoLoraLoaderMixin),
    ],
)
def test_diffusers_own_loader_reads_weights_and_scale(name, loader, tmp_path):
    saved = adapter_on(name, scope="joint", trained=True)
    save_id_adapter(tmp_path, saved)
    backbone = small_backbone(name)
    state, metadata = loader.lora_state_dict(
        str(tmp_path), weight_name="pytorch_lora_weights.safetensors", return_lora_metadata=True
    )
    loader.load_lora_into_transformer(state, backbone.transformer, metadata=metadata)
    inputs = inputs_for(backbone)
    theirs = backbone.predict(inputs.noisy, inputs.timesteps, inputs.conditions)
    torch.testing.assert_close(theirs, predict(saved), rtol=1e-5, atol=1e-5)


def test_adapter_of_another_backbone_is_refused_with_what_differs(tmp_path):
    save_id_adapter(tmp_path, adapter_on("wan"))
    with pytest.raises(
        BackendError, match=r"for another backbone: it was trained on family wan.*this one has family cogvideox"
    ):
        load_id_adapter(tmp_path, small_backbone("cogvideox-5b"))


def test_cut_weights_are_refused(tmp_path):
    save_id_adapter(tmp_path, adapter_on("wan"))
    weights = tmp_path / "pytorch_lora_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BackendError, match="damaged ID adapter"):
        load_id_adapter(tmp_path, small_backbone("wan"))


def test_config_of_another_kind_is_refused(tmp_path):
    save_id_adapter(tmp_path, adapter_on("wan"))
    config = tmp_path / "id_adapter_config.json"
    content = json.loads(config.read_text())
    content["settings"] = {"rnak": 4}
    config.write_text(json.dumps(content))
    with pytest.raises(BackendError, match="did you mean 'rank'"):
        load_id_adapter(tmp_path, small_backbone("wan"))


def test_unfinished_folder_is_refused(tmp_path):
    save_id_adapter(tmp_path, adapter_on("wan"))
    (tmp_path / "id_adapter_config.json").unlink()
    with pytest.raises(BackendError, match="holds no ID adapter"):
        load_id_adapter(tmp_path, small_backbone("wan"))


def test_gathered_tensors_are_saved_in_place_of_the_adapters_own(tmp_path):
    saved = adapter_on("wan", trained=True)
    named = saved.backbone.transformer.named_parameters()
    gathered = {name: tensor.detach() * 2 for name, tensor in named if tensor.requires_grad}
    save_id_adapter(tmp_path, saved, gathered)
    loaded = load_id_adapter(tmp_path, small_backbone("wan"))
    for one, other in zip(loaded.parameters(), saved.parameters(), strict=True):
        assert torch.equal(one, other * 2)
