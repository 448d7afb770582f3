"""Backgrounds to put objects on, and the cameras that look at them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def clutter(rng: np.random.Generator, *, height_px: int, width_px: int) -> NDArray[np.uint8]:
    """A muted scene of patches, edges and grain at every scale: uint8 [H, W, 3] RGB."""
    image = np.zeros((height_px, width_px, 3), dtype=np.float32)
    base = rng.uniform(80, 170) + rng.normal(scale=15, size=3)
    for cells, strength in ((3, 40), (9, 25), (30, 14), (90, 8)):
        coarse = rng.normal(size=(cells, max(1, cells * width_px // height_px), 3)).astype(np.float32)
        coarse = 0.7 * coarse.mean(axis=2, keepdims=True) + 0.3 * coarse
        image += strength * cv2.resize(coarse, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
    image += base.astype(np.float32)
    for _ in range(30):
        centre = rng.uniform((0, 0), (width_px, height_px))
        corners = centre + rng.normal(scale=0.12 * height_px, size=(int(rng.integers(3, 6)), 2))
        tone = rng.uniform(40, 210) + rng.normal(scale=12, size=3)
        layer = image.copy()
        cv2.fillPoly(layer, [cv2.convexHull(corners.astype(np.int32))], tone.tolist())
        image = 0.35 * image + 0.65 * layer
    return np.clip(image, 0, 255).astype(np.uint8)


def pan(rng: np.random.Generator, *, num_frames: int, room_px: tuple[float, float]) -> NDArray[np.float32]:
    """Top-left corners float32 [T, 2] (x, y) of a camera that crosses at least 70 % of its room, with a shaky hand."""
    room = np.asarray(room_px, dtype=np.float32)
    start = rng.uniform(0, 0.1, size=2) * room
    stop = rng.uniform(0.8, 0.9, size=2) * room
    if rng.random() < 0.5:
        start[0], stop[0] = stop[0], start[0]
    time = np.linspace(0, 1, num_frames, dtype=np.float32)[:, None]
    shake = 0.6 * np.sin(time * num_frames * np.array([0.9, 1.3], dtype=np.float32) + rng.uniform(0, 6, size=2))
    return np.clip(start + (stop - start) * time + shake, 0, room).astype(np.float32)


def look(world: NDArray[np.uint8], corners: NDArray[np.float32], *, height_px: int, width_px: int) -> NDArray[np.uint8]:
    """What a camera at `corners` sees of a larger picture, to a fraction of a pixel: uint8 [T, H, W, 3] RGB."""
    frames = np.empty((len(corners), height_px, width_px, 3), dtype=np.uint8)
    for frame, (x, y) in enumerate(corners):
        shift = np.array([[1, 0, -x], [0, 1, -y]], dtype=np.float32)
        frames[frame] = cv2.warpAffine(world, shift, (width_px, height_px), borderMode=cv2.BORDER_REPLICATE)
    return frames
