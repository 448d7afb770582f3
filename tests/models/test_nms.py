"""Suppression of overlapping boxes, by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

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


def test_thousands_of_boxes_are_thinned_out_as_by_torchvision():
    torch = pytest.importorskip("torch")
    nms = pytest.importorskip("torchvision").ops.nms
    rng = np.random.default_rng(0)
    corners, sides = rng.uniform(0, 600, (3000, 2)), rng.uniform(0, 80, (3000, 2))
    labels, scores = rng.choice(["cat", "dog"], 3000), rng.permutation(3000) / 3000
    edges = np.concatenate([corners, corners + sides], axis=1)
    boxes = [
        Box(box=tuple(one), label=str(label), score=score)
        for one, label, score in zip(edges.tolist(), labels, scores.tolist(), strict=True)
    ]
    wanted = []
    for label in ("cat", "dog"):
        rows = np.flatnonzero(labels == label)
        kept = nms(torch.from_numpy(edges[rows]), torch.from_numpy(scores[rows]), 0.4)
        wanted += [boxes[row] for row in rows[kept.numpy()]]
    assert 500 < len(wanted) < 2500
    assert class_aware_nms(boxes, max_iou=0.4) == sorted(wanted, key=lambda one: -one.score)


def test_boxes_without_area_harm_no_other():
    empty = Box(box=(3.0, 3.0, 3.0, 3.0), label="cat", score=0.6)
    boxes = [box(0, "cat", 0.9), empty, box(2, "cat", 0.5)]
    assert class_aware_nms(boxes, max_iou=0.5) == [boxes[0], empty]
