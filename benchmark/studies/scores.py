"""PSNR inside holes, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over clips with the 95 % interval of its bootstrap."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def hole_psnr(fill: NDArray[np.uint8], truth: NDArray[np.uint8], hole: NDArray[np.bool_]) -> float:
    """Peak signal-to-noise ratio in dB over the pixels of the hole, of all frames together."""
    difference = fill[hole].astype(np.float64) - truth[hole]
    return float(10 * np.log10(255**2 / max(np.square(difference).mean(), 1e-2)))


def bootstrap(values: Sequence[float]) -> Interval:
    """Percentile bootstrap over clips (Efron 1979), the same draws at every call."""
    array = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(0).integers(len(array), size=(_RESAMPLES, len(array)))
    low, high = np.percentile(array[draws].mean(axis=1), (2.5, 97.5))
    return Interval(mean=float(array.mean()), low=float(low), high=float(high))
