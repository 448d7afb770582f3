"""Small random transformers of every family, straight from diffusers' own classes, and inputs that fit them."""

from dataclasses import dataclass, replace

import torch
from diffusers import (
    CogVideoXTransformer3DModel,
    HunyuanVideoTransformer3DModel,
    LTXVideoTransformer3DModel,
    WanTransformer3DModel,
)

from vpdata.backbones.cogvideox import CogVideoX
from vpdata.backbones.hunyuan import HunyuanVideo
from vpdata.backbones.inpainting import Context
from vpdata.backbones.ltx import LTX
from vpdata.backbones.port import Backbone, Conditions, FirstFrame
from vpdata.backbones.wan import Wan

V_PREDICTION = {
    "_class_name": "CogVideoXDPMScheduler",
    "prediction_type": "v_prediction",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "rescale_betas_zero_snr": True,
    "snr_shift_scale": 1.0,
}
FLOW = {
    "_class_name": "UniPCMultistepScheduler",
    "prediction_type": "flow_prediction",
    "flow_shift": 3.0,
    "num_train_timesteps": 1000,
}
SHIFTED_FLOW = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "use_dynamic_shifting": True,
    "base_shift": 0.95,
    "max_shift": 2.05,
    "base_image_seq_len": 1024,
    "max_image_seq_len": 4096,
    "shift_terminal": 0.1,
    "num_train_timesteps": 1000,
}
UNSHIFTED_FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 1.0, "num_train_timesteps": 1000}
FLOW_SHIFT_7 = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 7.0, "num_train_timesteps": 1000}
COGVIDEOX_VAE = {"temporal_compression_ratio": 4, "block_out_channels": [8, 8, 8, 8]}
WAN_VAE = {"z_dim": 16, "scale_factor_temporal": 4, "scale_factor_spatial": 8}
TI2V_VAE = {"z_dim": 48, "scale_factor_temporal": 4, "scale_factor_spatial": 16}
LTX_VAE = {
    "latent_channels": 128,
    "down_block_types": ["LTXVideoDownBlock3D"] * 4,
    "spatio_temporal_scaling": [True, True, True, False],
    "patch_size": 4,
    "patch_size_t": 1,
    "spatial_compression_ratio": None,
    "temporal_compression_ratio": None,
}
LTX_VAE_0_9_5 = LTX_VAE | {
    "down_block_types": ["LTXVideo095DownBlock3D"] * 4,
    "spatio_temporal_scaling": [True] * 4,
    "spatial_compression_ratio": 32,
    "temporal_compression_ratio": 8,
}
HUNYUAN_VAE = {"temporal_compression_ratio": 4, "spatial_compression_ratio": 8}

_COGVIDEOX = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "time_embed_dim": 24,
    "text_embed_dim": 12,
    "num_layers": 4,
    "max_text_seq_length": 6,
    "sample_width": 12,
    "sample_height": 8,
    "sample_frames": 9,
}
_WAN = {
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "text_dim": 12,
    "freq_dim": 16,
    "ffn_dim": 64,
    "num_layers": 4,
}

_LTX = {
    "in_channels": 16,
    "out_channels": 16,
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "cross_attention_dim": 48,
    "caption_channels": 12,
    "num_layers": 4,
}
_SMALL_LTX_VAE = {"latent_channels": 16, "spatial_compression_ratio": 8}
"""The mask of a cell of 32 x 32 pixels has 1024 channels, which would be most of what the tests compute."""

_HUNYUAN = {
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "num_layers": 2,
    "num_single_layers": 2,
    "num_refiner_layers": 1,
    "text_embed_dim": 12,
    "pooled_projection_dim": 8,
    "rope_axes_dim": (8, 8, 8),
}


def small_backbone(name: str) -> Backbone:
    """The same weights at every call; outputs and norms are not left at their zeros and ones."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = _MAKERS[name]()
        with torch.no_grad():
            for parameter in backbone.transformer.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.2)
    return backbone


def _cogvideox(**changes: object) -> CogVideoX:
    return CogVideoX(
        CogVideoXTransformer3DModel(**{**_COGVIDEOX, **changes}), scheduler=V_PREDICTION, vae=COGVIDEOX_VAE
    )


def _wan(vae: dict, **changes: object) -> Wan:
    return Wan(WanTransformer3DModel(**{**_WAN, **changes}), scheduler=FLOW, vae=vae)


def _ltx(vae: dict, *, scheduler: dict, first_frame: bool = False) -> LTX:
    return LTX(
        LTXVideoTransformer3DModel(**_LTX), scheduler=scheduler, vae=vae | _SMALL_LTX_VAE, first_frame=first_frame
    )


def _hunyuan(**changes: object) -> HunyuanVideo:
    transformer = HunyuanVideoTransformer3DModel(**{**_HUNYUAN, **changes})
    return HunyuanVideo(transformer, scheduler=FLOW_SHIFT_7, vae=HUNYUAN_VAE)


_MAKERS = {
    "cogvideox-2b": lambda: _cogvideox(),
    "cogvideox-5b": lambda: _cogvideox(use_rotary_positional_embeddings=True),
    "cogvideox-5b-i2v": lambda: _cogvideox(
        use_rotary_positional_embeddings=True, use_learned_positional_embeddings=True, in_channels=32
    ),
    "cogvideox-1.5": lambda: _cogvideox(use_rotary_positional_embeddings=True, patch_size_t=2),
    "cogvideox-1.5-i2v": lambda: _cogvideox(
        use_rotary_positional_embeddings=True, patch_size_t=2, in_channels=32, ofs_embed_dim=24
    ),
    "wan": lambda: _wan(WAN_VAE),
    "wan-i2v": lambda: _wan(
        WAN_VAE, in_channels=36, out_channels=16, image_dim=20, added_kv_proj_dim=48, pos_embed_seq_len=None
    ),
    "wan-ti2v": lambda: _wan(TI2V_VAE, in_channels=48, out_channels=48),
    "ltx": lambda: _ltx(LTX_VAE, scheduler=SHIFTED_FLOW),
    "ltx-i2v": lambda: _ltx(LTX_VAE_0_9_5, scheduler=UNSHIFTED_FLOW, first_frame=True),
    "hunyuan": lambda: _hunyuan(),
    "hunyuan-i2v": lambda: _hunyuan(in_channels=32, guidance_embeds=False),
}
SMALL = tuple(_MAKERS)


@dataclass(frozen=True)
class Inputs:
    noisy: torch.Tensor
    timesteps: torch.Tensor
    conditions: Conditions
    context: Context

    def slice(self, start: int, stop: int) -> "Inputs":
        """Some of the batch."""
        first = self.conditions.first_frame
        if first is not None:
            tokens = None if first.image_tokens is None else first.image_tokens[start:stop]
            first = FirstFrame(latents=first.latents[start:stop], image_tokens=tokens)
        return Inputs(
            self.noisy[start:stop],
            self.timesteps[start:stop],
            replace(self.conditions, text=self.conditions.text[start:stop], first_frame=first),
            Context(masked=self.context.masked[start:stop], packed_mask=self.context.packed_mask[start:stop]),
        )


def inputs_for(backbone: Backbone, *, batch: int = 2, frames: int = 3) -> Inputs:
    """Random latents of 8 x 12 cells (the sample size of the small CogVideoX), with a hole of some cells."""
    spec = backbone.spec
    random = torch.Generator().manual_seed(1)
    shape = (batch, spec.latent_channels, frames, 8, 12)
    noisy, masked = torch.randn(shape, generator=random), torch.randn(shape, generator=random)
    packed = torch.zeros(batch, spec.mask_channels, frames, 8, 12)
    packed[:, :5, :, 2:5, 3:7] = 1
    first = None
    if spec.takes_first_frame:
        channels, first_frames = _first_frame_shape(backbone, frames)
        tokens = torch.randn(batch, 257, 20, generator=random) if spec.family == "wan" and channels == 20 else None
        first = FirstFrame(
            latents=torch.randn(batch, channels, first_frames, 8, 12, generator=random), image_tokens=tokens
        )
    text = torch.randn(batch, spec.text_length, spec.text_dim, generator=random)
    if spec.family in ("ltx", "hunyuan"):
        # Captions of 9 and of 5 tokens, with padding that is masked; CLIP's row is shorter than those of LLaMA.
        text[:, 9:], text[-1, 5:] = 0, 0
    if spec.family == "hunyuan":
        text[:, 0, 8:] = 0
    return Inputs(
        noisy,
        torch.tensor([400.0, 700.0])[:batch],
        Conditions(text=text, first_frame=first),
        Context(masked=masked, packed_mask=packed),
    )


def _first_frame_shape(backbone: Backbone, frames: int) -> tuple[int, int]:
    if backbone.spec.family in ("cogvideox", "hunyuan"):
        return 16, frames
    if backbone.spec.family == "ltx":
        return 16, 1
    return (48, 1) if backbone.spec.latent_channels == 48 else (20, frames)
