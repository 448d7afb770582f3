"""The measures of a track, computed by hand on small squares."""

from __future__ import annotations

import numpy as np
import pytest

from vpdata.media.masks import encode_mask
from vpdata.media.track_measures import measured_track

HEIGHT, WIDTH = 10, 20


def track_of(*boxes):
    masks = []
    for box in boxes:
        mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
        if box:
            x0, y0, x1, y1 = box
            mask[y0:y1, x0:x1] = True
        masks.append(encode_mask(mask))
    return measured_track(masks, id=3, label="thing", score=0.5, height_px=HEIGHT, width_px=WIDTH)


def test_areas_are_shares_of_the_frame_and_their_mean_counts_present_frames_only():
    track = track_of((1, 1, 5, 6), None, (1, 1, 9, 6), (1, 1, 5, 6))
    assert track.area_frac == (0.1, 0.0, 0.2, 0.1)
    assert track.mean_area_frac == pytest.approx(0.4 / 3)
    assert track.coverage_frac == 0.75


def test_area_change_is_relative_to_the_mean_area_and_ignores_absence():
    # 20, 25 and, after a frame without, 4 pixels: 5 over a mean of 49 / 3.
    grown = track_of((1, 1, 5, 6), (1, 1, 6, 6), None, (1, 1, 3, 3))
    assert grown.max_area_change_frac == pytest.approx(5 / (49 / 3))
    # 40 and 20 pixels: 20 over a mean of 30.
    shrunk = track_of((1, 1, 9, 6), (1, 1, 5, 6))
    assert shrunk.max_area_change_frac == pytest.approx(20 / 30)


def test_object_that_comes_into_sight_column_by_column_changes_little():
    entering = track_of(*[(WIDTH - min(step, 8), 1, WIDTH, 9) for step in range(1, 40)])
    assert entering.max_area_change_frac < 0.2


def test_shape_that_only_moves_is_stable():
    assert track_of((1, 1, 5, 5), (9, 4, 13, 8), (15, 5, 19, 9)).stability == 1.0


def test_stability_is_the_overlap_of_centred_neighbours():
    # 4x4 inside 6x6 on the same centre: 16 / 36; then the same again.
    assert track_of((2, 2, 6, 6), (11, 1, 17, 7), (11, 1, 17, 7)).stability == pytest.approx((16 / 36 + 1) / 2)
    # A lying and a standing bar, 8x2 and 2x8 on the same centre: 4 / 28.
    assert track_of((2, 4, 10, 6), (5, 1, 7, 9)).stability == pytest.approx(4 / 28)


def test_border_counts_the_frames_that_touch_any_edge():
    inside, left, right = (1, 1, 5, 5), (0, 1, 5, 5), (16, 1, WIDTH, 5)
    top, bottom = (1, 0, 5, 5), (1, 5, 5, HEIGHT)
    assert track_of(inside, left, None, inside).border_frac == pytest.approx(1 / 3)
    for edge in (left, right, top, bottom):
        assert track_of(edge).border_frac == 1.0


def test_nothing_is_stable_that_has_no_neighbour():
    track = track_of((1, 1, 5, 5), None, (1, 1, 5, 5))
    assert track.stability == 0.0
    assert track.max_area_change_frac == 0.0


def test_track_that_is_never_there_measures_zero():
    track = track_of(None, None)
    assert (track.mean_area_frac, track.coverage_frac, track.border_frac) == (0.0, 0.0, 0.0)


def test_identity_of_the_track_is_kept():
    track = track_of((1, 1, 5, 5))
    assert (track.id, track.label, track.score, len(track.masks)) == (3, "thing", 0.5, 1)
