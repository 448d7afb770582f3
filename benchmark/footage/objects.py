"""Textured objects with hard outlines, to be composited over a background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.footage.backdrops import clutter

Shape = Literal["disc", "box", "star", "blob", "figure"]
Texture = Literal["plain", "stripes", "checks", "speckle"]
SHAPES: tuple[Shape, ...] = ("disc", "box", "star", "blob", "figure")
TEXTURES: tuple[Texture, ...] = ("plain", "stripes", "checks", "speckle")
COLOURS = {
    "red": (205, 40, 45),
    "green": (45, 165, 70),
    "blue": (45, 85, 205),
    "yellow": (230, 200, 50),
    "purple": (135, 55, 165),
    "orange": (235, 130, 35),
    "cyan": (60, 190, 205),
    "pink": (235, 140, 175),
}
"""RGB of the named colours; an object's texture varies the brightness around them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sprite:
    """One object as a picture of its own."""

    label: str
    """Colour and shape, such as "red disc"."""
    image: NDArray[np.uint8]
    """uint8 [S, S, 3] RGB."""
    mask: NDArray[np.bool_]
    """bool [S, S]: where the object is in the picture."""


def make_sprite(
    rng: np.random.Generator,
    *,
    size_px: int,
    colour: str | None,
    shape: Shape | None = None,
    texture: Texture | None = None,
) -> Sprite:
    """An object about `size_px` across; shape and texture are drawn where they are not given.

    One without a `colour` is camouflaged: its surface is a piece of drawn background, in many dull colours.
    """
    shape = shape or SHAPES[rng.integers(len(SHAPES))]
    if colour is None:
        surface = clutter(rng, height_px=size_px, width_px=size_px)
        return Sprite(label=f"camouflaged {shape}", image=surface, mask=_outline(rng, size_px, shape))
    texture = texture or TEXTURES[rng.integers(len(TEXTURES))]
    brightness = _texture(rng, size_px, texture)
    image = np.clip(np.array(COLOURS[colour]) * brightness[..., None], 0, 255).astype(np.uint8)
    return Sprite(label=f"{colour} {shape}", image=image, mask=_outline(rng, size_px, shape))


def _outline(rng: np.random.Generator, size_px: int, shape: Shape) -> NDArray[np.bool_]:
    mask = np.zeros((size_px, size_px), dtype=np.uint8)
    half = size_px / 2
    if shape == "figure":
        _draw_figure(mask)
    elif shape == "disc":
        cv2.circle(mask, (int(half), int(half)), int(half) - 1, 255, -1)
    elif shape == "box":
        inset = int(0.15 * size_px)
        mask[inset : size_px - inset, 1 : size_px - 1] = 255
    else:
        num_points = 10 if shape == "star" else 72
        angles = np.arange(num_points) * 2 * np.pi / num_points
        if shape == "star":
            radii = np.where(np.arange(num_points) % 2, 0.5, 0.98)
        else:
            waves = rng.uniform(0, 2 * np.pi, size=3)
            radii = 0.78 + 0.07 * np.cos(np.arange(2, 5)[:, None] * angles + waves[:, None]).sum(axis=0)
        points = half + (half - 1) * radii[:, None] * np.stack([np.sin(angles), -np.cos(angles)], axis=1)
        cv2.fillPoly(mask, [np.round(points).astype(np.int32)], (255,))
    return mask > 0


def _draw_figure(mask: NDArray[np.uint8]) -> None:
    unit = mask.shape[0] / 20
    cv2.circle(mask, (int(10 * unit), int(4 * unit)), int(3 * unit), 255, -1)
    cv2.ellipse(mask, (int(10 * unit), int(11 * unit)), (int(5 * unit), int(5.5 * unit)), 0, 0, 360, 255, -1)
    for x in (8, 12):
        cv2.line(mask, (int(x * unit), int(14 * unit)), (int(x * unit), int(18 * unit)), 255, max(1, int(2.5 * unit)))


def _texture(rng: np.random.Generator, size_px: int, texture: Texture) -> NDArray[np.float32]:
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32) / size_px
    pattern = np.zeros((size_px, size_px), dtype=np.float32)
    if texture == "stripes":
        angle = rng.uniform(0, np.pi)
        pattern = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi * 5)
    elif texture == "checks":
        pattern = np.sign(np.sin(x * 2 * np.pi * 3) * np.sin(y * 2 * np.pi * 3))
    elif texture == "speckle":
        coarse = rng.normal(size=(12, 12)).astype(np.float32)
        pattern = np.clip(cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC), -1.5, 1.5)
    grain = cv2.resize(rng.normal(size=(size_px // 2 + 1,) * 2).astype(np.float32), (size_px, size_px))
    shading = 0.15 * (0.5 - y)
    return np.float32(1.0) + 0.2 * pattern + 0.05 * grain + shading
