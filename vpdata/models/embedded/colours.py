"""Names of colours: the eleven basic terms of English (Berlin and Kay 1969), by plain bounds in HSV."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

NAMES = ("black", "grey", "white", "red", "orange", "brown", "yellow", "green", "blue", "purple", "pink")
_BLACK, _GREY, _WHITE, _RED, _ORANGE, _BROWN, _YELLOW, _GREEN, _BLUE, _PURPLE, _PINK = range(len(NAMES))


def main_colours(pixels: NDArray[np.uint8], *, min_share: float = 0.2, most: int = 2) -> tuple[str, ...]:
    """At most `most` names that hold `min_share` of the pixels each, largest first; () where no colour does.

    `pixels` is uint8 [N, 3] RGB.
    """
    if not pixels.size:
        return ()
    shares = np.bincount(_indices(pixels), minlength=len(NAMES)) / len(pixels)
    order = sorted(range(len(NAMES)), key=lambda index: (-shares[index], index))
    return tuple(NAMES[index] for index in order[:most] if shares[index] >= min_share)


def _indices(pixels: NDArray[np.uint8]) -> NDArray[np.intp]:
    """For each pixel the index of its name."""
    hsv = cv2.cvtColor(pixels[None].astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[0]
    hue_deg, saturation, value = hsv[:, 0], hsv[:, 1], hsv[:, 2]
    edges = np.array([15, 42, 68, 165, 255, 290, 340])
    of_hue = np.array([_RED, _ORANGE, _YELLOW, _GREEN, _BLUE, _PURPLE, _PINK, _RED])
    names = of_hue[np.searchsorted(edges, hue_deg, side="right")]
    names[(names == _ORANGE) & ((value < 0.65) | (saturation < 0.45))] = _BROWN
    names[(names == _RED) & (saturation < 0.55) & (value > 0.7)] = _PINK
    names[(names == _RED) & (saturation < 0.55) & (value <= 0.7)] = _BROWN
    # What the eye sees as tint is chroma: in the dark the saturation of HSV is mostly noise.
    is_neutral = saturation * value < 0.12
    names[is_neutral] = np.select([value[is_neutral] > 0.82], [_WHITE], _GREY)
    names[value < 0.2] = _BLACK
    return names
