"""Styles: LoRA of the backbone that others have trained, read by diffusers' own loaders."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from diffusers.loaders.lora_pipeline import (
    CogVideoXLoraLoaderMixin,
    HunyuanVideoLoraLoaderMixin,
    LTXVideoLoraLoaderMixin,
    WanLoraLoaderMixin,
)
from safetensors import SafetensorError

from vpdata.backbones.port import Backbone
from vpdata.errors import BackendError

_NAME = "style"
_LOADERS: dict[str, Any] = {
    "cogvideox": CogVideoXLoraLoaderMixin,
    "wan": WanLoraLoaderMixin,
    "ltx": LTXVideoLoraLoaderMixin,
    "hunyuan": HunyuanVideoLoraLoaderMixin,
}


def check_style(weights: str | Path) -> None:
    """BackendError where there is no such file or folder."""
    if not Path(weights).exists():
        raise BackendError(f"got the style {weights}, which is not there; wanted a .safetensors file or its folder")


def merge_style(weights: str | Path, backbone: Backbone, *, scale: float = 1.0) -> None:
    """Add a LoRA, `scale` times, to the transformer's own weights.

    Merged, it also reaches what the ID adapter takes from the layers below its own LoRA, so it must be there before
    the adapter. BackendError for a file that is missing, damaged, or for another backbone.
    """
    check_style(weights)
    path = Path(weights)
    loader, transformer = _LOADERS[backbone.spec.family], cast(Any, backbone.transformer)
    place = {"weight_name": path.name} if path.is_file() else {}
    try:
        tensors, metadata = loader.lora_state_dict(
            str(path.parent if path.is_file() else path),
            return_lora_metadata=True,
            local_files_only=True,
            use_safetensors=True,
            **place,
        )
        loader.load_lora_into_transformer(tensors, transformer, adapter_name=_NAME, metadata=metadata)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise BackendError(f"the style {weights} does not fit this {backbone.spec.family}: {error}") from error
    if _NAME not in getattr(transformer, "peft_config", {}):
        raise BackendError(f"the style {weights} has no LoRA for the transformer of this {backbone.spec.family}")
    transformer.fuse_lora(lora_scale=scale, adapter_names=[_NAME])
    transformer.unload_lora()
    backbone.transformer.requires_grad_(False)
