"""Means over clips, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics.sums import Sums

_NUM_RESAMPLES = 10_000
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over clips with the 95 % interval of its bootstrap."""

    mean: float
    low: float | None
    """None for fewer than two clips, which say nothing of others; and so is `high`."""
    high: float | None
    num_clips: int

    def scaled(self, factor: float) -> Interval:
        """In another unit."""
        low, high = (None if one is None else factor * one for one in (self.low, self.high))
        return replace(self, mean=factor * self.mean, low=low, high=high)

    def __format__(self, spec: str) -> str:
        mean = format(self.mean, spec)
        return mean if self.low is None or self.high is None else f"{mean} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self, ".2f")


def bootstrap(values: Sequence[float], *, seed: int = 0) -> Interval:
    """Percentile bootstrap over clips (Efron 1979), the same draws at every call; every clip weighs the same."""
    return _resampled(np.asarray(values, dtype=np.float64), np.ones(len(values)), seed)


def pooled_bootstrap(clips: Sequence[Sums], *, seed: int = 0) -> Interval:
    """As `bootstrap`, of the ratio of all sums to all counts: a clip weighs by what was measured in it."""
    return _resampled(
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
    means = sums[counts > 0] / counts[counts > 0]
    return _interval(float(filled.sum() / judged.sum()), means, num_clips=int(judged.any(axis=0).sum()))


def _resampled(sums: NDArray[np.float64], counts: NDArray[np.float64], seed: int) -> Interval:
    if not len(sums):
        raise ValueError("got no clip, wanted at least one")
    draws = np.random.default_rng(seed).integers(len(sums), size=(_NUM_RESAMPLES, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    return _interval(float(sums.sum() / counts.sum()), means, num_clips=len(sums))


def _interval(mean: float, means: NDArray[np.float64], *, num_clips: int) -> Interval:
    """Of the means of all resamples."""
    low, high = np.percentile(means, _PERCENTILES).tolist() if num_clips > 1 else (None, None)
    return Interval(mean=mean, low=low, high=high, num_clips=num_clips)
