"""Random latents of the right shapes, in the files that `vpdata encode` writes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from benchmark.perf.train_gpu.backbones import Window
from vpdata.backbones.port import Backbone
from vpdata.dataset.latents import (
    EncodedClip,
    EncodedWindow,
    GivenFrame,
    LatentDataset,
    LatentFacts,
    clip_members,
    open_latents,
    window_member,
    write_latents,
)

_NUM_VARIANTS = 2
"""Masks of a window, as `configs/train/encode.yaml` has them."""


def write_random_latents(folder: Path, backbone: Backbone, window: Window, *, num_windows: int) -> LatentDataset:
    """A clip for each window: its latents, two masks with theirs, the first frame where one is taken, two captions."""
    spec = backbone.spec
    facts = LatentFacts(
        fingerprint="0" * 16,
        family=spec.family,
        latent_channels=spec.latent_channels,
        stride_t=spec.stride_t,
        stride_px=spec.stride_px,
        text_dim=spec.text_dim,
        takes_first_frame=spec.takes_first_frame,
    )
    write_latents(folder, facts, [_clip(number, backbone, window) for number in range(num_windows)], clips_per_shard=8)
    return open_latents(folder)


def _clip(number: int, backbone: Backbone, window: Window) -> tuple[EncodedClip, dict[str, bytes]]:
    num_frames, height_px, width_px = window
    spec = backbone.spec
    rng = torch.Generator().manual_seed(number)
    shape = spec.latent_shape(num_frames, height_px, width_px)
    # A fifth of the picture.
    hole = np.zeros((shape[1], height_px, width_px), dtype=np.bool_)
    hole[:, height_px // 4 : height_px // 2, : width_px * 4 // 5] = True
    encoded = EncodedWindow(
        clip_id=f"clip-{number:04d}",
        video_id=f"video-{number:04d}",
        name="first",
        start_frame=0,
        fps=Fraction(8),
        num_frames=num_frames,
        height_px=height_px,
        width_px=width_px,
        num_variants=_NUM_VARIANTS,
        hole_fracs=(float(hole.mean()),) * _NUM_VARIANTS,
        variant_kinds=("track",) * _NUM_VARIANTS,
        variant_tracks=((1,),) * _NUM_VARIANTS,
    )
    member = window_member(
        video=torch.randn(shape, generator=rng),
        masked=[torch.randn(shape, generator=rng) for _ in range(_NUM_VARIANTS)],
        unions=[hole] * _NUM_VARIANTS,
        first_frame=_first_frame(backbone, shape, rng) if spec.takes_first_frame else None,
    )
    texts = {name: torch.randn(spec.text_length, spec.text_dim, generator=rng) for name in ("clip", "1")}
    return EncodedClip(id=encoded.clip_id, windows=(encoded,)), clip_members({"first": member}, texts)


def _first_frame(backbone: Backbone, shape: tuple[int, int, int, int], rng: torch.Generator) -> GivenFrame:
    """Of CogVideoX the whole length; of Wan 2.2 TI2V, which puts it into the latents' own place, one frame."""
    channels, frames, rows, columns = shape
    num_given = frames if backbone.spec.family == "cogvideox" else 1
    return GivenFrame(latents=torch.randn(channels, num_given, rows, columns, generator=rng))
