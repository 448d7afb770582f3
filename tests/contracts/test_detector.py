"""What every Detector promises."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.contracts.implementations import TINY, implementations
from tests.fakes import COLOUR_OF, ColourDetector, squares_film, textured_ground
from vpdata.media.masks import box_iou
from vpdata.models.ports import KeyFrame

BOXES = [(8 + 2 * frame, 20, 32 + 2 * frame, 44) for frame in range(12)]
FRAMES = squares_film({"blue square": BOXES})


LABELS = ("blue square", "moving object", "person")
DETECTORS = implementations("detector", fake=ColourDetector)


@pytest.fixture(params=DETECTORS, scope="module")
def detector(request):
    return request.param()


@pytest.fixture(params=[one for one in DETECTORS if one.id not in TINY["detector"]], scope="module")
def seeing_detector(request):
    """One that finds what is there; random weights find anything."""
    return request.param()


def key_frame(detector, frame, *, frames=FRAMES, labels=(), fps=25):
    around = [min(max(frame + round(offset_s * fps), 0), len(frames) - 1) for offset_s in detector.context_s]
    image, context = frames[frame].copy(), frames[around].copy()
    image.flags.writeable = context.flags.writeable = False
    return KeyFrame(image=image, context=context, labels=labels)


def test_moving_square_is_found(seeing_detector):
    (boxes,) = seeing_detector.detect([key_frame(seeing_detector, 6)])
    assert max((box_iou(box.box, BOXES[6]) for box in boxes), default=0.0) > 0.5


def test_boxes_lie_inside_the_image_best_first(detector):
    frames = squares_film({"blue square": [(-12 + 2 * frame, 20, 12 + 2 * frame, 64) for frame in range(12)]})
    (boxes,) = detector.detect([key_frame(detector, 3, frames=frames, labels=LABELS)])
    height, width = frames.shape[1:3]
    assert boxes
    for box in boxes:
        x0, y0, x1, y1 = box.box
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert 0 <= box.score <= 1
        assert box.label in LABELS
    assert [box.score for box in boxes] == sorted((box.score for box in boxes), reverse=True)


def test_each_key_frame_is_searched_for_its_own_labels(detector):
    asked = [("person", "moving object"), ("blue square",), LABELS]
    answers = detector.detect([key_frame(detector, 6, labels=labels) for labels in asked])
    assert all(box.label in labels for labels, boxes in zip(asked, answers, strict=True) for box in boxes)
    assert any(answers)


def test_only_labels_that_were_asked_for_are_answered(seeing_detector):
    (everything,) = seeing_detector.detect([key_frame(seeing_detector, 6)])
    found = {box.label for box in everything}
    assert found
    (same,) = seeing_detector.detect([key_frame(seeing_detector, 6, labels=tuple(sorted(found)))])
    assert {box.label for box in same} == found
    (nothing,) = seeing_detector.detect([key_frame(seeing_detector, 6, labels=("a label that nobody knows",))])
    assert nothing == []


def test_batch_equals_one_by_one_in_order(detector):
    batch = [key_frame(detector, frame, labels=LABELS) for frame in (2, 5, 8)]
    together, alone = detector.detect(batch), [detector.detect([one])[0] for one in batch]
    assert [[box.label for box in boxes] for boxes in together] == [[box.label for box in boxes] for boxes in alone]
    for several, one in zip(itertools.chain(*together), itertools.chain(*alone), strict=True):
        # The last bits of a network's matrix products depend on the number of their rows.
        assert (*several.box, several.score) == pytest.approx((*one.box, one.score), rel=1e-5, abs=1e-3)
    assert together[0] != together[2]


def test_without_labels_only_a_detector_with_its_own_finds_anything(detector):
    (found,) = detector.detect([key_frame(detector, 6)])
    assert bool(found) == detector.has_own_labels


def test_no_key_frames_give_no_answers(detector):
    assert detector.detect([]) == []


@pytest.mark.parametrize("size", [(16, 16), (64, 96), (400, 30)])
def test_flat_picture_holds_nothing(seeing_detector, size):
    frames = np.full((3, *size, 3), 128, dtype=np.uint8)
    assert seeing_detector.detect([key_frame(seeing_detector, 1, frames=frames)]) == [[]]


def test_still_ground_holds_nothing(seeing_detector):
    frames = np.repeat(textured_ground()[None], 3, axis=0)
    assert seeing_detector.detect([key_frame(seeing_detector, 1, frames=frames)]) == [[]]


def test_one_frame_clip_has_only_itself_around_it(seeing_detector):
    (boxes,) = seeing_detector.detect([key_frame(seeing_detector, 0, frames=FRAMES[:1])])
    assert all(box.label in {*COLOUR_OF, "person", "face"} for box in boxes)
