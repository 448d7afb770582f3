import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpdata.media.moving_shapes import (
    BOX,
    ELLIPSE,
    INNER_ELLIPSE,
    blob,
    boxes_around,
    draw_filled,
    draw_strokes,
    scaled,
    strokes,
    wandering_boxes,
)

SIZE = {"height_px": 48, "width_px": 64}


def test_boxes_follow_the_mask_and_are_missing_where_it_is_absent():
    mask = np.zeros((3, 48, 64), dtype=bool)
    mask[0, 10:20, 5:30] = True
    mask[2, 47, 63] = True
    boxes = boxes_around(mask)
    assert boxes[[0, 2]].tolist() == [[5, 10, 30, 20], [63, 47, 64, 48]]
    assert np.isnan(boxes[1]).all()


def test_scaled_boxes_keep_their_centres():
    assert scaled(np.array([[10.0, 20.0, 20.0, 40.0]]), 2).tolist() == [[5, 10, 25, 50]]


def test_a_rectangle_is_exactly_its_half_open_box():
    mask = draw_filled(BOX, np.array([[5, 10, 30, 20], [np.nan] * 4, [-4, -4, 3, 2]]), **SIZE)
    wanted = np.zeros((3, 48, 64), dtype=bool)
    wanted[0, 10:20, 5:30] = True
    wanted[2, :2, :3] = True
    assert np.array_equal(mask, wanted)


def test_an_ellipse_passes_the_corners_of_its_box_and_an_inner_one_its_sides():
    boxes = np.array([[22.0, 16.0, 42.0, 32.0]])
    outer, inner = draw_filled(ELLIPSE, boxes, **SIZE)[0], draw_filled(INNER_ELLIPSE, boxes, **SIZE)[0]
    assert outer[17:31, 23:41].all()
    assert not outer[:, [16, 47]].any()
    rows, columns = np.nonzero(inner)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16, 31, 22, 41)
    # pi / 4 of the box, and pi / 2 of it.
    assert inner.sum() == pytest.approx(np.pi / 4 * 20 * 16, rel=0.1)
    assert outer.sum() == pytest.approx(np.pi / 2 * 20 * 16, rel=0.1)


def test_strokes_of_one_line_are_as_wide_as_asked():
    line = np.array([[0.0, 0.5], [1.0, 0.5]])
    mask = draw_strokes([line], np.array([[10.0, 10.0, 50.0, 20.0]]), width_frac=0.25, **SIZE)[0]
    assert mask[:, 30].sum() == pytest.approx(0.25 * 20, abs=2)
    assert mask[14, 10:50].all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**9), num_frames=st.integers(1, 60))
def test_wandering_boxes_stay_in_the_frame_and_move_little_by_little(seed, num_frames):
    boxes = wandering_boxes(np.random.default_rng(seed), num_frames=num_frames, **SIZE)
    assert boxes.shape == (num_frames, 4)
    assert (boxes[:, :2] >= -1e-9).all()
    assert (boxes[:, 2:] <= np.array([64, 48]) + 1e-9).all()
    sides = boxes[:, 2:] - boxes[:, :2]
    assert (sides > 0.15 * np.array([64, 48])).all()
    assert np.abs(np.diff(boxes, axis=0)).max(initial=0) < 0.1 * 64


def test_most_wandering_boxes_travel():
    travels = []
    for seed in range(50):
        boxes = wandering_boxes(np.random.default_rng(seed), num_frames=49, **SIZE)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        travels.append(np.ptp(centres, axis=0).max())
    assert np.median(travels) > 0.15 * 48


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_random_shapes_are_inside_their_box_and_of_sensible_area(seed):
    rng = np.random.default_rng(seed)
    boxes = np.array([[8.0, 8.0, 56.0, 40.0]])
    filled = draw_filled(blob(rng), boxes, **SIZE)[0]
    assert not filled[:, :8].any()
    assert not filled[40:].any()
    assert 0.2 < filled[8:40, 8:56].mean() <= 0.95
    drawn = draw_strokes(strokes(rng), boxes, width_frac=0.2, **SIZE)[0]
    assert 0.03 < drawn[8:40, 8:56].mean() <= 1
