"""Names of colours, against what people call them."""

from __future__ import annotations

import numpy as np
import pytest

from vpdata.models.embedded.colours import main_colours


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((0, 0, 0), "black"),
        ((30, 28, 34), "black"),
        ((128, 128, 128), "grey"),
        ((250, 250, 250), "white"),
        ((235, 235, 228), "white"),
        ((220, 20, 30), "red"),
        ((120, 10, 20), "red"),
        ((255, 140, 0), "orange"),
        ((110, 70, 30), "brown"),
        ((200, 160, 120), "brown"),
        ((250, 230, 20), "yellow"),
        ((40, 160, 50), "green"),
        ((15, 70, 25), "green"),
        ((30, 60, 200), "blue"),
        ((130, 190, 240), "blue"),
        ((130, 40, 160), "purple"),
        ((250, 120, 180), "pink"),
        ((255, 182, 193), "pink"),
    ],
)
def test_plain_colours_have_their_everyday_name(rgb, name):
    assert main_colours(np.array([rgb] * 5, dtype=np.uint8)) == (name,)


def test_colours_come_largest_first_and_small_shares_not_at_all():
    pixels = np.array([(220, 20, 30)] * 30 + [(250, 250, 250)] * 60 + [(30, 60, 200)] * 10, dtype=np.uint8)
    assert main_colours(pixels) == ("white", "red")
    assert main_colours(pixels, most=1) == ("white",)
    assert main_colours(pixels, min_share=0.05, most=3) == ("white", "red", "blue")


def test_no_pixels_have_no_colour():
    assert main_colours(np.zeros((0, 3), dtype=np.uint8)) == ()
