"""Holes and specks of masks, on masks drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vpdata.models.mask_cleaning import cleaned


def drawn(*rows: str) -> np.ndarray:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


SQUARE_WITH_SPECK_AND_HOLE = drawn(
    "............",
    ".######.....",
    ".######..#..",
    ".##.###.....",
    ".######.....",
    ".######.....",
    "............",
)
SQUARE = drawn(
    "............",
    ".######.....",
    ".######.....",
    ".######.....",
    ".######.....",
    ".######.....",
    "............",
)


def test_speck_goes_and_hole_is_filled():
    assert (cleaned(SQUARE_WITH_SPECK_AND_HOLE, min_part_frac=0.1, min_hole_frac=0.1) == SQUARE).all()


def test_zero_leaves_a_mask_as_it_is():
    unchanged = cleaned(SQUARE_WITH_SPECK_AND_HOLE, min_part_frac=0, min_hole_frac=0)
    assert (unchanged == SQUARE_WITH_SPECK_AND_HOLE).all()


def test_parts_and_holes_above_the_limit_stay():
    kept = cleaned(SQUARE_WITH_SPECK_AND_HOLE, min_part_frac=0.03, min_hole_frac=0.03)
    assert (kept == SQUARE_WITH_SPECK_AND_HOLE).all()


def test_largest_part_stays_however_small_its_share():
    two_halves = drawn("##..##", "##..#.")
    assert (cleaned(two_halves, min_part_frac=1, min_hole_frac=0) == drawn("##....", "##....")).all()


@pytest.mark.parametrize(
    "open_ring",
    [drawn("####", "#..#", "#..#"), drawn("#.##", "#..#", "####")],
    ids=["at the edge of the frame", "through a gap"],
)
def test_background_that_is_not_enclosed_is_no_hole(open_ring):
    assert (cleaned(open_ring, min_part_frac=0, min_hole_frac=1) == open_ring).all()


def test_hole_behind_a_diagonal_gap_is_a_hole():
    ring = drawn(".####", "##..#", "#...#", "#####", ".....")
    assert cleaned(ring, min_part_frac=0, min_hole_frac=1)[1:3, 2:4].all()


def test_diagonal_line_is_one_part():
    line = np.eye(8, dtype=bool)
    assert (cleaned(line, min_part_frac=1, min_hole_frac=1) == line).all()


def test_empty_and_full_masks_stay():
    for mask in (np.zeros((4, 6), dtype=bool), np.ones((4, 6), dtype=bool)):
        assert (cleaned(mask, min_part_frac=0.5, min_hole_frac=0.5) == mask).all()


def test_mask_handed_in_is_not_changed():
    before = SQUARE_WITH_SPECK_AND_HOLE.copy()
    cleaned(SQUARE_WITH_SPECK_AND_HOLE, min_part_frac=0.1, min_hole_frac=0.1)
    assert (before == SQUARE_WITH_SPECK_AND_HOLE).all()
