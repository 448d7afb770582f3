"""Tracks drawn over frames, in the colours that the whole report uses."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.media.masks import Mask, bounding_box, decode_mask
from vpdata.records import Track

Rgb = tuple[int, int, int]

TRACK_COLOURS: tuple[Rgb, ...] = (
    (255, 138, 48),
    (64, 196, 255),
    (255, 92, 138),
    (174, 234, 92),
    (190, 150, 255),
    (255, 214, 64),
    (72, 222, 180),
    (255, 150, 220),
    (150, 186, 255),
    (222, 178, 128),
)
"""Light and saturated, so that they stand out on footage; neighbours differ in lightness too, for colour-blind eyes."""

_INK: Rgb = (18, 17, 16)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def colour_of(track: int) -> Rgb:
    """The colour of a track id; repeats after ten."""
    return TRACK_COLOURS[(track - 1) % len(TRACK_COLOURS)]


def css_colour(track: int) -> str:
    """`#rrggbb` of a track id."""
    return "#{:02x}{:02x}{:02x}".format(*colour_of(track))


def draw_tracks(
    image: NDArray[np.uint8], tracks: Sequence[Track], *, frame: int, clip_size_px: tuple[int, int]
) -> None:
    """Tint, outline and number every track's mask on one frame, in place.

    `image` is uint8 [H, W, 3] RGB at any size; `clip_size_px` is (width, height) of the clip that the masks are for.
    """
    width, height = clip_size_px
    masks = [(track, decode_mask(track.masks[frame], height_px=height, width_px=width)) for track in tracks]
    shown = [(track, _resized(mask, image.shape[1], image.shape[0])) for track, mask in masks if mask.any()]
    # Large ones first, so that an object before another keeps its colour.
    shown.sort(key=lambda one: -int(np.count_nonzero(one[1])))
    for track, mask in shown:
        _tint(image, mask, colour_of(track.id))
    for track, mask in shown:
        box = bounding_box(mask)
        if box is not None:
            draw_chip(image, str(track.id), at=((box[0] + box[2]) // 2 - 6, box[1]), colour=colour_of(track.id))


def fit(image: NDArray[np.uint8], *, short_side_px: int) -> NDArray[np.uint8]:
    """A copy, uint8 [H, W, 3], with this short side; enlarged if need be, for outlines on a tiny picture are coarse."""
    height, width = image.shape[:2]
    scale = short_side_px / min(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return np.array(resized, dtype=np.uint8)


def draw_chip(image: NDArray[np.uint8], text: str, *, at: tuple[int, int], colour: Rgb) -> int:
    """Dark text on a patch of `colour`, kept inside the image, in place; returns the x just right of the patch.

    OpenCV's font knows ASCII only: other characters appear as `?`.
    """
    scale = max(0.34, min(0.5, image.shape[0] / 640))
    (text_width, text_height), _ = cv2.getTextSize(text, _FONT, scale, 1)
    width, height = text_width + 7, text_height + 7
    x = max(0, min(at[0], image.shape[1] - width))
    y = max(0, min(at[1], image.shape[0] - height))
    cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), colour, thickness=-1)
    cv2.putText(image, text, (x + 3, y + height - 4), _FONT, scale, _INK, 1, cv2.LINE_AA)
    return x + width


def _resized(mask: Mask, width_px: int, height_px: int) -> Mask:
    if mask.shape == (height_px, width_px):
        return mask
    return cv2.resize(mask.astype(np.float32), (width_px, height_px), interpolation=cv2.INTER_AREA) >= 0.5


def _tint(image: NDArray[np.uint8], mask: Mask, colour: Rgb) -> None:
    image[mask] = (image[mask] * 0.58 + np.array(colour) * 0.42).astype(np.uint8)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    # A dark line under the bright one keeps the outline visible on light ground.
    cv2.drawContours(image, contours, -1, _INK, thickness=3, lineType=cv2.LINE_AA)
    cv2.drawContours(image, contours, -1, colour, thickness=1, lineType=cv2.LINE_AA)
