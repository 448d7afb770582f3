"""Opens the parts of a pipeline in diffusers' layout: offline, from safetensors, each part whole or not at all."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from diffusers.models.autoencoders.autoencoder_kl_ltx import AutoencoderKLLTXVideo
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoTransformer3DModel
from diffusers.models.transformers.transformer_ltx import LTXVideoTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.utils.logging import disable_progress_bar
from safetensors import SafetensorError
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    CLIPTextModel,
    CLIPVisionModel,
    LlamaModel,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    T5EncoderModel,
    UMT5EncoderModel,
)

from vpdata.backbones import cogvideox, hunyuan, ltx, wan
from vpdata.backbones.codec import LatentCodec, LTXCodec, ScaledCodec, WanCodec
from vpdata.backbones.cogvideox import CogVideoX
from vpdata.backbones.hunyuan import HunyuanVideo
from vpdata.backbones.hunyuan_text import HunyuanTextEncoder
from vpdata.backbones.ltx import LTX
from vpdata.backbones.port import Backbone
from vpdata.backbones.settings import BackboneSettings
from vpdata.backbones.spec import BackboneSpec
from vpdata.backbones.text_encoder import TextEncoder
from vpdata.backbones.tiny import tiny_folder
from vpdata.backbones.wan import Wan
from vpdata.errors import BackendError
from vpdata.models.gpu import torch_device, torch_dtype
from vpdata.models.huggingface.loading import check_tokenizer, load_model
from vpdata.models.weights import local_weights, read_lock, weights_folder
from vpdata.storage import Folder

_VAE_OF: dict[type[ModelMixin], type[ModelMixin]] = {
    CogVideoXTransformer3DModel: AutoencoderKLCogVideoX,
    WanTransformer3DModel: AutoencoderKLWan,
    LTXVideoTransformer3DModel: AutoencoderKLLTXVideo,
    HunyuanVideoTransformer3DModel: AutoencoderKLHunyuanVideo,
}
_TRANSFORMERS, _VAES = tuple(_VAE_OF), tuple(_VAE_OF.values())
_TEXT_PARTS = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
_LATENT_PARTS = ("vae", "image_encoder", "image_processor")
_SECOND = "transformer_2"
"""The part with the expert for low noise, where there are two."""
_CONFIGS = ("model_index.json", "scheduler/", "transformer/config.json", f"{_SECOND}/config.json", "vae/config.json")
_WITNESSES = ("_diffusers_version", "_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")
"""Keys of a config that say who wrote it, not what it means."""


def load_backbone(settings: BackboneSettings) -> Backbone:
    """The transformer with its objective; neither VAE nor text encoder is opened.

    BackendError for weights that are missing, damaged, or of another architecture, and where there are two
    transformers and the settings name none of them.
    """
    part = _transformer_part(settings)
    folder = _local_folder(settings, f"{part}/")
    files = Folder(str(folder))
    _spec(files, settings)
    boundary = _boundary(files, settings)
    scheduler = _config(files, "scheduler/scheduler_config.json")
    kind, _ = _class_and_config(files, part, _TRANSFORMERS)
    _, vae = _class_and_config(files, "vae", _VAES)
    transformer: Any = _load(kind, folder / part, settings)
    if kind is CogVideoXTransformer3DModel:
        return CogVideoX(transformer, scheduler=scheduler, vae=vae)
    if kind is HunyuanVideoTransformer3DModel:
        return HunyuanVideo(transformer, scheduler=scheduler, vae=vae)
    if kind is LTXVideoTransformer3DModel:
        return LTX(
            transformer,
            scheduler=scheduler,
            vae=vae,
            first_frame=settings.first_frame,
            frame_rate=settings.frame_rate,
        )
    return Wan(transformer, scheduler=scheduler, vae=vae, expert=settings.expert, boundary=boundary)


def load_codec(settings: BackboneSettings, *, tiled: bool = False) -> LatentCodec:
    """The VAE, and the image encoder where the family has one; BackendError as from `load_backbone`.

    `tiled`: see `LatentCodec`.
    """
    folder = _local_folder(settings, "vae/", "image_encoder/", "image_processor/")
    files = Folder(str(folder))
    spec = _spec(files, settings)
    kind, _ = _class_and_config(files, "vae", _VAES)
    vae: Any = _load(kind, folder / "vae", settings)
    if kind in (AutoencoderKLCogVideoX, AutoencoderKLHunyuanVideo):
        return ScaledCodec(vae, spec=spec, tiled=tiled)
    if kind is AutoencoderKLLTXVideo:
        return LTXCodec(vae, spec=spec, tiled=tiled)
    transformer = _class_and_config(files, "transformer", _TRANSFORMERS)[1]
    image_encoder = image_processor = None
    if transformer["image_dim"] is not None:
        image_encoder = load_model(
            CLIPVisionModel, _part(folder, "image_encoder"), device=settings.device, dtype=settings.dtype
        )
        image_processor = _from_files(AutoImageProcessor, _part(folder, "image_processor"))
    return WanCodec(
        vae,
        spec=spec,
        input_channels=transformer["in_channels"],
        image_encoder=image_encoder,
        image_processor=image_processor,
        tiled=tiled,
    )


def load_text_encoder(settings: BackboneSettings) -> TextEncoder:
    """The text encoder with its tokenizer; BackendError as from `load_backbone`."""
    folder = _local_folder(settings, *(f"{part}/" for part in _TEXT_PARTS))
    files = Folder(str(folder))
    spec = _spec(files, settings)
    if spec.family == "hunyuan":
        return _hunyuan_text_encoder(folder, spec, settings)
    kind = UMT5EncoderModel if spec.family == "wan" else T5EncoderModel
    model: Any = load_model(kind, _part(folder, "text_encoder"), device=settings.device, dtype=settings.dtype)
    if spec.family == "wan":
        return TextEncoder(model, load_wan_tokenizer(folder, model.config), spec=spec, hides_padding=True)
    _, vae = _class_and_config(files, "vae", _VAES)
    hides_padding = spec.family == "ltx" and ltx.is_0_9_5(vae)
    return TextEncoder(model, _tokenizer(folder, "tokenizer", model.config), spec=spec, hides_padding=hides_padding)


def load_wan_tokenizer(folder: Path, config: PretrainedConfig) -> PreTrainedTokenizerBase:
    """UMT5's tokenizer of the pipeline in `folder`, as its `tokenizer.json` says; `config` is the text encoder's.

    BackendError where there is none, or that of another text encoder. Its config names T5's class, which transformers 5
    builds anew with an `<unk>` of another number and no bytes: all characters outside of the vocabulary are one token.
    """
    part = _part(folder, "tokenizer")
    if not (part / "tokenizer.json").is_file():
        raise _lacks(str(folder), "tokenizer/tokenizer.json")
    return _tokenizer(folder, "tokenizer", config, kind=PreTrainedTokenizerFast)


def _hunyuan_text_encoder(folder: Path, spec: BackboneSpec, settings: BackboneSettings) -> TextEncoder:
    def pair(kind: Any, number: str) -> tuple[Any, Any]:
        part = _part(folder, f"text_encoder{number}")
        model = load_model(kind, part, device=settings.device, dtype=settings.dtype)
        return model, _tokenizer(folder, f"tokenizer{number}", model.config)

    return HunyuanTextEncoder(*pair(LlamaModel, ""), *pair(CLIPTextModel, "_2"), spec=spec)


def read_spec(settings: BackboneSettings) -> BackboneSpec:
    """The sizes, from configs alone."""
    return _spec(_files(settings), settings)


def weights_bytes(settings: BackboneSettings, part: str) -> int:
    """Size of the weights' files of a part, such as "transformer", without opening or checking them."""
    files = _files(settings)
    if lock := read_lock(files):
        sizes = {name: one.size_bytes for name, one in lock.files.items()}
        return sum(
            size for name, size in sizes.items() if name.startswith(f"{part}/") and name.endswith(".safetensors")
        )
    return sum(file.stat().st_size for file in Path(files.uri, part).glob("*.safetensors"))


def fingerprint(settings: BackboneSettings) -> str:
    """16 hex digits of what decides latents and text embeddings, whatever device and dtype they are computed on.

    Of the VAE, the text encoder, the image encoder and the tokenizer: the configs, and the hashes in the lock file
    where there is one. Two folders of your own with equal configs and no lock file are taken for the same.
    """
    files = _files(settings)
    spec = _spec(files, settings)
    facts: dict[str, Any] = {"text_length": spec.text_length, "takes_first_frame": spec.takes_first_frame}
    parts = ("vae", "text_encoder", *(["text_encoder_2"] if spec.family == "hunyuan" else []))
    facts |= {part: _meaning(_config(files, f"{part}/config.json")) for part in parts}
    if settings.tiny is not None:
        facts["tiny"] = [settings.tiny, settings.tiny_seed]
    elif lock := read_lock(files):
        parts = (*_LATENT_PARTS, *_TEXT_PARTS)
        facts["files"] = {name: one.sha256 for name, one in lock.files.items() if name.split("/")[0] in parts}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _local_folder(settings: BackboneSettings, *parts: str) -> Path:
    """A folder on this machine with the configs and with these parts: the text encoder alone has 10 GB and more."""
    if settings.tiny is not None:
        return tiny_folder(settings.tiny, settings.tiny_seed)
    assert settings.weights is not None
    return local_weights(settings.weights, settings.revision, only=(*_CONFIGS, *parts))


def _files(settings: BackboneSettings) -> Folder:
    """Where the configs are, without a check of the weights beside them."""
    if settings.tiny is not None:
        return Folder(str(tiny_folder(settings.tiny, settings.tiny_seed)))
    assert settings.weights is not None
    return weights_folder(settings.weights, settings.revision)


def _spec(files: Folder, settings: BackboneSettings) -> BackboneSpec:
    if settings.expert is not None and not _has_two(files):
        raise BackendError(
            f"{files.uri} holds one transformer, for all noise: got backbone.expert {settings.expert}, wanted null"
        )
    kind, transformer = _class_and_config(files, _transformer_part(settings), _TRANSFORMERS)
    _, vae = _class_and_config(files, "vae", (_VAE_OF[kind],))
    if kind is LTXVideoTransformer3DModel:
        return ltx.spec_of(transformer, vae, first_frame=settings.first_frame, frame_rate=settings.frame_rate)
    if settings.first_frame or settings.frame_rate is not None:
        raise BackendError(
            f"{files.uri} is no LTX, which alone is told of backbone.first_frame and backbone.frame_rate: got "
            f"{settings.first_frame} and {settings.frame_rate}, wanted false and null"
        )
    if kind is HunyuanVideoTransformer3DModel:
        if (way := transformer["image_condition_type"]) is not None:
            raise BackendError(
                f"{files.uri} is a HunyuanVideo-I2V ({way}), whose text encoder looks at the first frame: each window "
                "would need texts of its own, which is not supported; take HunyuanVideo, or SkyReels V1 I2V"
            )
        return hunyuan.spec_of(transformer, vae)
    if kind is CogVideoXTransformer3DModel:
        return cogvideox.spec_of(transformer, vae)
    return wan.spec_of(transformer, vae, expert=settings.expert)


def _transformer_part(settings: BackboneSettings) -> str:
    return _SECOND if settings.expert == "low_noise" else "transformer"


def _has_two(files: Folder) -> bool:
    return files.exists(f"{_SECOND}/config.json")


def _boundary(files: Folder, settings: BackboneSettings) -> float:
    """Where high noise begins, as a share of pure noise; 0 for one transformer, which is for all."""
    if not _has_two(files):
        return 0.0
    if settings.expert is None:
        raise BackendError(
            f"{files.uri} holds two transformers, each for one end of the noise, and one training fits one of them; "
            "set backbone.expert: high_noise or low_noise"
        )
    boundary = _config(files, "model_index.json").get("boundary_ratio")
    if not isinstance(boundary, float) or not 0 < boundary < 1:
        raise BackendError(
            f"{files.uri}/model_index.json: got the boundary_ratio {boundary}, wanted a number between 0 and 1, at "
            "which its two transformers take turns"
        )
    return boundary


def _class_and_config(files: Folder, part: str, kinds: tuple[type[ModelMixin], ...]) -> tuple[Any, dict[str, Any]]:
    """The class among `kinds` that a part is of, and its config with the defaults of keys that it lacks.

    Checkpoints that were saved by older releases lack some.
    """
    config = _config(files, f"{part}/config.json")
    name = config.get("_class_name")
    for kind in kinds:
        if kind.__name__ == name:
            parameters = inspect.signature(kind.__init__).parameters.values()
            defaults = {one.name: one.default for one in parameters if one.default is not one.empty}
            return kind, defaults | config
    wanted = " or ".join(kind.__name__ for kind in kinds)
    raise BackendError(f"{files.uri}/{part}: got the class {name}, wanted {wanted}")


def _config(files: Folder, path: str) -> dict[str, Any]:
    if not files.exists(path):
        raise _lacks(files.uri, path)
    try:
        config = json.loads(files.read(path))
    except ValueError as error:
        raise BackendError(f"{files.uri}/{path} is damaged: {error}; fetch it again") from error
    if not isinstance(config, dict):
        raise BackendError(f"{files.uri}/{path}: got a {type(config).__name__}, wanted a mapping; fetch it again")
    return config


def _part(folder: Path, part: str) -> Path:
    if not (folder / part).is_dir():
        raise _lacks(str(folder), f"{part}/")
    return folder / part


def _lacks(folder: str, what: str) -> BackendError:
    return BackendError(
        f"{folder} has no {what}, wanted the folder of a whole pipeline in diffusers' layout: transformer/, vae/, "
        "text_encoder/, tokenizer/, scheduler/, and where the family has them text_encoder_2/, tokenizer_2/, "
        "image_encoder/ and image_processor/"
    )


def _meaning(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _WITNESSES}


def _load(kind: Any, folder: Path, settings: BackboneSettings) -> ModelMixin:
    """A model of diffusers, on its device."""
    device, dtype = torch_device(settings.device), torch_dtype(settings.dtype)
    disable_progress_bar()
    try:
        model, lists = kind.from_pretrained(
            folder, torch_dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BackendError(f"{folder}: the weights cannot be loaded: {error}; fetch them again") from error
    # What the files lack, diffusers leaves empty or random and only warns.
    if missing := sorted(lists["missing_keys"]):
        raise BackendError(
            f"{folder}: the files lack {len(missing)} of the weights, such as {missing[0]}; fetch them again"
        )
    return model.to(device)


def _tokenizer(folder: Path, part: str, config: PretrainedConfig, *, kind: Any = AutoTokenizer) -> Any:
    """The tokenizer of the text encoder with this config; BackendError for one that knows other tokens."""
    tokenizer = _from_files(kind, _part(folder, part))
    check_tokenizer(tokenizer, config, folder / part)
    return tokenizer


def _from_files(kind: Any, folder: Path) -> Any:
    """A tokenizer or image processor."""
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, ImportError) as error:
        raise BackendError(f"{folder} cannot be loaded: {error}; fetch it again") from error
