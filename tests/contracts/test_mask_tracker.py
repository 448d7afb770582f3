"""What every MaskTracker promises."""

from __future__ import annotations

import numpy as np
import pytest

from tests.contracts.implementations import TINY, implementations
from tests.fakes import ColourTracker, squares_film
from vpdata.media.masks import decode_masks, num_pixels
from vpdata.models.ports import BoxPrompt

NUM_FRAMES, HEIGHT, WIDTH = 10, 64, 96
RED = [(6 + 4 * frame, 8, 30 + 4 * frame, 32) for frame in range(NUM_FRAMES)]
BLUE = [(60 - 3 * frame, 36, 84 - 3 * frame, 60) for frame in range(NUM_FRAMES)]
FRAMES = squares_film({"red square": RED, "blue square": BLUE})
PROMPTS = (
    BoxPrompt(frame=5, box=RED[5], label="red square"),
    BoxPrompt(frame=0, box=BLUE[0], label="blue square"),
)
SIZE = {"height_px": HEIGHT, "width_px": WIDTH}
TRACKERS = implementations("mask_tracker", fake=ColourTracker)


@pytest.fixture(params=TRACKERS, scope="module")
def tracker(request):
    return request.param()


@pytest.fixture(scope="module")
def tracked(tracker):
    frames = FRAMES.copy()
    frames.flags.writeable = False
    return tracker.track(frames, PROMPTS, **SIZE, seed=7)


@pytest.fixture(params=[one for one in TRACKERS if one.id not in TINY["mask_tracker"]], scope="module")
def seeing_tracker(request):
    return request.param()


def masks_of(found, *, height_px=HEIGHT, width_px=WIDTH):
    return decode_masks(found.counts, height_px=height_px, width_px=width_px)


def truth(boxes, *, scale=1):
    masks = np.zeros((len(boxes), HEIGHT * scale, WIDTH * scale), dtype=bool)
    for mask, box in zip(masks, boxes, strict=True):
        x0, y0, x1, y1 = (edge * scale for edge in box)
        mask[y0:y1, x0:x1] = True
    return masks


def mean_iou(masks, true):
    return float(np.mean([(a & b).sum() / (a | b).sum() for a, b in zip(masks, true, strict=True)]))


def test_each_prompt_gets_an_answer_for_every_frame(tracked):
    assert [len(found.counts) for found in tracked] == [NUM_FRAMES, NUM_FRAMES]
    assert all(0 <= found.score <= 1 for found in tracked)


def test_each_prompt_gets_its_own_object_in_order(seeing_tracker):
    tracked = seeing_tracker.track(FRAMES, PROMPTS, **SIZE, seed=7)
    assert mean_iou(masks_of(tracked[0]), truth(RED)) > 0.6
    assert mean_iou(masks_of(tracked[1]), truth(BLUE)) > 0.6


def test_equal_arguments_give_equal_results(tracker, tracked):
    assert tracker.track(FRAMES, PROMPTS, **SIZE, seed=7) == tracked


def test_no_prompts_give_no_results(tracker):
    assert tracker.track(FRAMES, [], **SIZE, seed=7) == []


TWICE_AS_LARGE = {"height_px": 2 * HEIGHT, "width_px": 2 * WIDTH}
LARGE_PROMPT = BoxPrompt(frame=5, box=tuple(2 * edge for edge in RED[5]), label="red square")


def test_masks_have_the_output_size_and_not_the_frames(tracker):
    (found,) = tracker.track(FRAMES, [LARGE_PROMPT], **TWICE_AS_LARGE, seed=7)
    sizes = [num_pixels(counts) for counts in found.counts if counts is not None]
    assert sizes == [4 * HEIGHT * WIDTH] * len(sizes) != []


def test_boxes_are_in_pixels_of_the_output_size(seeing_tracker):
    (found,) = seeing_tracker.track(FRAMES, [LARGE_PROMPT], **TWICE_AS_LARGE, seed=7)
    assert mean_iou(masks_of(found, **TWICE_AS_LARGE), truth(RED, scale=2)) > 0.6


def test_no_mask_is_empty(tracked):
    for found in tracked:
        assert all(counts is None or mask.any() for counts, mask in zip(found.counts, masks_of(found), strict=True))


def test_absent_object_is_none(seeing_tracker):
    gone = [box if frame < 5 else None for frame, box in enumerate(RED)]
    frames = squares_film({"red square": gone})
    (found,) = seeing_tracker.track(frames, [BoxPrompt(frame=1, box=RED[1], label="red square")], **SIZE, seed=7)
    assert found.counts[1] is not None
    assert found.counts[-1] is None


def test_clip_of_one_frame_is_tracked(tracker):
    (found,) = tracker.track(FRAMES[:1], [BoxPrompt(frame=0, box=RED[0], label="red square")], **SIZE, seed=7)
    assert len(found.counts) == 1


def test_box_over_the_whole_frame_or_of_one_pixel_is_answered(tracker):
    prompts = [
        BoxPrompt(frame=0, box=(0.0, 0.0, WIDTH, HEIGHT), label="all"),
        BoxPrompt(frame=0, box=(2.2, 2.2, 3.1, 3.1), label="speck"),
    ]
    found = tracker.track(FRAMES, prompts, **SIZE, seed=7)
    assert [len(one.counts) for one in found] == [NUM_FRAMES, NUM_FRAMES]
