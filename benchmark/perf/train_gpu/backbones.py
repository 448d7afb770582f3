"""Backbones of published sizes, or tiny ones of the same kind, with random weights made where they are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

from vpdata.backbones.cogvideox import CogVideoX
from vpdata.backbones.port import Backbone
from vpdata.backbones.spec import Family
from vpdata.backbones.wan import Wan

Window = tuple[int, int, int]
"""Frames, height and width in pixels."""
TINY_WINDOW: Window = (9, 64, 96)
_TINY: Mapping[Family, Mapping[str, Any]] = {
    "cogvideox": {
        "num_attention_heads": 2,
        "attention_head_dim": 32,
        "time_embed_dim": 32,
        "text_embed_dim": 32,
        "num_layers": 4,
        "max_text_seq_length": 16,
        "sample_frames": 9,
        "sample_height": 8,
        "sample_width": 12,
    },
    "wan": {
        "num_attention_heads": 2,
        "attention_head_dim": 32,
        "text_dim": 32,
        "freq_dim": 32,
        "ffn_dim": 128,
        "num_layers": 4,
    },
}
"""What a tiny one has otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The configs of one checkpoint, where they differ from the defaults of diffusers' classes."""

    family: Family
    transformer: Mapping[str, Any]
    vae: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    window: Window
    """The largest that it was made for; VideoPainter's for CogVideoX."""


_WAN_VAE = {"z_dim": 16, "scale_factor_temporal": 4, "scale_factor_spatial": 8}
_WAN_SCHEDULER = {"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction"}
PUBLISHED: Mapping[str, Published] = {
    "cogvideox-5b-i2v": Published(
        family="cogvideox",
        transformer={
            "in_channels": 32,
            "num_attention_heads": 48,
            "num_layers": 42,
            "use_rotary_positional_embeddings": True,
            "use_learned_positional_embeddings": True,
        },
        vae={"temporal_compression_ratio": 4, "block_out_channels": [128, 256, 256, 512]},
        scheduler={
            "_class_name": "CogVideoXDDIMScheduler",
            "prediction_type": "v_prediction",
            "rescale_betas_zero_snr": True,
            "snr_shift_scale": 1.0,
        },
        window=(49, 480, 720),
    ),
    "wan2.1-t2v-1.3b": Published(
        family="wan",
        transformer={"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30},
        vae=_WAN_VAE,
        scheduler=_WAN_SCHEDULER | {"flow_shift": 3.0},
        window=(81, 480, 832),
    ),
    "wan2.2-ti2v-5b": Published(
        family="wan",
        transformer={
            "in_channels": 48,
            "out_channels": 48,
            "num_attention_heads": 24,
            "ffn_dim": 14336,
            "num_layers": 30,
        },
        vae={"z_dim": 48, "scale_factor_temporal": 4, "scale_factor_spatial": 16},
        scheduler=_WAN_SCHEDULER | {"flow_shift": 5.0},
        window=(81, 704, 1280),
    ),
}


def random_backbone(name: str, *, is_tiny: bool, device: torch.device | str, dtype: torch.dtype) -> Backbone:
    """A backbone of `PUBLISHED` in the precision that `load_backbone` opens it in; on "meta" it takes no memory."""
    published = PUBLISHED[name]
    config = {**published.transformer, **(_TINY[published.family] if is_tiny else {})}
    torch.manual_seed(0)
    with torch.device(device):
        if published.family == "cogvideox":
            transformer = CogVideoXTransformer3DModel(**config)
            return CogVideoX(_cast(transformer, dtype), scheduler=published.scheduler, vae=published.vae)
        transformer = WanTransformer3DModel(**config)
        return Wan(_cast(transformer, dtype), scheduler=published.scheduler, vae=published.vae)


def _cast(transformer: Any, dtype: torch.dtype) -> Any:
    """All but what diffusers keeps in float32."""
    kept = set(transformer._keep_in_fp32_modules or ())
    for name, tensor in (*transformer.named_parameters(), *transformer.named_buffers()):
        if kept.isdisjoint(name.split(".")):
            tensor.data = tensor.data.to(dtype)
    return transformer
