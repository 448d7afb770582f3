"""The embedded mask tracker on footage whose masks are known."""

import cv2
import numpy as np
import pytest

from benchmark.footage import scene
from vpdata.media.masks import decode_masks
from vpdata.models.embedded.tracker import FlowTracker, FlowTrackerSettings
from vpdata.models.ports import BoxPrompt

HEIGHT, WIDTH = 96, 160


@pytest.fixture(scope="module")
def tracker():
    return FlowTracker(FlowTrackerSettings())


def shot(kind, *, seed=3, **options):
    return scene(kind, seed=seed, height_px=HEIGHT, width_px=WIDTH, num_frames=40, **options)


def prompt(footage, frame, number=0):
    return BoxPrompt(frame=frame, box=footage.boxes(frame)[number], label=footage.labels[number])


def masks_of(found, *, height_px=HEIGHT, width_px=WIDTH):
    return decode_masks(found.counts, height_px=height_px, width_px=width_px)


def ious(found, truth):
    """Per frame that holds the object."""
    pairs = [(a, b) for a, b in zip(found, truth, strict=True) if b.any()]
    return np.array([(a & b).sum() / (a | b).sum() for a, b in pairs])


@pytest.mark.parametrize("frame", [0, 20, 39])
def test_object_is_held_forward_and_backward_from_any_frame(tracker, frame):
    footage = shot("plain", is_panning=True)
    (found,) = tracker.track(footage.frames, [prompt(footage, frame)], height_px=HEIGHT, width_px=WIDTH, seed=0)
    assert ious(masks_of(found), footage.masks[0]).min() > 0.7
    assert found.score > 0.8


def test_object_that_was_hidden_is_absent_and_then_found_again(tracker):
    footage = shot("pillar")
    (found,) = tracker.track(footage.frames, [prompt(footage, 2)], height_px=HEIGHT, width_px=WIDTH, seed=0)
    is_hidden = ~footage.masks[0].any(axis=(1, 2))
    assert is_hidden.any()
    assert all(counts is None for counts, hidden in zip(found.counts, is_hidden, strict=True) if hidden)
    assert ious(masks_of(found)[-8:], footage.masks[0][-8:]).min() > 0.7


def test_object_that_left_is_absent_until_it_comes_back(tracker):
    footage = shot("exit")
    (found,) = tracker.track(footage.frames, [prompt(footage, 2)], height_px=HEIGHT, width_px=WIDTH, seed=0)
    is_gone = ~footage.masks[0].any(axis=(1, 2))
    assert is_gone.any()
    assert all(counts is None for counts, gone in zip(found.counts, is_gone, strict=True) if gone)
    assert ious(masks_of(found)[-5:], footage.masks[0][-5:]).min() > 0.7


def test_object_that_comes_late_is_absent_before(tracker):
    footage = shot("late")
    (found,) = tracker.track(footage.frames, [prompt(footage, 39)], height_px=HEIGHT, width_px=WIDTH, seed=0)
    is_absent = ~footage.masks[0].any(axis=(1, 2))
    assert is_absent[:5].all()
    assert all(counts is None for counts, absent in zip(found.counts, is_absent, strict=True) if absent)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_objects_of_different_colours_that_cross_keep_their_identities(tracker, seed):
    footage = shot("crossing", seed=seed)
    prompts = [prompt(footage, 0, number) for number in (0, 1)]
    found = tracker.track(footage.frames, prompts, height_px=HEIGHT, width_px=WIDTH, seed=0)
    for number, item in enumerate(found):
        own, other = footage.masks[number], footage.masks[1 - number]
        assert all((m & a).sum() >= (m & b).sum() for m, a, b in zip(masks_of(item), own, other, strict=True))
        assert ious(masks_of(item)[-8:], own[-8:]).min() > 0.7


def test_still_object_before_a_still_camera_is_held(tracker):
    footage = shot("plain")
    frames = np.repeat(footage.frames[20:21], 10, axis=0)
    middle = BoxPrompt(frame=5, box=footage.boxes(20)[0], label="x")
    (found,) = tracker.track(frames, [middle], height_px=HEIGHT, width_px=WIDTH, seed=0)
    assert ious(masks_of(found), np.repeat(footage.masks[0][20:21], 10, axis=0)).min() > 0.7


def test_masks_at_three_times_the_size_lie_on_the_same_object(tracker):
    footage = shot("plain")
    x0, y0, x1, y1 = footage.boxes(10)[0]
    big = BoxPrompt(frame=10, box=(3 * x0, 3 * y0, 3 * x1, 3 * y1), label="x")
    (found,) = tracker.track(footage.frames, [big], height_px=3 * HEIGHT, width_px=3 * WIDTH, seed=0)
    truth = np.repeat(np.repeat(footage.masks[0], 3, axis=1), 3, axis=2)
    assert ious(masks_of(found, height_px=3 * HEIGHT, width_px=3 * WIDTH), truth).min() > 0.7


def test_result_depends_on_nothing_but_the_arguments(tracker):
    footage = shot("crossing")
    first, second = prompt(footage, 5, 0), prompt(footage, 30, 1)
    size = {"height_px": HEIGHT, "width_px": WIDTH, "seed": 4}
    together = tracker.track(footage.frames, [first, second], **size)
    cv2.setRNGSeed(99)
    cv2.setNumThreads(2)
    alone = [tracker.track(footage.frames, [one], **size)[0] for one in (first, second)]
    assert together == alone
    assert cv2.getNumThreads() == 2


def test_prompt_outside_the_clip_or_the_frame_is_refused(tracker):
    frames = np.zeros((3, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for wrong in (
        BoxPrompt(frame=3, box=(0, 0, 5, 5), label="x"),
        BoxPrompt(frame=0, box=(WIDTH, 0, WIDTH + 5, 5), label="x"),
    ):
        with pytest.raises(ValueError, match="wanted one"):
            tracker.track(frames, [wrong], height_px=HEIGHT, width_px=WIDTH, seed=0)


def test_black_frames_are_answered(tracker):
    frames = np.zeros((3, HEIGHT, WIDTH, 3), dtype=np.uint8)
    (found,) = tracker.track(
        frames, [BoxPrompt(frame=1, box=(5, 5, 40, 40), label="x")], height_px=HEIGHT, width_px=WIDTH, seed=0
    )
    assert len(found.counts) == 3
    assert 0 <= found.score <= 1


@pytest.mark.parametrize(("height_px", "width_px"), [(24, 720), (16, 80), (240, 24)])
def test_object_in_a_narrow_strip_is_followed(tracker, height_px, width_px):
    frames = np.random.default_rng(0).integers(0, 60, (5, height_px, width_px, 3), dtype=np.uint8)
    frames[:, 2:14, 4:20] = (250, 60, 40)
    (found,) = tracker.track(
        frames, [BoxPrompt(frame=2, box=(4, 2, 20, 14), label="x")], height_px=height_px, width_px=width_px, seed=0
    )
    assert ious(masks_of(found, height_px=height_px, width_px=width_px), frames[..., 0] > 200).min() > 0.6


def test_working_size_out_of_range_is_refused():
    with pytest.raises(ValueError, match="64 to 1080"):
        FlowTrackerSettings(short_side_px=10)
