"""Small random checkpoints of every family, saved as whole pipelines so that they are opened like published ones."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.pipelines.cogvideo.pipeline_cogvideox import CogVideoXPipeline
from diffusers.pipelines.cogvideo.pipeline_cogvideox_image2video import CogVideoXImageToVideoPipeline
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.pipelines.wan.pipeline_wan import WanPipeline
from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline
from diffusers.schedulers.scheduling_dpm_cogvideox import CogVideoXDPMScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)
from transformers.utils.logging import disable_progress_bar

from vpdata.backbones.settings import TinyName
from vpdata.backbones.tiny_hunyuan import tiny_hunyuan
from vpdata.backbones.tiny_ltx import tiny_ltx
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


@cache
def tiny_folder(name: TinyName, seed: int) -> Path:
    """The folder of such a pipeline, made by the first call in this process and removed when the process ends."""
    folder = TemporaryDirectory(prefix=f"vpdata-tiny-{name}-")
    _kept.append(folder)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # In a training, transformers would write on the first process alone; each of ours has its own folder.
        code = f"from pathlib import Path; from {__name__} import save_tiny; "
        code += f"save_tiny(Path({folder.name!r}), {name!r}, seed={seed})"
        subprocess.run([sys.executable, "-c", code], check=True)
    else:
        save_tiny(Path(folder.name), name, seed=seed)
    return Path(folder.name)


_kept: list[TemporaryDirectory[str]] = []
"""A temporary folder lives as long as its object."""


def save_tiny(folder: Path, name: TinyName, *, seed: int = 0) -> None:
    """Write a pipeline in diffusers' layout: 4 blocks of width 64, the family's own patch, strides and text path.

    The weights are a function of name and seed; the caller's random state is left as it was.
    """
    disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _pipeline(name).save_pretrained(folder, safe_serialization=True)


def _pipeline(name: TinyName) -> DiffusionPipeline:
    if name.startswith("ltx"):
        return tiny_ltx(name)
    if name.startswith("hunyuan"):
        return tiny_hunyuan(name)
    return _cogvideox(name) if name.startswith("cogvideox") else _wan(name)


def _cogvideox(name: TinyName) -> CogVideoXPipeline | CogVideoXImageToVideoPipeline:
    is_1_5, is_i2v = "1.5" in name, name.endswith("i2v")
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=NUM_HEADS,
        attention_head_dim=HEAD_DIM,
        in_channels=32 if is_i2v else 16,
        time_embed_dim=32,
        ofs_embed_dim=32 if is_1_5 and is_i2v else None,
        text_embed_dim=TEXT_DIM,
        num_layers=NUM_BLOCKS,
        # 64 x 96 px; the first image-to-video checkpoint takes no other, as the published one takes no other than its.
        sample_height=8,
        sample_width=12,
        sample_frames=9,
        patch_size_t=2 if is_1_5 else None,
        max_text_seq_length=16,
        use_rotary_positional_embeddings=True,
        use_learned_positional_embeddings=is_i2v and not is_1_5,
        patch_bias=not is_1_5,
    )
    channels: Any = (8, 8, 8, 8)
    vae = AutoencoderKLCogVideoX(
        block_out_channels=channels,
        layers_per_block=1,
        norm_num_groups=2,
        sample_height=64,
        sample_width=96,
        invert_scale_latents=is_1_5,
    )
    _, std = moments(vae)
    vae.register_to_config(scaling_factor=round(1 / float(std.mean()), 4))
    pipeline = CogVideoXImageToVideoPipeline if is_i2v else CogVideoXPipeline
    return pipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=T5EncoderModel(T5Config(**t5_sizes())),
        vae=vae,
        transformer=randomised(transformer),
        scheduler=CogVideoXDPMScheduler(
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            snr_shift_scale=1.0,
            timestep_spacing="trailing",
        ),
    )


def _wan(name: TinyName) -> WanPipeline | WanImageToVideoPipeline:
    is_i2v, is_ti2v = name == "wan-i2v", name == "wan-ti2v"
    channels = 48 if is_ti2v else 16
    sizes: dict[str, Any] = {
        "num_attention_heads": NUM_HEADS,
        "attention_head_dim": HEAD_DIM,
        # Image to video: four channels of mask and the first frame's latents beside the noisy ones.
        "in_channels": 2 * channels + 4 if is_i2v else channels,
        "out_channels": channels,
        "text_dim": TEXT_DIM,
        "freq_dim": 32,
        "ffn_dim": 2 * DIM,
        "num_layers": NUM_BLOCKS,
        "image_dim": TEXT_DIM if is_i2v else None,
        "added_kv_proj_dim": DIM if is_i2v else None,
    }
    transformer = WanTransformer3DModel(**sizes)
    parts: dict[str, Any] = {
        "tokenizer": t5_tokenizer(),
        "text_encoder": UMT5EncoderModel(UMT5Config(**t5_sizes())),
        "vae": _wan_vae(is_ti2v=is_ti2v),
        "transformer": randomised(transformer),
        "scheduler": UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0 if is_ti2v else 3.0
        ),
    }
    if is_ti2v:
        return WanPipeline(**parts, expand_timesteps=True)
    if name == "wan2.2-a14b":
        return WanPipeline(**parts, transformer_2=randomised(WanTransformer3DModel(**sizes)), boundary_ratio=0.875)
    if not is_i2v:
        return WanPipeline(**parts)
    # 16 x 16 patches and a class token, the 257 that the published encoder gives.
    vision = CLIPVisionConfig(
        hidden_size=TEXT_DIM, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, patch_size=14
    )
    return WanImageToVideoPipeline(**parts, image_encoder=CLIPVisionModel(vision), image_processor=CLIPImageProcessor())


def _wan_vae(*, is_ti2v: bool) -> AutoencoderKLWan:
    sizes: dict[str, Any] = {"base_dim": 8, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
    if is_ti2v:
        pixels = {"patch_size": 2, "in_channels": 12, "out_channels": 12, "scale_factor_spatial": 16}
        sizes |= {"z_dim": 48, "is_residual": True, "decoder_base_dim": 8, **pixels}
        sizes |= {"latents_mean": [0.0] * 48, "latents_std": [1.0] * 48}
    vae = AutoencoderKLWan(**sizes)
    mean, std = moments(vae)
    vae.register_to_config(
        latents_mean=[round(value, 4) for value in mean.tolist()],
        latents_std=[round(value, 4) for value in std.tolist()],
    )
    return vae
