"""What every Detector promises."""

from __future__ import annotations

import numpy as np
import pytest

from tests.contracts.implementations import implementations
from tests.fakes import COLOUR_OF, ColourDetector, squares_film, textured_ground
from vpdata.media.masks import box_iou
from vpdata.models.ports import KeyFrame

BOXES = [(8 + 2 * frame, 20, 32 + 2 * frame, 44) for frame in range(12)]
FRAMES = squares_film({"blue square": BOXES})


@pytest.fixture(params=implementations("detector", fake=ColourDetector), scope="module")
def detector(request):
    return request.param()


def key_frame(detector, frame, *, frames=FRAMES, labels=(), fps=25):
    around = [min(max(frame + round(offset_s * fps), 0), len(frames) - 1) for offset_s in detector.context_s]
    image, context = frames[frame].copy(), frames[around].copy()
    image.flags.writeable = context.flags.writeable = False
    return KeyFrame(image=image, context=context, labels=labels)


def test_moving_square_is_found(detector):
    (boxes,) = detector.detect([key_frame(detector, 6)])
    assert max((box_iou(box.box, BOXES[6]) for box in boxes), default=0.0) > 0.5


def test_boxes_lie_inside_the_image_best_first(detector):
    frames = squares_film({"blue square": [(-12 + 2 * frame, 20, 12 + 2 * frame, 64) for frame in range(12)]})
    (boxes,) = detector.detect([key_frame(detector, 3, frames=frames)])
    height, width = frames.shape[1:3]
    assert boxes
    for box in boxes:
        x0, y0, x1, y1 = box.box
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert 0 <= box.score <= 1
    assert [box.score for box in boxes] == sorted((box.score for box in boxes), reverse=True)


def test_only_labels_that_were_asked_for_are_answered(detector):
    (everything,) = detector.detect([key_frame(detector, 6)])
    found = {box.label for box in everything}
    assert found
    (same,) = detector.detect([key_frame(detector, 6, labels=tuple(sorted(found)))])
    assert {box.label for box in same} == found
    (nothing,) = detector.detect([key_frame(detector, 6, labels=("a label that nobody knows",))])
    assert nothing == []


def test_batch_equals_one_by_one_in_order(detector):
    batch = [key_frame(detector, frame) for frame in (2, 5, 8)]
    together = detector.detect(batch)
    assert together == [detector.detect([one])[0] for one in batch]
    assert together[0] != together[2]


def test_no_key_frames_give_no_answers(detector):
    assert detector.detect([]) == []


@pytest.mark.parametrize("size", [(16, 16), (64, 96), (400, 30)])
def test_flat_picture_holds_nothing(detector, size):
    frames = np.full((3, *size, 3), 128, dtype=np.uint8)
    assert detector.detect([key_frame(detector, 1, frames=frames)]) == [[]]


def test_still_ground_holds_nothing(detector):
    frames = np.repeat(textured_ground()[None], 3, axis=0)
    assert detector.detect([key_frame(detector, 1, frames=frames)]) == [[]]


def test_one_frame_clip_has_only_itself_around_it(detector):
    (boxes,) = detector.detect([key_frame(detector, 0, frames=FRAMES[:1])])
    assert all(box.label in {*COLOUR_OF, "person", "face"} for box in boxes)
