"""Suppression of overlapping boxes, by hand."""

from __future__ import annotations

import itertools

from vpdata.models.nms import class_aware_nms
from vpdata.models.ports import Box


def box(x0, label, score):
    return Box(box=(float(x0), 0.0, float(x0) + 10, 10.0), label=label, score=score)


def test_best_of_overlapping_boxes_of_one_label_is_kept():
    # Shifted by 2 of 10 columns: IoU 8 / 12; shifted by 6: 4 / 16.
    boxes = [box(2, "cat", 0.5), box(0, "cat", 0.9), box(6, "cat", 0.4)]
    assert class_aware_nms(boxes, max_iou=0.5) == [boxes[1], boxes[2]]


def test_another_label_is_never_suppressed():
    boxes = [box(0, "cat", 0.9), box(0, "dog", 0.5)]
    assert class_aware_nms(boxes, max_iou=0.5) == boxes


def test_overlap_is_allowed_up_to_the_limit():
    # Shifted by 5: IoU is exactly 5 / 15.
    boxes = [box(0, "cat", 0.9), box(5, "cat", 0.5)]
    assert class_aware_nms(boxes, max_iou=5 / 15) == boxes
    assert class_aware_nms(boxes, max_iou=0.33) == boxes[:1]


def test_order_of_the_input_does_not_matter():
    boxes = [box(0, "cat", 0.5), box(1, "cat", 0.5), box(2, "dog", 0.5), box(40, "cat", 0.7)]
    assert len({tuple(class_aware_nms(order, max_iou=0.5)) for order in itertools.permutations(boxes)}) == 1


def test_nothing_stays_nothing():
    assert class_aware_nms([], max_iou=0.5) == []
