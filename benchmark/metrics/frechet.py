"""The Frechet distance between two sets of features: FVID, where the features are those of an I3D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class FrechetDistance:
    """A distance, and what to know about it."""

    value: float | None
    """None for fewer than two videos on a side, whose covariance is undefined."""
    num_videos: tuple[int, int]
    """Of either side."""
    warning: str | None
    """Why the value is to be taken with care."""


def frechet_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> FrechetDistance:
    """Squared Frechet distance of the Gaussians fitted to [N, D] and [M, D]: Heusel et al. 2017, equation 6.

    The trace of the root of the covariances' product is the sum of the singular values of A B' / sqrt((N-1)(M-1)), with
    A and B the centred features: an N x M matrix. So nothing singular is rooted, however few videos there are, where a
    root of the D x D product loses half of its digits. ValueError for features of two lengths or not finite.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(f"got features {first.shape} and {second.shape}, wanted [N, D] and [M, D]")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("got features that are NaN or infinite, wanted finite ones")
    num_videos, num_features = (len(first), len(second)), first.shape[1]
    if min(num_videos) < 2:
        return FrechetDistance(value=None, num_videos=num_videos, warning="fewer than two videos have no covariance")
    means = first.mean(axis=0), second.mean(axis=0)
    a, b = (first - means[0]) / np.sqrt(len(first) - 1), (second - means[1]) / np.sqrt(len(second) - 1)
    root_trace = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    value = np.square(means[0] - means[1]).sum() + np.square(a).sum() + np.square(b).sum() - 2 * root_trace
    warning = None
    if min(num_videos) <= num_features:
        warning = (
            f"{min(num_videos)} videos for {num_features} features: the covariance has no full rank, so the distance "
            "is biased upwards; compare it only between methods on the same clips"
        )
    return FrechetDistance(value=max(0.0, float(value)), num_videos=num_videos, warning=warning)
