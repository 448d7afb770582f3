"""What open-vocabulary detectors share after the network: raw boxes in, a short clean list out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vpdata.models.nms import class_aware_nms
from vpdata.models.ports import Box, KeyFrame

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxLimits:
    """How many of the boxes on one key frame are kept."""

    max_iou: float = 0.7
    """Of two boxes with the same label that overlap by more than this IoU in [0, 1], the better one is kept."""
    max_boxes: int = 100
    """The best are kept; dropping some is logged."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_iou <= 1:
            raise ValueError(f"max_iou: got {self.max_iou}, wanted a number from 0 to 1")
        if self.max_boxes < 1:
            raise ValueError(f"max_boxes: got {self.max_boxes}, wanted at least 1")


def labelled(found: Mapping[str, Any], labels: Sequence[str]) -> list[Box]:
    """The library's answer for one image: tensors `scores` [N], `labels` [N] (indices), `boxes` [N, 4] in pixels."""
    indices, scores = found["labels"].tolist(), found["scores"].tolist()
    return [
        Box(box=tuple(box), label=labels[int(index)], score=score)
        for box, index, score in zip(found["boxes"].tolist(), indices, scores, strict=True)
    ]


def kept(found: Iterable[Iterable[Box]], key_frames: Sequence[KeyFrame], limits: BoxLimits) -> list[list[Box]]:
    """For each key frame its boxes inside the image, best first, without suppressed, surplus and sub-pixel ones."""
    answers = []
    for boxes, key_frame in zip(found, key_frames, strict=True):
        height_px, width_px = key_frame.image.shape[:2]
        inside = [clipped for box in boxes if (clipped := _clipped(box, width_px=width_px, height_px=height_px))]
        answers.append(class_aware_nms(inside, max_iou=limits.max_iou))
    if surplus := [len(boxes) for boxes in answers if len(boxes) > limits.max_boxes]:
        _log.warning(
            "%d key frames hold up to %d boxes; the best %d of each are kept",
            len(surplus),
            max(surplus),
            limits.max_boxes,
        )
    return [boxes[: limits.max_boxes] for boxes in answers]


def _clipped(box: Box, *, width_px: int, height_px: int) -> Box | None:
    x0, y0, x1, y1 = box.box
    x0, x1 = (min(max(x, 0.0), float(width_px)) for x in (x0, x1))
    y0, y1 = (min(max(y, 0.0), float(height_px)) for y in (y0, y1))
    # So written that a box with a NaN, which half precision can give, is dropped too.
    holds_a_pixel = x1 - x0 >= 1 and y1 - y0 >= 1
    return Box(box=(x0, y0, x1, y1), label=box.label, score=box.score) if holds_a_pixel else None
