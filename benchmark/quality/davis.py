"""Region similarity J and contour accuracy F (Perazzi et al., CVPR 2016) as in the evaluation code of DAVIS 2017."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.media.masks import Mask, mask_iou

BOUND_TH = 0.008
"""How far apart two contours may be and still match, as a share of the frame's diagonal."""


def j_and_f(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean J and mean F in [0, 1] of one object over bool [T, H, W], but for the first and last frame, as in DAVIS."""
    if truth.shape != found.shape or len(truth) < 3:
        raise ValueError(f"got masks {truth.shape} and {found.shape}, wanted the same shape and at least 3 frames")
    pairs = list(zip(truth[1:-1], found[1:-1], strict=True))
    return float(np.mean([mask_iou(a, b) for a, b in pairs])), float(
        np.mean([contour_accuracy(a, b) for a, b in pairs])
    )


def contour_accuracy(truth: Mask, found: Mask) -> float:
    """F-measure in [0, 1] of the contour of `found`; 1.0 where both are empty, 0.0 where one is."""
    truth_contour, found_contour = contour(truth), contour(found)
    radius_px = int(np.ceil(BOUND_TH * np.linalg.norm(truth.shape)))
    num_truth, num_found = np.count_nonzero(truth_contour), np.count_nonzero(found_contour)
    if not num_truth or not num_found:
        return 1.0 if num_truth == num_found else 0.0
    precision = np.count_nonzero(found_contour & _dilated(truth_contour, radius_px)) / num_found
    recall = np.count_nonzero(truth_contour & _dilated(found_contour, radius_px)) / num_truth
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def contour(mask: Mask) -> Mask:
    """Pixels that differ from the one to the right, below or diagonally below (DAVIS's `_seg2bmap`)."""
    right, below, diagonal = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    right[:, :-1] = mask[:, 1:]
    below[:-1] = mask[1:]
    diagonal[:-1, :-1] = mask[1:, 1:]
    edge = (mask ^ right) | (mask ^ below) | (mask ^ diagonal)
    edge[-1] = mask[-1] ^ right[-1]
    edge[:, -1] = mask[:, -1] ^ below[:, -1]
    edge[-1, -1] = False
    return edge


def _dilated(edge: Mask, radius_px: int) -> Mask:
    y, x = np.mgrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    disk = (x * x + y * y <= radius_px * radius_px).astype(np.uint8)
    return cv2.dilate(edge.astype(np.uint8), disk).astype(np.bool_)
