"""One mask on one frame: cut out of a box at first, later re-fitted to what the frame shows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.media.masks import Mask
from vpdata.models.embedded.tracker_motion import Flow, median_flow, motion_evidence

_GRABCUT_PIXELS = 20_000
"""GrabCut's cost grows with its picture: 20,000 pixels take about 50 ms; its mask needs no more detail than that."""


def mask_from_box(image: NDArray[np.uint8], box: tuple[int, int, int, int], own: Flow, *, seed: int) -> Mask:
    """The object in a box (x0, y0, x1, y1 half-open, px) by GrabCut (Rother et al., 2004): bool [H, W].

    `image` is RGB; `own` is the flow from it without the camera's part. An object that GrabCut cannot tell from its
    surroundings becomes the ellipse in the box.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    ellipse = np.zeros((height, width), dtype=np.uint8)
    centre, axes = ((x0 + x1) // 2, (y0 + y1) // 2), ((x1 - x0) // 2, (y1 - y0) // 2)
    cv2.ellipse(ellipse, centre, axes, 0, 0, 360, 1, -1)
    # The corners of a box seldom hold the object, and what stands in a box that moves is not of it.
    middle = own[y0 + (y1 - y0) // 4 : y1 - (y1 - y0) // 4, x0 + (x1 - x0) // 4 : x1 - (x1 - x0) // 4]
    typical = median_flow(middle, np.ones(middle.shape[:2], dtype=np.bool_))
    is_likely = (ellipse > 0) & (motion_evidence(own, typical) >= -0.5)
    hints = np.full((height, width), cv2.GC_BGD, dtype=np.uint8)
    hints[y0:y1, x0:x1] = np.where(is_likely[y0:y1, x0:x1], cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    margin = max(8, (x1 - x0) // 3, (y1 - y0) // 3)
    window = slice(max(0, y0 - margin), y1 + margin), slice(max(0, x0 - margin), x1 + margin)
    found = np.zeros((height, width), dtype=np.bool_)
    found[window] = _grabcut(image[window], hints[window], seed)
    found = largest_parts(found, min_share=0.2)
    if np.count_nonzero(found) < 0.1 * (x1 - x0) * (y1 - y0):
        return (ellipse > 0) & (hints != cv2.GC_BGD)
    return found


def _grabcut(image: NDArray[np.uint8], hints: NDArray[np.uint8], seed: int) -> Mask:
    height, width = hints.shape
    shrink = min(1.0, float(np.sqrt(_GRABCUT_PIXELS / hints.size)))
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    labels = cv2.resize(hints, size, interpolation=cv2.INTER_NEAREST)
    if not (labels == cv2.GC_PR_FGD).any() or (labels == cv2.GC_PR_FGD).all():
        return hints == cv2.GC_PR_FGD
    cv2.setRNGSeed(seed & 0x7FFFFFFF)
    cv2.grabCut(small, labels, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    inside = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.float32)
    return cv2.resize(inside, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5


def signed_distance(mask: Mask) -> NDArray[np.float32]:
    """Pixels to the outline, positive inside: float32 [H, W]."""
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(inside - outside, dtype=np.float32)


def snap_to_edges(probability: NDArray[np.float32], guide: NDArray[np.float32]) -> NDArray[np.float32]:
    """Guided filter (He et al., ECCV 2010) of 7 px: moves the outline to edges of the grey image `guide` in [0, 1]."""
    size = (7, 7)
    mean_guide, mean = cv2.blur(guide, size), cv2.blur(probability, size)
    variance = cv2.blur(guide * guide, size) - mean_guide * mean_guide
    slope = (cv2.blur(guide * probability, size) - mean_guide * mean) / (variance + 1e-3)
    offset = mean - slope * mean_guide
    return np.asarray(cv2.blur(slope, size) * guide + cv2.blur(offset, size), dtype=np.float32)


def largest_parts(mask: Mask, *, min_share: float) -> Mask:
    """The mask without parts smaller than `min_share` of its largest one, and without small holes."""
    num_parts, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if num_parts <= 1:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    kept = (areas >= min_share * areas.max())[parts]
    _, holes, stats, _ = cv2.connectedComponentsWithStats((~kept).astype(np.uint8), connectivity=4)
    is_small = stats[:, cv2.CC_STAT_AREA] < 0.03 * kept.sum()
    is_small[0] = False
    return kept | is_small[holes]


def grown(mask: Mask, reach_px: int) -> Mask:
    """The mask and all pixels at most `reach_px` to its side or diagonally."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach_px + 1,) * 2, np.uint8)) > 0
