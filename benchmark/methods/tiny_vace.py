"""A small random VACE checkpoint, saved as a whole pipeline so that it is opened like a published one."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers.models.transformers.transformer_wan_vace import WanVACETransformer3DModel
from diffusers.pipelines.wan.pipeline_wan import WanPipeline
from diffusers.pipelines.wan.pipeline_wan_vace import WanVACEPipeline

from vpdata.backbones.tiny import tiny_folder

_SHARED = (
    "num_attention_heads",
    "attention_head_dim",
    "in_channels",
    "out_channels",
    "text_dim",
    "freq_dim",
    "ffn_dim",
    "num_layers",
)
"""Sizes that a VACE transformer has of the Wan that it was trained from."""
_kept: list[TemporaryDirectory[str]] = []
"""A temporary folder lives as long as its object."""


@cache
def tiny_vace_folder() -> Path:
    """The folder of the pipeline, made by the first call in this process and removed when the process ends."""
    folder = TemporaryDirectory(prefix="tiny-vace-")
    _kept.append(folder)
    save_tiny_vace(Path(folder.name))
    return Path(folder.name)


def save_tiny_vace(folder: Path) -> None:
    """Write a tiny Wan with 4 blocks, 2 of them with VACE's conditions; always the same weights."""
    wan: Any = WanPipeline.from_pretrained(tiny_folder("wan", 0), local_files_only=True)
    sizes = {name: wan.transformer.config[name] for name in _SHARED}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = WanVACETransformer3DModel(
            # Latents of what is known and of what is masked, and the mask's 8 x 8 pixels.
            **sizes,
            vace_layers=[0, 2],
            vace_in_channels=2 * sizes["in_channels"] + 64,
        )
    parts = {name: getattr(wan, name) for name in ("tokenizer", "text_encoder", "vae", "scheduler")}
    WanVACEPipeline(**parts, transformer=transformer).save_pretrained(folder, safe_serialization=True)
