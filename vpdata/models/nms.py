"""Non-maximum suppression that never lets one class suppress another."""

from __future__ import annotations

from collections.abc import Iterable

from vpdata.media.masks import box_iou
from vpdata.models.ports import Box


def class_aware_nms(boxes: Iterable[Box], *, max_iou: float) -> list[Box]:
    """The boxes, best score first, without those that overlap a better one of the same label by more than `max_iou`.

    Equal scores are ordered by label and box, so the result does not depend on the order of the input.
    """
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda one: (-one.score, one.label, one.box)):
        if all(box.label != better.label or box_iou(box.box, better.box) <= max_iou for better in kept):
            kept.append(box)
    return kept
