from __future__ import annotations

import numpy as np

from tests.runs import make_track
from vpdata.report.drawing import TRACK_COLOURS, colour_of, css_colour, draw_chip, draw_tracks, fit


def square(top: int, left: int, *, num_frames: int = 1) -> np.ndarray:
    masks = np.zeros((num_frames, 60, 80), dtype=np.bool_)
    masks[0, top : top + 30, left : left + 30] = True
    return masks


def test_mask_is_tinted_inside_and_nothing_changes_outside() -> None:
    image = np.full((60, 80, 3), 100, dtype=np.uint8)
    draw_tracks(image, [make_track(1, "square", square(20, 20))], frame=0, clip_size_px=(80, 60))
    # 58 % of the pixel and 42 % of the colour; the middle is far from outline and number.
    assert tuple(image[42, 40]) == tuple(int(100 * 0.58 + channel * 0.42) for channel in TRACK_COLOURS[0])
    outside = np.ones((60, 80), dtype=np.bool_)
    outside[16:54, 16:54] = False  # the outline is three pixels wide
    assert (image[outside] == 100).all()


def test_masks_are_scaled_to_the_picture() -> None:
    image = np.zeros((120, 160, 3), dtype=np.uint8)
    draw_tracks(image, [make_track(2, "square", square(20, 20))], frame=0, clip_size_px=(80, 60))
    changed = np.flatnonzero(image.any(axis=(0, 2)))
    assert abs(changed[0] - 40) <= 4
    assert abs(changed[-1] - 99) <= 4


def test_absent_object_leaves_the_frame_alone() -> None:
    image = np.full((60, 80, 3), 100, dtype=np.uint8)
    draw_tracks(image, [make_track(1, "square", square(20, 20, num_frames=2))], frame=1, clip_size_px=(80, 60))
    assert (image == 100).all()


def test_small_object_before_a_large_one_keeps_its_colour() -> None:
    image = np.full((60, 80, 3), 100, dtype=np.uint8)
    large, small = np.ones((1, 60, 80), dtype=np.bool_), square(25, 25)
    draw_tracks(image, [make_track(1, "s", small), make_track(2, "l", large)], frame=0, clip_size_px=(80, 60))
    towards = [np.abs(image[47, 40].astype(int) - colour).sum() for colour in (TRACK_COLOURS[0], TRACK_COLOURS[1])]
    assert towards[0] < towards[1]


def test_colours_differ_and_repeat_after_ten() -> None:
    assert len({colour_of(track) for track in range(1, 11)}) == 10
    assert colour_of(11) == colour_of(1)
    assert css_colour(1) == "#ff8a30"


def test_chip_stays_inside_the_image() -> None:
    image = np.zeros((40, 40, 3), dtype=np.uint8)
    right = draw_chip(image, "12", at=(100, 100), colour=(255, 255, 255))
    assert right == 40
    assert image[-1, -1].tolist() == [255, 255, 255]


def test_fit_enlarges_and_reduces_to_the_short_side_and_copies() -> None:
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    assert fit(image, short_side_px=120).shape == (120, 160, 3)
    assert fit(image, short_side_px=30).shape == (30, 40, 3)
    same = fit(image, short_side_px=60)
    same[:] = 9
    assert not image.any()
