"""Shapes in a box that moves: with an object, or on a path of its own.

A shape is drawn in the unit square, and a box per frame says where that square lies. So a rectangle, an ellipse, a blob
and brush strokes all move, grow and turn with whatever moves their box.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.media.masks import bounding_box

BoolArray = NDArray[np.bool_]
Boxes = NDArray[np.float64]
"""[F, 4]: x0, y0, x1, y1 in pixels, half-open; NaN on frames without a box."""
Points = NDArray[np.float64]
"""[N, 2]: x, y in the unit square of a box; beyond it is outside the box."""

_ANGLES = np.linspace(0, 2 * np.pi, 96, endpoint=False)
_CIRCLE: Points = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
BOX: Points = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
ELLIPSE: Points = 0.5 + np.sqrt(0.5) * _CIRCLE
"""Through the corners of its box, so that it covers what the box covers."""
INNER_ELLIPSE: Points = 0.5 + 0.5 * _CIRCLE
"""Inside its box."""


def boxes_around(mask: BoolArray) -> Boxes:
    """The bounding box of a mask `[F, H, W]` on every frame."""
    boxes = np.full((len(mask), 4), np.nan)
    for frame, one in enumerate(mask):
        if (box := bounding_box(one)) is not None:
            boxes[frame] = box
    return boxes


def scaled(boxes: Boxes, factor: float) -> Boxes:
    """The boxes with their sides times `factor`, about their centres."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    return np.concatenate([centre - factor * half, centre + factor * half], axis=1)


def wandering_boxes(
    rng: np.random.Generator,
    *,
    num_frames: int,
    height_px: int,
    width_px: int,
    side_frac: tuple[float, float] = (0.25, 0.6),
    max_travel_frac: float = 0.02,
) -> Boxes:
    """A box on a path of its own: it drifts, sways, breathes, and turns back at the edges of the frame.

    Sides are a share of the frame's, drawn from `side_frac`; the drift is at most `max_travel_frac` of them a frame.
    The box never leaves the frame.
    """
    size_px = np.array([width_px, height_px], dtype=np.float64)
    time = np.arange(num_frames)[:, None]
    breath = 1 + rng.uniform(0, 0.2) * np.sin(2 * np.pi * (time / rng.uniform(24, 72) + rng.uniform()))
    sides = np.minimum(rng.uniform(*side_frac, size=2) * breath, 0.95)
    sway = rng.uniform(0, 0.08, size=2) * np.sin(2 * np.pi * (time / rng.uniform(16, 48, size=2) + rng.uniform(size=2)))
    drift = rng.uniform(-max_travel_frac, max_travel_frac, size=2) * time
    place = _reflected(rng.uniform(size=2) + drift + sway) * (1 - sides)
    return np.concatenate([place, place + sides], axis=1) * np.tile(size_px, 2)


def blob(rng: np.random.Generator) -> Points:
    """A smooth closed outline inside its box, as in the moving masks that video inpainting is trained with."""
    harmonics = np.arange(2, 6)
    amplitudes = rng.normal(size=harmonics.size) * 0.5 / harmonics
    phases = rng.uniform(0, 2 * np.pi, size=harmonics.size)
    radius = np.exp(np.sin(_ANGLES[:, None] * harmonics + phases) @ amplitudes)
    outline = radius[:, None] * _CIRCLE
    low, high = outline.min(axis=0), outline.max(axis=0)
    return (outline - low) / (high - low)


def strokes(rng: np.random.Generator) -> list[Points]:
    """One to four brush strokes that wind through the box."""
    lines = []
    for _ in range(rng.integers(1, 5)):
        turns = rng.normal(0, 0.9, size=rng.integers(4, 9))
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(turns)
        steps = rng.uniform(0.15, 0.4, size=(turns.size, 1)) * np.stack([np.cos(heading), np.sin(heading)], axis=1)
        lines.append(_reflected(rng.uniform(0.2, 0.8, size=2) + np.cumsum(steps, axis=0)))
    return lines


def draw_filled(outline: Points, boxes: Boxes, *, height_px: int, width_px: int) -> BoolArray:
    """bool [F, H, W]: the inside of an outline at each box, False on frames without one."""

    def draw(image: NDArray[np.uint8], box: NDArray[np.float64]) -> None:
        cv2.fillPoly(image, [_in_pixels(outline, box)], 1)

    return _drawn(draw, boxes, height_px=height_px, width_px=width_px)


def draw_strokes(
    lines: Sequence[Points], boxes: Boxes, *, width_frac: float, height_px: int, width_px: int
) -> BoolArray:
    """bool [F, H, W]: strokes with round ends at each box, `width_frac` of the root of the box's area wide."""

    def draw(image: NDArray[np.uint8], box: NDArray[np.float64]) -> None:
        side_px = np.sqrt((box[2] - box[0]) * (box[3] - box[1]))
        stroke_px = max(round(width_frac * side_px), 1)
        cv2.polylines(image, [_in_pixels(line, box) for line in lines], False, 1, thickness=stroke_px)

    return _drawn(draw, boxes, height_px=height_px, width_px=width_px)


def _drawn(
    draw: Callable[[NDArray[np.uint8], NDArray[np.float64]], None], boxes: Boxes, *, height_px: int, width_px: int
) -> BoolArray:
    images = np.zeros((len(boxes), height_px, width_px), dtype=np.uint8)
    for image, box in zip(images, boxes, strict=True):
        if not np.isnan(box).any():
            draw(image, box)
    return images.astype(np.bool_)


def _in_pixels(points: Points, box: NDArray[np.float64]) -> NDArray[np.int32]:
    """The unit square's far sides are the last pixels inside the box, for cv2 draws the outline too."""
    span = np.maximum(box[2:] - box[:2] - 1, 0)
    return np.round(box[:2] + points * span).astype(np.int32)


def _reflected(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values folded into [0, 1], as a ball between two walls."""
    return 1 - np.abs(1 - values % 2)
