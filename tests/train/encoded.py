"""A folder of random latents that fits a tiny backbone, and the config of a training on it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from vpdata.backbones.loading import fingerprint, read_spec
from vpdata.backbones.settings import BackboneSettings
from vpdata.dataset.latents import (
    EncodedClip,
    EncodedWindow,
    LatentFacts,
    WindowName,
    clip_members,
    window_member,
    write_latents,
)

BACKBONE = BackboneSettings(tiny="wan", device="cpu", dtype="float32")
NUM_CLIPS = 6
_HEIGHT_PX, _NUM_FRAMES = 32, 5


def write_random_latents(
    folder: Path,
    *,
    num_clips: int = NUM_CLIPS,
    first_clip: int = 0,
    width_px: int = 48,
    changed_fingerprint: str | None = None,
    names: Sequence[WindowName] = ("first",),
    **changes: Any,
) -> None:
    """Six clips of three videos, or fewer, each with equal windows of these names and two masks.

    `changes` are of what the index says.

    first_clip: its number, which others that are trained on beside these begin behind.
    """
    spec = read_spec(BACKBONE)
    facts = LatentFacts(
        fingerprint=changed_fingerprint or fingerprint(BACKBONE),
        family=spec.family,
        latent_channels=spec.latent_channels,
        stride_t=spec.stride_t,
        stride_px=spec.stride_px,
        text_dim=spec.text_dim,
        takes_first_frame=spec.takes_first_frame,
    )
    shape = spec.latent_shape(_NUM_FRAMES, _HEIGHT_PX, width_px)
    numbers = range(first_clip, first_clip + num_clips)
    write_latents(folder, facts, [_clip(number, shape, width_px, spec.text_dim, names, changes) for number in numbers])


def _clip(
    number: int,
    shape: tuple[int, ...],
    width_px: int,
    text_dim: int,
    names: Sequence[WindowName],
    changes: Mapping[str, Any],
) -> tuple[EncodedClip, dict[str, bytes]]:
    random = torch.Generator().manual_seed(number)
    video = torch.randn(shape[0], 1, 1, 1, generator=random).expand(shape)
    union = np.zeros((shape[1], _HEIGHT_PX, width_px), dtype=bool)
    union[:, 4:20, 8:24] = True
    window = EncodedWindow(
        clip_id=f"clip-{number}",
        video_id=f"video-{number // 2}",
        name=names[0],
        start_frame=0,
        fps=Fraction(8),
        num_frames=_NUM_FRAMES,
        height_px=_HEIGHT_PX,
        width_px=width_px,
        num_variants=2,
        hole_fracs=(0.1, 0.1),
        variant_kinds=("track", "box"),
        variant_tracks=((1,), (1,)),
    )
    window = replace(window, **changes)
    content = window_member(video=video, masked=[video * 0.5] * 2, unions=[union] * 2, first_frame=None)
    texts = {"clip": torch.randn(4, text_dim, generator=random)}
    windows = tuple(replace(window, name=name) for name in names)
    return EncodedClip(id=window.clip_id, windows=windows), clip_members(dict.fromkeys(names, content), texts)


def write_config(path: Path, *, latents: Path, output: Path, **changes: object) -> Path:
    """The YAML of a training of 12 steps."""
    config = {
        "output": str(output),
        "num_steps": 12,
        "backbone": {"tiny": "wan", "device": "cpu", "dtype": "float32"},
        "optimizer": {"learning_rate": 1e-3, "warmup_steps": 2},
        "data": {
            "latents": str(latents),
            "split": "none",
            "validation_frac": 0.3,
            "loader": {"batch_size": 2, "num_threads": 1},
        },
        "checkpoints": {"every_steps": 4, "keep_last": 2},
        "watch": {"log_every_steps": 1, "validate_every_steps": 6, "validation_steps": 1},
        **changes,
    }
    path.write_text(yaml.safe_dump(config))
    return path
