from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from benchmark.metrics.sums import NOTHING
from benchmark.metrics.temporal import Motion, flicker, motion_of, motions, warping_error
from tests.benchmark.metrics.real_clip import real_clip

SHIFT_PX = 3
OFFSET = np.array([SHIFT_PX, 0], np.float32)


@pytest.fixture(scope="module")
def panned():
    """A still picture that a camera pans over, 3 px a frame to the right, and a hole that stands."""
    picture = real_clip()[1][0]
    frames = np.stack([picture[:, SHIFT_PX * index : SHIFT_PX * index + 200] for index in range(4)])
    holes = np.zeros(frames.shape[:3], bool)
    holes[:, 40:100, 60:120] = True
    return frames, holes


def test_the_truth_along_its_own_motion_is_steady(panned):
    frames, holes = panned
    found = motions(frames)
    middle = found[0].places[40:100, 60:120, 0] - np.arange(60, 120)
    assert np.median(middle) == pytest.approx(-SHIFT_PX, abs=0.1)
    error = warping_error(frames, holes, found)
    assert error["frame"].mean < 2e-4
    # Without its motion, the same video is far from steady.
    still = warping_error(frames, holes, [Motion(one.places + OFFSET, one.is_seen) for one in found])
    assert still["frame"].mean > 10 * error["frame"].mean


def test_a_change_of_brightness_costs_its_square_where_it_is(panned):
    frames, holes = panned
    steady = np.full_like(frames, 100)
    steady[1::2] = 151
    found = motions(frames)
    error = warping_error(steady, holes, found)
    for region in ("frame", "known", "hole"):
        assert error[region].mean == pytest.approx(0.2**2)
    assert error["hole"].count + error["known"].count == error["frame"].count
    # Where the next frame no longer shows a pixel, nothing is compared.
    assert error["frame"].count < frames[1:].size / 3
    inside = np.where(holes[..., None], steady, np.uint8(100))
    assert warping_error(inside, holes, found)["known"].mean < 0.2 * warping_error(inside, holes, found)["hole"].mean


def test_warping_error_is_that_of_scipys_interpolation_on_a_real_clip():
    output, truth, holes = real_clip()
    found = motions(truth)
    squared, weights = [], []
    for first, second, motion in zip(output[:-1] / 255, output[1:] / 255, found, strict=True):
        places = motion.places.transpose(2, 0, 1)[::-1].astype(np.float64)
        warped = np.stack([map_coordinates(second[..., one], places, order=1, mode="nearest") for one in range(3)], -1)
        squared.append(np.square(warped - first).mean(axis=2))
        weights.append(motion.is_seen)
    squared, is_seen = np.stack(squared), np.stack(weights)
    error = warping_error(output, holes, found)
    for region, where in (("frame", is_seen), ("known", is_seen & ~holes[:-1]), ("hole", is_seen & holes[:-1])):
        assert error[region].count == where.sum() > 1000
        # OpenCV interpolates at steps of 1/32 px.
        assert error[region].mean == pytest.approx(squared[where].mean(), abs=1e-4)


@pytest.mark.parametrize(
    ("axis", "left_px", "right_px", "is_border"),
    # The squared change is more than 0.01 of the squared motion and 0.002, or it is not.
    [
        (1, 0.0, 0.04, False), (1, 0.0, 0.05, True), (1, 1.0, 1.1, False), (1, 1.0, 1.12, True),
        (0, 0.0, 0.04, False), (0, 0.0, 0.05, True), (0, 1.0, 1.12, True),
    ],
)  # fmt: skip
def test_where_two_motions_meet_is_not_seen(axis, left_px, right_px, is_border):
    forward = np.zeros((9, 9, 2), np.float32)
    np.moveaxis(forward, axis, 0)[:4, ..., 0] = left_px
    np.moveaxis(forward, axis, 0)[4:, ..., 0] = right_px
    # Those that leave the frame on the right are not seen either.
    is_inside = np.arange(9) + forward[..., 0] <= 8
    wanted = is_inside.copy()
    np.moveaxis(wanted, axis, 0)[3] &= not is_border
    np.testing.assert_array_equal(motion_of(forward, -forward).is_seen, wanted)


def test_the_truth_is_steady_under_a_hole_whose_object_moves_over_what_stands():
    picture = real_clip()[1][0]
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    truth, holes = np.stack([picture] * 4), np.zeros((4, *picture.shape[:2]), bool)
    for index in range(4):
        middle = 80 + 5 * index
        disk = (x - middle) ** 2 + (y - 70) ** 2 <= 20**2
        truth[index][disk] = np.roll(picture[::-1], 5 * index, axis=1)[disk]
        holes[index] = (x - middle) ** 2 + (y - 70) ** 2 <= 24**2
    found = motions(truth)
    error = warping_error(truth, holes, found)["hole"]
    assert error.count > 0.5 * holes[:-1].sum()
    assert error.mean < 1e-3


def test_flicker_is_the_definition_on_a_real_clip():
    output, truth, holes = real_clip()
    change = np.diff(output.astype(float) / 255, axis=0) - np.diff(truth.astype(float) / 255, axis=0)
    found = flicker(output, truth, holes)
    in_both, in_neither = holes[1:] & holes[:-1], ~(holes[1:] | holes[:-1])
    assert found["frame"].mean == pytest.approx(np.abs(change).mean(), abs=1e-6)
    assert found["hole"].mean == pytest.approx(np.abs(change[in_both]).mean(), abs=1e-6)
    assert found["known"].mean == pytest.approx(np.abs(change[in_neither]).mean(), abs=1e-6)


def test_flicker_by_hand():
    truth = np.zeros((3, 4, 4, 3), np.uint8)
    truth[1] += 20
    holes = np.zeros((3, 4, 4), bool)
    holes[:, :2, :2] = True
    holes[2, :2, :2] = False
    output = truth.copy()
    output[1][holes[1]] += 51
    found = flicker(output, truth, holes)
    # Two changes of 0.2 at 4 of 16 pixels; the pixels of the hole are in it on the first two frames only.
    assert found["frame"].mean == pytest.approx(0.2 * 8 / 32)
    assert (found["hole"].sum, found["hole"].count) == (pytest.approx(0.2 * 4), 4)
    assert (found["known"].sum, found["known"].count) == (0, 24)


def test_a_constant_error_does_not_flicker():
    _, truth, holes = real_clip()
    dim = np.minimum(truth, 200)
    assert flicker(dim + np.uint8(50), dim, holes)["frame"].sum == 0


@pytest.mark.parametrize("region", ["frame", "known", "hole"])
def test_one_frame_has_no_neighbours(region):
    output, truth, holes = (array[:1] for array in real_clip())
    assert motions(truth) == []
    assert warping_error(output, holes, [])[region] == flicker(output, truth, holes)[region] == NOTHING


def test_empty_and_full_holes_leave_a_region_without_values(panned):
    frames, holes = panned
    for fill, region in ((False, "hole"), (True, "known")):
        some = np.full_like(holes, fill)
        assert warping_error(frames, some, motions(frames))[region] == NOTHING
        assert flicker(frames, frames, some)[region] == NOTHING
