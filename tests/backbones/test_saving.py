import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")

from safetensors import safe_open
from safetensors.torch import save_file

from tests.backbones.small import SMALL, inputs_for, small_backbone
from vpdata.backbones.context_encoder import ContextEncoder, ContextEncoderSettings
from vpdata.backbones.injector import InjectionSettings
from vpdata.backbones.inpainting import InpaintingBackbone
from vpdata.backbones.loading import load_backbone
from vpdata.backbones.saving import load_context_encoder, parameter_share, save_context_encoder
from vpdata.backbones.settings import BackboneSettings
from vpdata.errors import BackendError

torch.set_num_threads(1)

INJECTION = InjectionSettings(schedule="every", background_only=False)


def trained(backbone) -> ContextEncoder:
    """As after some steps: nothing is zero."""
    encoder = ContextEncoder(backbone, ContextEncoderSettings(num_layers=2))
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    return encoder


def save_to(folder: Path, backbone, encoder: ContextEncoder) -> None:
    save_context_encoder(
        folder,
        encoder.state_dict(),
        spec=backbone.spec,
        encoder=ContextEncoderSettings(num_layers=2),
        injection=INJECTION,
        fingerprint="0123456789abcdef",
    )


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_a_saved_encoder_predicts_the_same_bits_in_one_call(name, tmp_path):
    backbone = small_backbone(name)
    inputs = inputs_for(backbone)
    arguments = (inputs.noisy, inputs.timesteps, inputs.conditions, inputs.context)
    plain = backbone.predict(*arguments[:3])
    encoder = trained(backbone)
    inpainting = InpaintingBackbone(backbone, encoder, INJECTION)
    expected = inpainting(*arguments)
    inpainting.injector.remove()
    save_to(tmp_path / "context_encoder", backbone, encoder)

    loaded = load_context_encoder(tmp_path / "context_encoder", small_backbone(name))
    assert torch.equal(loaded(*arguments), expected)
    assert not torch.equal(plain, expected)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_folder_holds_only_the_encoder_in_the_precision_it_was_trained_in(tmp_path):
    backbone = small_backbone("wan")
    encoder = trained(backbone)
    save_to(tmp_path, backbone, encoder)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(dict(encoder.named_parameters()))
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float32}  # noqa: SIM118
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["num_parameters"] == sum(parameter.numel() for parameter in encoder.parameters())
    assert config["backbone"]["family"] == "wan"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


@torch.no_grad()
def test_an_encoder_trained_in_float32_is_opened_in_the_dtype_of_its_backbone(tmp_path):
    backbone = load_backbone(BackboneSettings(tiny="wan", device="cpu", dtype="float32"))
    save_to(tmp_path, backbone, trained(backbone))
    half = load_backbone(BackboneSettings(tiny="wan", device="cpu", dtype="bfloat16"))
    encoder = load_context_encoder(tmp_path, half).encoder
    for own, copied in zip(half.blocks[:2], encoder.blocks, strict=True):
        assert [tensor.dtype for tensor in own.parameters()] == [tensor.dtype for tensor in copied.parameters()]


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        ("wan", r"trained on family cogvideox, .*this one has family wan"),
        ("cogvideox-1.5", r"trained on patch \[1, 2, 2\]; this one has patch \[2, 2, 2\]"),
        ("cogvideox-5b-i2v", "trained on takes_first_frame False; this one has takes_first_frame True"),
    ],
)
def test_another_backbone_is_refused_by_what_differs(other, differs, tmp_path):
    backbone = small_backbone("cogvideox-5b")
    save_to(tmp_path, backbone, trained(backbone))
    with pytest.raises(BackendError, match=differs):
        load_context_encoder(tmp_path, small_backbone(other))


def test_the_other_expert_is_refused(tmp_path):
    settings = BackboneSettings(tiny="wan2.2-a14b", expert="high_noise", device="cpu", dtype="float32")
    backbone = load_backbone(settings)
    save_to(tmp_path, backbone, trained(backbone))
    load_context_encoder(tmp_path, load_backbone(settings))
    with pytest.raises(BackendError, match="trained on expert high_noise; this one has expert low_noise"):
        load_context_encoder(tmp_path, load_backbone(replace(settings, expert="low_noise")))


def test_another_frame_rate_is_refused(tmp_path):
    at_8 = BackboneSettings(tiny="ltx", frame_rate=8, device="cpu", dtype="float32")
    backbone = load_backbone(at_8)
    save_to(tmp_path, backbone, trained(backbone))
    load_context_encoder(tmp_path, load_backbone(at_8))
    with pytest.raises(BackendError, match=r"trained on frame_rate 8; this one has frame_rate 25\.0"):
        load_context_encoder(tmp_path, load_backbone(replace(at_8, frame_rate=None)))


def test_an_encoder_that_was_saved_before_experts_and_frame_rates_were_told_is_opened(tmp_path):
    backbone = small_backbone("wan")
    save_to(tmp_path, backbone, trained(backbone))
    config = json.loads((tmp_path / "config.json").read_text())
    del config["backbone"]["expert"], config["backbone"]["frame_rate"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    load_context_encoder(tmp_path, small_backbone("wan"))


def test_another_vae_is_refused_where_it_is_known(tmp_path):
    backbone = small_backbone("wan")
    save_to(tmp_path, backbone, trained(backbone))
    load_context_encoder(tmp_path, small_backbone("wan"), fingerprint="0123456789abcdef")
    with pytest.raises(BackendError, match="another VAE or text encoder: got the fingerprint 0123456789abcdef"):
        load_context_encoder(tmp_path, small_backbone("wan"), fingerprint="fedcba9876543210")


def test_a_damaged_folder_is_named(tmp_path):
    backbone = small_backbone("wan")
    with pytest.raises(BackendError, match="holds no context encoder"):
        load_context_encoder(tmp_path, backbone)
    save_to(tmp_path, backbone, trained(backbone))
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(BackendError, match="damaged context encoder"):
        load_context_encoder(tmp_path, backbone)
    weights.write_bytes(whole)
    config = json.loads((tmp_path / "config.json").read_text())
    config["encoder"]["num_layers"] = 1
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackendError, match="weights of another encoder"):
        load_context_encoder(tmp_path, backbone)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BackendError, match="damaged context encoder"):
        load_context_encoder(tmp_path, backbone)


def test_a_checkpoint_of_another_project_is_named_by_its_class(tmp_path):
    config = {"_class_name": "CogvideoXBranchModel", "_diffusers_version": "0.32.0", "in_channels": 32, "num_layers": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"patch_embed.proj.weight": torch.zeros(8, 33, 2, 2)}, tmp_path / "diffusion_pytorch_model.safetensors")
    wanted = "a diffusers checkpoint of class CogvideoXBranchModel, another architecture, .* that `vpdata train` wrote"
    with pytest.raises(BackendError, match=wanted):
        load_context_encoder(tmp_path, small_backbone("cogvideox-5b-i2v"))


def test_the_share_of_parameters_is_exact():
    backbone = small_backbone("wan")
    encoder = ContextEncoder(backbone, ContextEncoderSettings(num_layers=1))
    # Width 48; 2 x 16 latent and 64 mask channels in patches of 4 cells; one block and its output layer.
    block = sum(parameter.numel() for parameter in backbone.blocks[0].parameters())
    expected = (96 * 4 * 48 + 48) + block + (48 * 48 + 48)
    whole = sum(parameter.numel() for parameter in backbone.transformer.parameters())
    assert parameter_share(encoder.parameters(), backbone) == expected / whole
