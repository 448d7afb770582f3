"""The numbers of a clip and of its tracks, with the fixed bins in which every run's histograms count them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_SHARE = tuple(step / 20 for step in range(21))
_SPEED = (0.0, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_AREA = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

EDGES: Mapping[str, tuple[float, ...]] = {
    "duration_s": (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0, 30.0, 60.0),
    "num_tracks": (*map(float, range(1, 11)), 16.0, 32.0),
    "motion": _SPEED,
    "camera_motion": _SPEED,
    "object_motion": _SPEED,
    "sharpness": (0.0, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0),
    "exposure": _SHARE,
    "contrast": _SHARE,
    "black_border_frac": _SHARE,
    "static_frac": _SHARE,
    "aesthetic": (1.0, 3.0, 3.5, 4.0, 4.25, 4.5, 4.75, 5.0, 5.25, 5.5, 5.75, 6.0, 6.5, 7.0, 10.0),
    "unsafe": _SHARE,
    "text_overlay_frac": _AREA,
    "caption_words": (0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0, 200.0, 300.0),
    "caption_repetition_frac": _SHARE,
    "text_alignment": (-1.0, 0.0, 0.1, *(step / 50 for step in range(6, 20)), 0.4, 1.0),
    "track.score": _SHARE,
    "track.mean_area_frac": _AREA,
    "track.max_area_change_frac": (*(step / 20 for step in range(11)), 0.75, 1.0, 2.0, 5.0),
    "track.coverage_frac": _SHARE,
    "track.stability": _SHARE,
    "track.border_frac": _SHARE,
}
"""Bin edges by name, in the unit that `docs/format.md` gives; a track's measures begin with `track.`.

A bin is half-open; what lies beyond the edges counts in the first or the last bin.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How often a measure fell into each of its bins."""

    name: str
    """A key of `EDGES`."""
    edges: tuple[float, ...]
    measured: tuple[int, ...]
    """One count per bin, over what the first stage that measured it let through."""
    kept: tuple[int, ...]
    """One count per bin, over the clips (or tracks) in the shards."""
    num_missing: int
    """Of those measured, how many have no value since it could not be computed."""


@dataclass(slots=True)
class Tally:
    """Adds up one histogram, a batch at a time."""

    edges: tuple[float, ...]
    num_missing: int = 0
    counts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros(len(self.edges) - 1, dtype=np.int64)

    def add(self, values: NDArray[np.float64]) -> None:
        """Count float64 [N]; NaN is a missing value."""
        present = values[~np.isnan(values)]
        self.num_missing += len(values) - len(present)
        bins = np.searchsorted(self.edges, present, side="right") - 1
        self.counts += np.bincount(np.clip(bins, 0, len(self.counts) - 1), minlength=len(self.counts))
