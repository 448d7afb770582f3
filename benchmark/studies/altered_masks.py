"""Benchmarks whose masks are worse than an annotator's: eroded or dilated, or squares that wander."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmark.bench import Bench, Case, Media
from vpdata.errors import RunError, StorageError
from vpdata.media.mask_mix import dilate, erode
from vpdata.media.moving_shapes import BOX, draw_filled, wandering_boxes
from vpdata.stages.track import seed_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskAlteration:
    """What becomes of the masks, for methods and metrics alike."""

    kind: Literal["resized", "squares"]
    """`resized`: eroded or dilated, drawn for each case and the same for every kernel. `squares`: one on a random path,
    as large as the mask is on average."""
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
    """Frames as they are, masks altered; what is drawn follows from the case's id alone.

    A frame on which erosion would leave nothing keeps its mask: without a hole every method would be perfect.
    """

    media: Media
    alteration: MaskAlteration

    def frames(self, case: Case, indices: Sequence[int]) -> NDArray[np.uint8]:
        return self.media.frames(case, indices)

    def masks(self, case: Case, indices: Sequence[int]) -> NDArray[np.bool_]:
        if self.alteration.kind == "squares":
            return _squares(_rng(case), self.media.masks(case, range(case.num_frames)))[list(indices)]
        resize = erode if self.erodes(case) else dilate
        return resize(self.media.masks(case, indices), self.alteration.kernel_px / 2)

    def erodes(self, case: Case) -> bool:
        """Whether the masks of a case shrink."""
        return self.alteration.kind == "resized" and _rng(case).uniform() < 0.5


def altered(bench: Bench, alteration: MaskAlteration | None) -> Bench:
    """The benchmark under altered masks, with a name of its own; None alters nothing.

    Warns of the cases of `not_eroded`.
    """
    if alteration is None:
        return bench
    made = replace(bench, name=f"{bench.name}-{alteration.name}", media=AlteredMedia(bench.media, alteration))
    if thin := not_eroded(made):
        cases = ", ".join(f"{case} ({num} frames)" for case, num in thin.items())
        _log.warning("%s: masks stay as they are where nothing would be left of them: %s", made.name, cases)
    return made


def not_eroded(bench: Bench) -> dict[str, int]:
    """Of an altered benchmark the cases, by id, and on how many stored frames the mask is too thin for the erosion that
    they were drawn for, and stays as it is. Reads all their masks.
    """
    media = bench.media
    if not isinstance(media, AlteredMedia):
        return {}
    num_frames: dict[str, int] = {}
    for case in filter(media.erodes, bench.cases):
        try:
            before, after = media.media.masks(case, range(case.num_frames)), bench.masks(case)
        except (RunError, StorageError):
            continue  # the outcome of every method on this case says so
        num_frames[case.id] = int((before.any(axis=(1, 2)) & (before == after).all(axis=(1, 2))).sum())
    return {case: num for case, num in num_frames.items() if num}


def _rng(case: Case) -> np.random.Generator:
    return np.random.default_rng(seed_of(case.id))


def _squares(rng: np.random.Generator, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [T, H, W]: a square around the middle of a box on a random path, cut off where it leaves the frame."""
    num_frames, height_px, width_px = masks.shape
    path = wandering_boxes(rng, num_frames=num_frames, height_px=height_px, width_px=width_px)
    centres, half_px = (path[:, :2] + path[:, 2:]) / 2, np.sqrt(masks.sum() / num_frames) / 2
    boxes = np.concatenate([centres - half_px, centres + half_px], axis=1)
    return draw_filled(BOX, boxes, height_px=height_px, width_px=width_px)
