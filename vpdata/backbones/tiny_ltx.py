"""Small random LTX: with the VAE, positions and scheduler of the first release, or with those from 0.9.5 on."""

from __future__ import annotations

from typing import Any

from diffusers.models.autoencoders.autoencoder_kl_ltx import AutoencoderKLLTXVideo
from diffusers.models.transformers.transformer_ltx import LTXVideoTransformer3DModel
from diffusers.pipelines.ltx.pipeline_ltx import LTXPipeline
from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXConditionPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from transformers import T5Config, T5EncoderModel

from vpdata.backbones.settings import TinyName
from vpdata.backbones.tiny_parts import (
    DIM,
    HEAD_DIM,
    NUM_BLOCKS,
    NUM_HEADS,
    TEXT_DIM,
    moments,
    randomised,
    t5_sizes,
    t5_tokenizer,
)

_CHANNELS = 32
"""Of the latents, where the published ones have 128."""


def tiny_ltx(name: TinyName) -> LTXPipeline | LTXConditionPipeline:
    """The pipeline of that name; both have the strides of 8 and 32."""
    is_0_9_5 = name == "ltx-0.9.5"
    transformer = LTXVideoTransformer3DModel(
        in_channels=_CHANNELS,
        out_channels=_CHANNELS,
        num_attention_heads=NUM_HEADS,
        attention_head_dim=HEAD_DIM,
        cross_attention_dim=DIM,
        num_layers=NUM_BLOCKS,
        caption_channels=TEXT_DIM,
    )
    parts: dict[str, Any] = {
        "tokenizer": t5_tokenizer(),
        "text_encoder": T5EncoderModel(T5Config(**t5_sizes())),
        "vae": _vae(is_0_9_5=is_0_9_5),
        "transformer": randomised(transformer),
        "scheduler": _scheduler(is_0_9_5=is_0_9_5),
    }
    return LTXConditionPipeline(**parts) if is_0_9_5 else LTXPipeline(**parts)


def _scheduler(*, is_0_9_5: bool) -> FlowMatchEulerDiscreteScheduler:
    """As diffusers' `convert_ltx_to_diffusers.py` writes them: by the number of tokens, or without a shift."""
    if is_0_9_5:
        return FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=False)
    return FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        base_shift=0.95,
        max_shift=2.05,
        base_image_seq_len=1024,
        max_image_seq_len=4096,
        shift_terminal=0.1,
    )


def _vae(*, is_0_9_5: bool) -> AutoencoderKLLTXVideo:
    sizes: dict[str, Any] = {"block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    if is_0_9_5:
        # Four scalings, of which the last two are of time and space alike. The decoder is told of noise, and adds some.
        sizes = {
            "block_out_channels": (8,) * 5,
            # Each upsampling halves them.
            "decoder_block_out_channels": (8, 16, 32),
            "down_block_types": ("LTXVideo095DownBlock3D",) * 4,
            "spatio_temporal_scaling": (True,) * 4,
            "decoder_spatio_temporal_scaling": (True,) * 3,
            "decoder_layers_per_block": (1,) * 4,
            "decoder_inject_noise": (True, True, True, False),
            "downsample_type": ("spatial", "temporal", "spatiotemporal", "spatiotemporal"),
            "upsample_residual": (True,) * 3,
            "upsample_factor": (2,) * 3,
            "timestep_conditioning": True,
            "spatial_compression_ratio": 32,
            "temporal_compression_ratio": 8,
        }
    sizes = {"decoder_layers_per_block": (1,) * 5} | sizes
    vae = AutoencoderKLLTXVideo(latent_channels=_CHANNELS, layers_per_block=(1,) * 5, **sizes)
    vae.latents_mean, vae.latents_std = moments(vae)
    return vae
