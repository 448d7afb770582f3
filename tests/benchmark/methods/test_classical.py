"""Methods without a model, on footage whose hidden pixels are known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.methods.flow import Flow, FlowSettings
from benchmark.methods.opencv import Opencv, OpencvSettings, continue_inwards
from benchmark.methods.port import Method
from benchmark.methods.temporal_median import TemporalMedian
from benchmark.methods.untouched import Copy
from tests.benchmark.methods.footage import WORDS, crossing, panned, psnr, with_hole

TELEA = Opencv(OpencvSettings(algorithm="telea"))
NAVIER_STOKES = Opencv(OpencvSettings(algorithm="navier-stokes"))
FLOW = Flow(FlowSettings())
FILLING = [
    pytest.param(TELEA, id="telea"),
    pytest.param(NAVIER_STOKES, id="navier-stokes"),
    pytest.param(TemporalMedian(), id="temporal-median"),
    pytest.param(FLOW, id="flow"),
]


def test_copy_leaves_the_hole() -> None:
    truth = panned((3, 1))
    masks = crossing(truth)
    given = with_hole(truth, masks)
    np.testing.assert_array_equal(Copy().inpaint(given.copy(), masks, WORDS), given)


@pytest.mark.parametrize("method", FILLING)
def test_a_plain_colour_is_filled_with_itself(method: Method) -> None:
    truth = np.full((5, 60, 80, 3), (200, 30, 90), np.uint8)
    masks = np.zeros(truth.shape[:3], bool)
    masks[:, 20:40, 30:60] = True
    made = method.inpaint(with_hole(truth, masks), masks, WORDS)
    # OpenCV's own sums leave it by up to 4.
    np.testing.assert_allclose(made.astype(int), truth, atol=5)


@pytest.mark.parametrize("method", FILLING)
def test_known_pixels_keep_every_bit(method: Method) -> None:
    truth = panned((2.5, -1))
    masks = crossing(truth)
    made = method.inpaint(with_hole(truth, masks), masks, WORDS)
    assert (made.dtype, made.shape) == (np.uint8, truth.shape)
    np.testing.assert_array_equal(made[~masks], truth[~masks])
    assert np.ptp(made[masks]) > 0


@pytest.mark.parametrize("method", FILLING)
def test_one_frame_and_frames_that_are_all_hole_or_none_come_back(method: Method) -> None:
    truth = panned((0, 0), num_frames=3)
    masks = crossing(truth)
    masks[0], masks[1] = False, True
    made = method.inpaint(with_hole(truth, masks), masks, WORDS)
    np.testing.assert_array_equal(made[0], truth[0])
    alone = method.inpaint(with_hole(truth, masks)[2:], masks[2:], WORDS)
    np.testing.assert_array_equal(alone[~masks[2:]], truth[2:][~masks[2:]])
    nothing_known = np.ones_like(masks)
    made = method.inpaint(with_hole(truth, nothing_known), nothing_known, WORDS)
    assert made.shape == truth.shape


def test_the_two_algorithms_of_opencv_differ() -> None:
    truth = panned((0, 0))
    masks = crossing(truth)
    given = with_hole(truth, masks)
    assert not np.array_equal(TELEA.inpaint(given, masks, WORDS), NAVIER_STOKES.inpaint(given, masks, WORDS))


def test_what_stands_still_is_exactly_what_was_seen_there_before() -> None:
    truth = panned((0, 0))
    masks = crossing(truth)
    made = TemporalMedian().inpaint(with_hole(truth, masks), masks, WORDS)
    np.testing.assert_array_equal(made, truth)


def test_the_median_is_of_known_pixels_only() -> None:
    """By hand: values 10, 20, 30 are known, so the middle one; beside it only 40 and 50, so their mean."""
    frames = np.zeros((4, 1, 3, 3), np.uint8)
    frames[:, 0, 0] = np.array([10, 30, 20, 127])[:, None]
    frames[:, 0, 1] = np.array([40, 50, 127, 127])[:, None]
    masks = frames[..., 0] == 127
    made = TemporalMedian().inpaint(frames, masks, WORDS)
    assert made[3, 0, :, 0].tolist() == [20, 45, 0]


def test_what_is_never_seen_is_continued_from_the_border() -> None:
    truth = panned((0, 0))
    masks = np.zeros(truth.shape[:3], bool)
    masks[:, 50:70, 60:80] = True
    given = with_hole(truth, masks)
    made = TemporalMedian().inpaint(given, masks, WORDS)
    np.testing.assert_array_equal(made, continue_inwards(given, masks))


@pytest.mark.parametrize("step_px", [(0, 0), (3, 1), (2.5, 0)])
def test_flow_brings_back_what_moved_behind_the_hole(step_px: tuple[float, float]) -> None:
    truth = panned(step_px)
    masks = crossing(truth)
    given = with_hole(truth, masks)
    assert psnr(FLOW.inpaint(given, masks, WORDS), truth, masks) > 40
    assert psnr(TELEA.inpaint(given, masks, WORDS), truth, masks) < 25


def test_flow_knows_the_future_and_the_past_alike() -> None:
    """The hole is on the first frame alone, or on the last alone."""
    truth = panned((3, 1))
    for index in (0, len(truth) - 1):
        masks = np.zeros(truth.shape[:3], bool)
        masks[index, 40:75, 50:85] = True
        made = FLOW.inpaint(with_hole(truth, masks), masks, WORDS)
        assert psnr(made, truth, masks) > 35
