import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import (
    CogVideoXTransformer3DModel,
    HunyuanVideoTransformer3DModel,
    LTXVideoTransformer3DModel,
    WanPipeline,
    WanTransformer3DModel,
)
from safetensors.torch import load_file, save_file

from tests.backbones.small import (
    COGVIDEOX_VAE,
    FLOW,
    FLOW_SHIFT_7,
    HUNYUAN_VAE,
    LTX_VAE,
    SHIFTED_FLOW,
    TI2V_VAE,
    V_PREDICTION,
    WAN_VAE,
)
from vpdata.backbones.cogvideox import CogVideoX
from vpdata.backbones.context_encoder import ContextEncoder, ContextEncoderSettings
from vpdata.backbones.hunyuan import HunyuanVideo
from vpdata.backbones.loading import fingerprint, load_backbone, load_codec, load_text_encoder, read_spec
from vpdata.backbones.ltx import LTX
from vpdata.backbones.port import Backbone, Conditions
from vpdata.backbones.settings import BackboneSettings, TinyName
from vpdata.backbones.tiny import save_tiny, tiny_folder
from vpdata.backbones.wan import Wan
from vpdata.config import fill
from vpdata.errors import BackendError, ConfigError
from vpdata.models.weights import Lock, locked, write_lock
from vpdata.storage import Folder

torch.set_num_threads(1)

NAMES = (
    "cogvideox",
    "cogvideox-i2v",
    "cogvideox1.5",
    "cogvideox1.5-i2v",
    "wan",
    "wan-i2v",
    "wan-ti2v",
    "ltx",
    "ltx-0.9.5",
    "hunyuan",
    "hunyuan-i2v",
)
EXPERTS = ("high_noise", "low_noise")


def tiny(name: TinyName = "wan", **changes) -> BackboneSettings:
    return replace(BackboneSettings(tiny=name, device="cpu", dtype="float32"), **changes)


def load_pipeline(folder: Path) -> WanPipeline:
    return WanPipeline.from_pretrained(folder, local_files_only=True)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "cogvideox"
    save_tiny(folder, "cogvideox")
    return folder


@pytest.fixture
def own(saved, tmp_path) -> BackboneSettings:
    """A folder of the user's own, to be damaged."""
    shutil.copytree(saved, tmp_path / "own")
    return BackboneSettings(weights=str(tmp_path / "own"), device="cpu", dtype="float32")


def edit(settings: BackboneSettings, part: str, **changes) -> None:
    path = Path(settings.weights or "", part, "config.json")
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value != "removed"}))


@pytest.mark.parametrize(
    ("name", "expert"), [*((name, None) for name in NAMES), *(("wan2.2-a14b", expert) for expert in EXPERTS)]
)
def test_every_tiny_backbone_predicts_for_what_its_codec_and_text_encoder_give(name, expert):
    settings = tiny(name, expert=expert)
    backbone, codec, text_encoder = load_backbone(settings), load_codec(settings), load_text_encoder(settings)
    assert backbone.spec == codec.spec == text_encoder.spec == read_spec(settings)
    video = torch.rand(1, 3, 9, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    first = codec.first_frame(video[:, :, 0], num_frames=9) if backbone.spec.takes_first_frame else None
    length = backbone.spec.text_length
    text = torch.nn.functional.pad(text_encoder.encode(["a red ball"])[0], (0, 0, 0, length))[:length][None]
    latents = codec.encode(video)
    with torch.no_grad():
        velocity = backbone.predict(latents, torch.tensor([500.0]), Conditions(text=text, first_frame=first))
    assert velocity.shape == latents.shape
    assert velocity.isfinite().all()
    assert not any(parameter.requires_grad for parameter in backbone.transformer.parameters())


def test_an_ltx_makes_video_from_its_first_frame_too_where_that_is_wanted():
    settings = tiny("ltx", first_frame=True)
    assert read_spec(settings).takes_first_frame
    assert load_backbone(settings).spec == load_codec(settings).spec == read_spec(settings)
    assert fingerprint(settings) != fingerprint(tiny("ltx"))


def test_frames_per_second_change_the_positions_of_an_ltx():
    at_8, at_25, by_default = (load_backbone(tiny("ltx", frame_rate=rate)) for rate in (8.0, 25.0, None))
    assert torch.equal(by_default.rotary((3, 2, 3))[0], at_25.rotary((3, 2, 3))[0])
    assert not torch.allclose(at_8.rotary((3, 2, 3))[0], at_25.rotary((3, 2, 3))[0], atol=1e-3)


@pytest.mark.parametrize("settings", [{"first_frame": True}, {"frame_rate": 8.0}])
def test_what_only_an_ltx_is_told_is_refused_for_others(settings):
    with pytest.raises(BackendError, match="is no LTX"):
        load_backbone(tiny("wan", **settings))


@pytest.mark.parametrize("way", ["token_replace", "latent_concat"])
def test_the_image_to_video_checkpoints_of_hunyuan_are_refused_by_name(way, tmp_path):
    save_tiny(tmp_path, "hunyuan")
    settings = BackboneSettings(weights=str(tmp_path), device="cpu", dtype="float32")
    edit(settings, "transformer", image_condition_type=way)
    for load in (read_spec, load_backbone, load_codec, load_text_encoder):
        with pytest.raises(BackendError, match=rf"HunyuanVideo-I2V \({way}\).*take HunyuanVideo, or SkyReels V1 I2V"):
            load(settings)


@pytest.mark.parametrize("name", ["cogvideox-i2v", "wan-i2v", "ltx", "hunyuan"])
def test_a_tiny_checkpoint_is_a_function_of_name_and_seed(name, tmp_path):
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    for folder, seed in (("one", 3), ("again", 3), ("other", 4)):
        save_tiny(tmp_path / folder, name, seed=seed)
        torch.rand(3)  # the caller's own state must decide nothing
    torch.random.set_rng_state(state)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    differing = [
        file for file in files if (tmp_path / "one" / file).read_bytes() != (tmp_path / "other" / file).read_bytes()
    ]
    assert {file.parent.name for file in differing if file.suffix == ".safetensors"} >= {
        "transformer",
        "vae",
        "text_encoder",
    }


def test_loading_leaves_the_random_state_of_the_caller():
    settings = tiny("cogvideox", tiny_seed=11)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = load_backbone(settings)
    load_codec(settings), load_text_encoder(settings)
    assert torch.equal(torch.random.get_rng_state(), state)
    second = load_backbone(settings)
    for name, tensor in first.transformer.state_dict().items():
        assert torch.equal(tensor, second.transformer.state_dict()[name]), name


def test_weights_are_opened_in_the_dtype_that_was_asked_for():
    """But for what the checkpoint's class keeps in float32."""
    transformer = load_backbone(tiny("wan", dtype="bfloat16")).transformer
    dtypes = {name: parameter.dtype for name, parameter in transformer.named_parameters()}
    assert dtypes["blocks.0.attn1.to_q.weight"] == torch.bfloat16
    assert dtypes["blocks.0.scale_shift_table"] == torch.float32
    assert load_codec(tiny("wan", dtype="bfloat16")).encode(torch.zeros(1, 3, 1, 64, 64)).dtype == torch.bfloat16
    assert load_text_encoder(tiny("wan", dtype="bfloat16")).encode(["a"])[0].dtype == torch.bfloat16


def test_settings_name_exactly_one_backbone():
    for given in ({}, {"weights": "a/b", "tiny": "wan"}):
        with pytest.raises(ConfigError, match="exactly one"):
            fill(BackboneSettings, given)
    with pytest.raises(ConfigError, match="revision"):
        fill(BackboneSettings, {"tiny": "wan", "revision": "main"})
    with pytest.raises(ConfigError, match="wan-ti2v"):
        fill(BackboneSettings, {"tiny": "wann"})


def test_the_spec_is_read_without_weights(own):
    expected = read_spec(own)
    assert expected == read_spec(tiny("cogvideox"))
    for file in Path(own.weights).rglob("*.safetensors"):
        file.unlink()
    assert read_spec(own) == expected
    with pytest.raises(BackendError, match="weights cannot be loaded"):
        load_backbone(own)


def test_configs_of_older_releases_lack_keys_that_have_defaults(tmp_path):
    """The VAE of Wan 2.1 was published before diffusers wrote its strides into the config."""
    save_tiny(tmp_path, "wan")
    settings = BackboneSettings(weights=str(tmp_path), device="cpu", dtype="float32")
    expected = read_spec(settings)
    edit(settings, "vae", scale_factor_temporal="removed", scale_factor_spatial="removed")
    assert read_spec(settings) == load_codec(settings).spec == expected
    assert load_backbone(settings).spec == expected


def test_fingerprint_tells_apart_what_decides_latents_and_texts(own):
    base = fingerprint(tiny("cogvideox"))
    assert len(base) == 16
    assert fingerprint(tiny("cogvideox", dtype="bfloat16")) == base
    assert fingerprint(tiny("cogvideox", device="cuda")) == base
    assert fingerprint(tiny("cogvideox", tiny_seed=1)) != base
    assert len({fingerprint(tiny(name)) for name in NAMES}) == len(NAMES)

    base = fingerprint(own)
    edit(own, "vae", _diffusers_version="0.99", _name_or_path="elsewhere")
    edit(own, "transformer", num_layers=5)
    assert fingerprint(own) == base, "neither who wrote a config nor the transformer decides a latent"
    edit(own, "vae", scaling_factor=2.0)
    with_other_scale = fingerprint(own)
    assert with_other_scale != base
    edit(own, "transformer", max_text_seq_length=17)
    assert fingerprint(own) not in (base, with_other_scale)


def test_fingerprint_follows_the_hashes_of_the_lock_file(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("VPDATA_WEIGHTS", str(tmp_path))
    shutil.copytree(saved, tmp_path / "org/name")
    folder = Folder(str(tmp_path / "org/name"))
    settings = BackboneSettings(weights="org/name", device="cpu", dtype="float32")

    def relock() -> str:
        names = [str(path.relative_to(folder.uri)) for path in Path(folder.uri).rglob("*.*") if path.is_file()]
        names = sorted(name for name in names if not name.endswith("lock.yaml"))
        write_lock(folder, Lock(source="org/name", revision="abc", files=locked(folder, names)))
        return fingerprint(settings)

    with pytest.raises(BackendError, match="vpdata models fetch org/name"):
        read_spec(settings)
    base = relock()
    assert relock() == base
    assert load_backbone(settings).spec == read_spec(settings)
    for part, load, matters in (("transformer", load_backbone, False), ("vae", load_codec, True)):
        file = Path(folder.uri, part, "diffusion_pytorch_model.safetensors")
        file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
        load_text_encoder(settings)  # which does not touch that part
        with pytest.raises(BackendError, match=f"{part}/.*SHA-256"):
            load(settings)
        before = fingerprint(settings)
        assert (relock() != before) == matters


@pytest.mark.parametrize(
    ("part", "load"),
    [
        ("transformer", load_backbone),
        ("scheduler", load_backbone),
        ("vae", load_codec),
        ("image_encoder", load_codec),
        ("image_processor", load_codec),
        ("text_encoder", load_text_encoder),
        ("tokenizer", load_text_encoder),
        ("text_encoder_2", load_text_encoder),
        ("tokenizer_2", load_text_encoder),
    ],
)
def test_a_missing_part_is_named(part, load, tmp_path):
    save_tiny(tmp_path, "hunyuan" if part.endswith("_2") else "wan-i2v")
    shutil.rmtree(tmp_path / part)
    with pytest.raises(BackendError, match=f"has no {part}/.*wanted the folder of a whole pipeline"):
        load(BackboneSettings(weights=str(tmp_path), device="cpu", dtype="float32"))


@pytest.mark.parametrize(("part", "load"), [("transformer", load_backbone), ("vae", load_codec)])
def test_weights_cut_short_or_incomplete_are_refused(own, part, load):
    file = Path(own.weights, part, "diffusion_pytorch_model.safetensors")
    whole = load_file(file)
    dropped = sorted(whole)[0]
    save_file({name: tensor for name, tensor in whole.items() if name != dropped}, file, metadata={"format": "pt"})
    with pytest.raises(BackendError, match=f"lack 1 of the weights, such as {dropped}"):
        load(own)
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(BackendError, match=f"{part}: the weights cannot be loaded"):
        load(own)


def test_a_text_encoder_cut_short_is_refused(own):
    file = Path(own.weights, "text_encoder/model.safetensors")
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(BackendError, match="text_encoder: the weights cannot be loaded"):
        load_text_encoder(own)


def test_a_part_of_another_class_is_named(own):
    edit(own, "transformer", _class_name="LTX2VideoTransformer3DModel")
    with pytest.raises(BackendError, match=r"got the class LTX2.*CogVideoXTransformer3DModel or WanTransformer3D"):
        load_backbone(own)
    edit(own, "transformer", _class_name="WanTransformer3DModel")
    with pytest.raises(BackendError, match="vae: got the class AutoencoderKLCogVideoX, wanted AutoencoderKLWan"):
        read_spec(own)


def test_a_damaged_config_is_named(own):
    Path(own.weights, "vae/config.json").write_text("{")
    with pytest.raises(BackendError, match=r"vae/config.json is damaged"):
        read_spec(own)


def test_each_expert_is_opened_from_its_own_part():
    with_two = load_pipeline(tiny_folder("wan2.2-a14b", 0))
    opened = {expert: load_backbone(tiny("wan2.2-a14b", expert=expert)) for expert in EXPERTS}
    for expert, wanted in zip(EXPERTS, (with_two.transformer, with_two.transformer_2), strict=True):
        assert opened[expert].spec.expert == expert
        weights = opened[expert].transformer.state_dict()
        assert all(torch.equal(weights[name], tensor) for name, tensor in wanted.state_dict().items())
    first, second = (backbone.transformer.state_dict() for backbone in opened.values())
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_each_expert_draws_the_noise_that_the_pipeline_asks_it_about():
    """`WanPipeline.__call__`: `t >= boundary_ratio * num_train_timesteps` is the first transformer's."""
    pipeline = load_pipeline(tiny_folder("wan2.2-a14b", 0))
    boundary = pipeline.config.boundary_ratio * pipeline.scheduler.config.num_train_timesteps
    assert boundary == 875
    draws = torch.cat([torch.linspace(0, 1, 1001)[:-1], torch.tensor([1 - 2**-24])])
    high, low = (load_backbone(tiny("wan2.2-a14b", expert=expert)).objective.timesteps(draws) for expert in EXPERTS)
    assert (high >= boundary).all()
    assert (high < 1000).all()
    assert (low < boundary).all()
    assert (low >= 0).all()
    assert high[0] == low[-1].ceil() == boundary


def test_of_two_experts_one_must_be_named_and_of_one_none():
    with pytest.raises(BackendError, match=r"two transformers.*backbone.expert: high_noise or low_noise"):
        load_backbone(tiny("wan2.2-a14b"))
    for load in (load_backbone, read_spec):
        with pytest.raises(BackendError, match=r"one transformer.*got backbone.expert low_noise, wanted null"):
            load(tiny("wan", expert="low_noise"))
    with pytest.raises(ConfigError, match="low_noise"):
        fill(BackboneSettings, {"tiny": "wan2.2-a14b", "expert": "low"})


def test_latents_and_texts_are_those_of_both_experts():
    prints = {fingerprint(tiny("wan2.2-a14b", expert=expert)) for expert in (None, *EXPERTS)}
    assert len(prints) == 1


def test_two_experts_without_a_boundary_are_refused(tmp_path):
    save_tiny(tmp_path, "wan2.2-a14b")
    index = tmp_path / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"boundary_ratio": None}))
    with pytest.raises(BackendError, match="boundary_ratio None"):
        load_backbone(BackboneSettings(weights=str(tmp_path), expert="high_noise", device="cpu", dtype="float32"))


def test_only_the_part_of_the_expert_is_checked(tmp_path):
    save_tiny(tmp_path, "wan2.2-a14b")
    folder = Folder(str(tmp_path))
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*") if path.is_file())
    write_lock(folder, Lock(source="org/name", revision="abc", files=locked(folder, names)))
    (tmp_path / "transformer/diffusion_pytorch_model.safetensors").unlink()
    settings = BackboneSettings(weights=str(tmp_path), expert="low_noise", device="cpu", dtype="float32")
    assert load_backbone(settings).spec.expert == "low_noise"
    with pytest.raises(BackendError, match=r"transformer/diffusion_pytorch_model.safetensors: got no file"):
        load_backbone(replace(settings, expert="high_noise"))


def test_a_folder_that_is_not_there_is_named():
    with pytest.raises(BackendError, match="no folder /nowhere"):
        read_spec(BackboneSettings(weights="/nowhere"))


LTX_SIZES = {
    "LTX-2B": {},
    "LTX-13B": {"num_layers": 48, "attention_head_dim": 128, "cross_attention_dim": 4096},
}


def published(name: str) -> Backbone:
    """Published sizes, as diffusers' conversion scripts have them, without memory for the weights."""
    big = {"num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True}
    cogvideox = {
        "CogVideoX-2B": {"use_rotary_positional_embeddings": False},
        "CogVideoX-5B": big,
        "CogVideoX-5B-I2V": big | {"in_channels": 32, "use_learned_positional_embeddings": True},
        "CogVideoX1.5-5B": big | {"patch_size_t": 2, "patch_bias": False},
    }
    wan = {
        "Wan2.1-T2V-1.3B": {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30},
        "Wan2.1-T2V-14B": {},
        "Wan2.2-TI2V-5B": {
            "num_attention_heads": 24,
            "ffn_dim": 14336,
            "num_layers": 30,
            "in_channels": 48,
            "out_channels": 48,
        },
    }
    if name == "HunyuanVideo":
        return HunyuanVideo(HunyuanVideoTransformer3DModel(), scheduler=FLOW_SHIFT_7, vae=HUNYUAN_VAE)
    if name in LTX_SIZES:
        return LTX(LTXVideoTransformer3DModel(**LTX_SIZES[name]), scheduler=SHIFTED_FLOW, vae=LTX_VAE)
    if name in cogvideox:
        return CogVideoX(CogVideoXTransformer3DModel(**cogvideox[name]), scheduler=V_PREDICTION, vae=COGVIDEOX_VAE)
    vae = TI2V_VAE if "TI2V" in name else WAN_VAE
    return Wan(WanTransformer3DModel(**wan[name]), scheduler=FLOW, vae=vae)


def num_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "billions", "dim", "num_blocks"),
    [
        ("CogVideoX-2B", 1.694, 1920, 30),
        ("CogVideoX-5B", 5.570, 3072, 42),
        ("CogVideoX-5B-I2V", 5.570, 3072, 42),
        ("CogVideoX1.5-5B", 5.571, 3072, 42),
        ("Wan2.1-T2V-1.3B", 1.419, 1536, 30),
        ("Wan2.1-T2V-14B", 14.288, 5120, 40),
        ("Wan2.2-TI2V-5B", 5.000, 3072, 30),
        ("LTX-2B", 1.923, 2048, 28),
        ("LTX-13B", 13.043, 4096, 48),
        ("HunyuanVideo", 12.821, 3072, 60),
    ],
)
def test_published_sizes(name, billions, dim, num_blocks):
    with torch.device("meta"):
        backbone = published(name)
    assert (backbone.spec.dim, backbone.spec.num_blocks, len(backbone.blocks)) == (dim, num_blocks, num_blocks)
    assert num_parameters(backbone.transformer) / 1e9 == pytest.approx(billions, abs=6e-4)


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("CogVideoX-5B-I2V", 0.0511),
        ("CogVideoX-2B", 0.0711),
        ("Wan2.1-T2V-14B", 0.0530),
        ("LTX-2B", 0.0756),
        ("HunyuanVideo", 0.0472),
    ],
)
def test_a_context_encoder_of_two_layers_is_a_small_share_of_the_backbone(name, share):
    with torch.device("meta"):
        backbone = published(name)
        encoder = ContextEncoder(backbone, ContextEncoderSettings())
    assert num_parameters(encoder) / num_parameters(backbone.transformer) == pytest.approx(share, abs=1e-4)
