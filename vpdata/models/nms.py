"""Non-maximum suppression that never lets one class suppress another."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vpdata.models.ports import Box


def class_aware_nms(boxes: Iterable[Box], *, max_iou: float) -> list[Box]:
    """The boxes, best score first, without those that overlap a better one of the same label by more than `max_iou`.

    Equal scores are ordered by label and box, so the result does not depend on the order of the input.
    """
    ranked = sorted(boxes, key=lambda one: (-one.score, one.label, one.box))
    # Arrays: the thousands of boxes of a detector that sees things everywhere took half a minute one pair at a time.
    edges = np.array([one.box for one in ranked], dtype=np.float64).reshape(-1, 4)
    labels = np.array([one.label for one in ranked])
    is_left = np.ones(len(ranked), dtype=bool)
    kept: list[Box] = []
    for row, box in enumerate(ranked):
        if is_left[row]:
            kept.append(box)
            worse = slice(row + 1, None)
            is_left[worse] &= (labels[worse] != box.label) | (_ious(edges[row], edges[worse]) <= max_iou)
    return kept


def _ious(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 [N] in [0, 1] of one box [4] with others [N, 4]; 0 where both are empty."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    intersections = sides.clip(min=0.0).prod(axis=1)
    unions = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - intersections
    return np.divide(intersections, unions, out=np.zeros_like(unions), where=unions > 0)
