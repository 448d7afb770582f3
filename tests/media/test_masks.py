"""Masks against pycocotools, against hand-made shapes, and against hostile run lengths."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from vpdata.media import masks


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.floats(0.01, 0.99))
def test_any_mask_survives_the_round_trip(seed, height, width, density):
    mask = np.random.default_rng(seed).random((height, width)) < density
    counts = masks.encode_mask(mask)
    assert np.array_equal(masks.decode_mask(counts, height_px=height, width_px=width), mask)
    assert (counts is None) == (not mask.any())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, 300))
def test_run_lengths_add_up_to_the_frame(seed, height, width):
    mask = np.zeros((height, width), dtype=bool)
    rng = np.random.default_rng(seed)
    mask[: rng.integers(1, height + 1), : rng.integers(1, width + 1)] = True
    assert masks.num_pixels(coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()) == height * width


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 20), st.booleans())
def test_area_is_that_of_the_decoded_mask_and_refuses_what_decoding_refuses(seed, height, width, is_damaged):
    rng = np.random.default_rng(seed)
    text = masks.encode_mask(rng.random((height, width)) < rng.random())
    if text is not None and is_damaged:
        at = rng.integers(len(text))
        text = text[:at] + chr(rng.integers(48, 112)) + text[at + 1 :]
    try:
        area_px = int(masks.decode_mask(text, height_px=height, width_px=width).sum())
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            masks.mask_area_px(text, height_px=height, width_px=width)
    else:
        assert masks.mask_area_px(text, height_px=height, width_px=width) == area_px


def test_counts_of_another_size_are_refused_before_decoding():
    counts = masks.encode_mask(np.ones((4, 5), dtype=bool))
    with pytest.raises(ValueError, match="run lengths for 20 pixels, wanted 6x5"):
        masks.decode_mask(counts, height_px=5, width_px=6)


@pytest.mark.parametrize("text", ["\x10", "é", "~~", "P", "oooooooooooooooooooo", "ooooooooooooo0"])
def test_malformed_counts_are_refused(text):
    with pytest.raises(ValueError, match="run length"):
        masks.decode_mask(text, height_px=4, width_px=4)


def test_masks_of_a_track_are_stacked_with_empty_frames_where_it_is_absent():
    square = np.zeros((6, 8), dtype=bool)
    square[2:4, 3:6] = True
    stacked = masks.decode_masks([None, masks.encode_mask(square)], height_px=6, width_px=8)
    assert stacked.shape == (2, 6, 8)
    assert not stacked[0].any()
    assert np.array_equal(stacked[1], square)


def test_bounding_box_is_half_open():
    mask = np.zeros((6, 8), dtype=bool)
    mask[2:4, 3:6] = True
    assert masks.bounding_box(mask) == (3, 2, 6, 4)
    assert masks.bounding_box(np.zeros((6, 8), dtype=bool)) is None


def test_overlap_of_boxes_and_masks_by_hand():
    assert masks.box_iou((0, 0, 4, 4), (2, 0, 6, 4)) == pytest.approx(8 / 24)
    assert masks.box_iou((0, 0, 2, 2), (2, 2, 4, 4)) == 0.0
    a, b = np.zeros((1, 4), dtype=bool), np.zeros((1, 4), dtype=bool)
    a[0, :2], b[0, 1:3] = True, True
    assert masks.mask_iou(a, b) == pytest.approx(1 / 3)
    assert masks.mask_iou(~a & a, b & ~b) == 1.0
