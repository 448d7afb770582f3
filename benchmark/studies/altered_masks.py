"""Benchmarks whose masks are worse than an annotator's: eroded or dilated, or squares that wander."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmark.bench import Bench, Case, Media
from vpdata.media.mask_mix import dilate, erode
from vpdata.media.moving_shapes import BOX, draw_filled, wandering_boxes
from vpdata.stages.track import seed_of


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskAlteration:
    """What becomes of the masks, for methods and metrics alike."""

    kind: Literal["resized", "squares"]
    """`resized`: eroded or dilated, drawn for each case. `squares`: one on a random path, as large as the mask is on
    average."""
    kernel_px: int = 0
    """Of `resized`: diameter of a disk, at the stored size."""

    def __post_init__(self) -> None:
        if (self.kind == "resized") != (self.kernel_px > 0):
            raise ValueError(f"got {self.kind} with kernel_px {self.kernel_px}; `resized`, and no other, needs one")

    @property
    def name(self) -> str:
        """For names of benchmarks and folders."""
        return f"{self.kind}-{self.kernel_px}" if self.kernel_px else self.kind


@dataclass(frozen=True, slots=True)
class AlteredMedia:
    """Frames as they are, masks altered; equal for equal case ids."""

    media: Media
    alteration: MaskAlteration

    def frames(self, case: Case, indices: Sequence[int]) -> NDArray[np.uint8]:
        return self.media.frames(case, indices)

    def masks(self, case: Case, indices: Sequence[int]) -> NDArray[np.bool_]:
        rng = np.random.default_rng(seed_of(f"{self.alteration.name} {case.id}"))
        if self.alteration.kind == "squares":
            return _squares(rng, self.media.masks(case, range(case.num_frames)))[list(indices)]
        resize = erode if rng.uniform() < 0.5 else dilate
        return resize(self.media.masks(case, indices), self.alteration.kernel_px / 2)


def altered(bench: Bench, alteration: MaskAlteration | None) -> Bench:
    """The benchmark under altered masks, with a name of its own; None alters nothing."""
    if alteration is None:
        return bench
    return replace(bench, name=f"{bench.name}-{alteration.name}", media=AlteredMedia(bench.media, alteration))


def _squares(rng: np.random.Generator, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [T, H, W]: a square around the middle of a box on a random path, cut off where it leaves the frame."""
    num_frames, height_px, width_px = masks.shape
    path = wandering_boxes(rng, num_frames=num_frames, height_px=height_px, width_px=width_px)
    centres, half_px = (path[:, :2] + path[:, 2:]) / 2, np.sqrt(masks.sum() / num_frames) / 2
    boxes = np.concatenate([centres - half_px, centres + half_px], axis=1)
    return draw_filled(BOX, boxes, height_px=height_px, width_px=width_px)
