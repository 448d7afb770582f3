"""The camera's motion between two frames, as the affine map that most of the picture follows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.media.masks import Mask
from vpdata.models.embedded.dense_flow import dense_flow

Affine = NDArray[np.float64]
"""float64 [2, 3]: takes (x, y, 1) of the first frame to (x, y) of the second."""
Gray = NDArray[np.uint8]
"""uint8 [H, W]."""


def careful_flow(first: Gray, second: Gray) -> NDArray[np.float32]:
    """float32 [H, W, 2]: where each pixel of `first` went, in pixels (x, y)."""
    return dense_flow(cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM), first, second)


def affine_of_flow(flow: NDArray[np.float32], texture: Mask) -> Affine | None:
    """The affine map that the textured pixels follow, by RANSAC; None where fewer than a third agree on one.

    OpenCV's RANSAC starts from a fixed random state on every call, so the result depends on the input alone.
    """
    rows, columns = np.nonzero(texture)
    if rows.size < 50:
        return None
    step = max(1, rows.size // 4000)
    points = np.stack([columns, rows], axis=1)[::step].astype(np.float32)
    moved = points + flow[rows[::step], columns[::step]]
    # Depth and rolling shutter spread the background's own motion in proportion to its length.
    max_error_px = max(1.0, 0.1 * float(np.median(np.linalg.norm(moved - points, axis=1))))
    return _fit(points, moved, min_inlier_frac=1 / 3, max_error_px=max_error_px)


def affine_of_images(first: Gray, second: Gray, background: Mask) -> Affine | None:
    """The similarity that takes the background of one image to another that may be seconds away, by ORB and RANSAC.

    `background` is bool [H, W] of `first`, False where an object hides the scene. None where too little matches.
    """
    orb = cv2.ORB.create(nfeatures=800, fastThreshold=10)
    points_a, words_a = orb.detectAndCompute(first, background.astype(np.uint8))
    points_b, words_b = orb.detectAndCompute(second, None)
    if words_a is None or words_b is None:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(words_a, words_b)
    good = [match for match in matches if match.distance < 50]
    if len(good) < 12:
        return None
    source = np.array([points_a[match.queryIdx].pt for match in good], dtype=np.float32)
    target = np.array([points_b[match.trainIdx].pt for match in good], dtype=np.float32)
    # Objects that move together can outvote a background that stands: rest needs less support than motion.
    if np.mean(np.linalg.norm(target - source, axis=1) < 1.5) >= 0.25:
        return np.eye(2, 3)
    affine = _fit(source, target, min_inlier_frac=0.3, max_error_px=3.0, is_similarity=True)
    return affine if affine is not None and 0.4 < scale_of(affine) < 2.5 else None


def apply(affine: Affine, x: float, y: float) -> tuple[float, float]:
    """Where the map takes one point."""
    moved = affine @ np.array([x, y, 1.0])
    return float(moved[0]), float(moved[1])


def compose(first: Affine, second: Affine) -> Affine:
    """The map that applies `first`, then `second`."""
    return second[:, :2] @ first + np.concatenate([np.zeros((2, 2)), second[:, 2:]], axis=1)


def scale_of(affine: Affine) -> float:
    """How much the map enlarges lengths: 1.0 for none."""
    return float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))


def _fit(
    source: NDArray[np.float32],
    target: NDArray[np.float32],
    *,
    min_inlier_frac: float,
    max_error_px: float,
    is_similarity: bool = False,
) -> Affine | None:
    estimate = cv2.estimateAffinePartial2D if is_similarity else cv2.estimateAffine2D
    affine, inliers = estimate(source, target, method=cv2.RANSAC, ransacReprojThreshold=max_error_px, maxIters=500)
    if affine is None or inliers.mean() < min_inlier_frac:
        return None
    return affine.astype(np.float64)
