"""Raw boxes of a detector, cleaned, by hand."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest

from vpdata.config import fill
from vpdata.errors import ConfigError
from vpdata.models.huggingface.boxes import BoxLimits, kept
from vpdata.models.ports import Box, KeyFrame

IMAGE = np.zeros((64, 96, 3), dtype=np.uint8)
KEY_FRAME = KeyFrame(image=IMAGE, context=IMAGE[None][:0], labels=("cat",))


def box(*edges, label="cat", score=0.5):
    return Box(box=edges, label=label, score=score)


def clean(*boxes, **limits):
    (answer,) = kept([boxes], [KEY_FRAME], BoxLimits(**limits))
    return answer


def test_boxes_are_clipped_to_the_image():
    assert clean(box(-5.0, -1.5, 200.0, 30.25)) == [box(0.0, 0.0, 96.0, 30.25)]


@pytest.mark.parametrize(
    "edges",
    [
        (10.0, 10.0, 10.0, 20.0),
        (10.0, 10.0, 20.0, 10.5),
        (20.0, 10.0, 10.0, 20.0),
        (-9.0, 5.0, -1.0, 9.0),
        (96.0, 0.0, 120.0, 64.0),
        (math.nan, 0.0, 9.0, 9.0),
    ],
    ids=["no width", "half a pixel high", "edges swapped", "left of the image", "right of the image", "not a number"],
)
def test_boxes_that_hold_no_pixel_are_dropped(edges):
    assert clean(box(*edges), box(0.0, 0.0, 9.0, 9.0)) == [box(0.0, 0.0, 9.0, 9.0)]


def test_duplicates_are_dropped_within_a_label_only():
    boxes = [
        box(0.0, 0.0, 10.0, 10.0, score=0.5),
        box(0.0, 1.0, 10.0, 10.0, score=0.9),  # IoU 0.9 with the first
        box(0.0, 0.0, 10.0, 10.0, label="dog", score=0.3),
    ]
    assert clean(*boxes, max_iou=0.8) == [boxes[1], boxes[2]]
    assert clean(*boxes, max_iou=0.95) == [boxes[1], boxes[0], boxes[2]]


def test_surplus_boxes_are_dropped_and_logged(caplog):
    boxes = [box(float(x), 0.0, x + 1.0, 1.0, score=0.9 - x / 200) for x in range(5)]
    with caplog.at_level(logging.WARNING):
        assert clean(*boxes, max_boxes=3) == boxes[:3]
    assert "hold up to 5 boxes; the best 3" in caplog.text


@pytest.mark.parametrize("wrong", [{"max_iou": 1.5}, {"max_boxes": 0}])
def test_wrong_limits_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        fill(BoxLimits, wrong)
