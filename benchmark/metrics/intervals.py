"""Means over clips, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics.sums import Sums

_NUM_RESAMPLES = 10_000
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over clips with the 95 % interval of its bootstrap."""

    mean: float
    low: float
    high: float
    num_clips: int

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def bootstrap(values: Sequence[float], *, seed: int = 0) -> Interval:
    """Percentile bootstrap over clips (Efron 1979), the same draws at every call; every clip weighs the same."""
    return _interval(np.asarray(values, dtype=np.float64), np.ones(len(values)), seed)


def pooled_bootstrap(clips: Sequence[Sums], *, seed: int = 0) -> Interval:
    """As `bootstrap`, of the ratio of all sums to all counts: a clip weighs by what was measured in it."""
    return _interval(
        np.array([clip.sum for clip in clips]), np.array([clip.count for clip in clips], dtype=float), seed
    )


def crossed_bootstrap(values: NDArray[np.float64], *, seed: int = 0) -> Interval:
    """Mean of `values`, [raters, clips], where both are a sample: NaN stands for what a rater did not judge.

    Raters and clips are drawn with replacement, each for itself (the pigeonhole bootstrap: A. B. Owen, Annals of
    Applied Statistics 2007), so the interval holds for other people and other clips; it errs on the wide side.
    ValueError where nothing was judged.
    """
    judged = ~np.isnan(values)
    if not judged.any():
        raise ValueError("got no judgement, wanted at least one")
    filled = np.where(judged, values, 0.0)
    rng = np.random.default_rng(seed)
    raters, clips = (rng.multinomial(size, np.full(size, 1 / size), size=_NUM_RESAMPLES) for size in values.shape)
    sums = ((raters @ filled) * clips).sum(axis=1)
    counts = ((raters @ judged) * clips).sum(axis=1)
    # A draw of few raters and few clips may hold none of the judgements that there are.
    low, high = np.percentile(sums[counts > 0] / counts[counts > 0], _PERCENTILES)
    return Interval(
        mean=float(filled.sum() / judged.sum()),
        low=float(low),
        high=float(high),
        num_clips=int(judged.any(axis=0).sum()),
    )


def _interval(sums: NDArray[np.float64], counts: NDArray[np.float64], seed: int) -> Interval:
    if not len(sums):
        raise ValueError("got no clip, wanted at least one")
    draws = np.random.default_rng(seed).integers(len(sums), size=(_NUM_RESAMPLES, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.percentile(means, _PERCENTILES)
    return Interval(mean=float(sums.sum() / counts.sum()), low=float(low), high=float(high), num_clips=len(sums))
