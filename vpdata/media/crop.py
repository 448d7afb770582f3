"""Fitting a window to the size that a bucket wants: scaled without distortion, cropped where the objects are."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A part of every frame of a window, in pixels of the window, half-open."""

    x0: int
    y0: int
    x1: int
    y1: int


def fit(
    frames: NDArray[np.uint8], masks: BoolArray, *, height_px: int, width_px: int
) -> tuple[NDArray[np.uint8], BoolArray]:
    """The largest part of the wanted shape that keeps most of the objects, scaled to the wanted size.

    frames: uint8 `[F, H, W, 3]`; masks: bool `[K, F, H, W]`, one per object. One crop serves all frames and all masks,
    so that no motion is added. A window smaller than wanted is enlarged.
    """
    if masks.shape[1:] != frames.shape[:3]:
        raise ValueError(f"got masks of {masks.shape[1:]} for frames of {frames.shape[:3]}, wanted equal sizes")
    crop = crop_around(masks, height_px=height_px, width_px=width_px)
    size = (width_px, height_px)
    fitted = np.stack([_scaled(image, size) for image in frames[:, crop.y0 : crop.y1, crop.x0 : crop.x1]])
    cropped = masks[:, :, crop.y0 : crop.y1, crop.x0 : crop.x1]
    fitted_masks = np.zeros((*masks.shape[:2], height_px, width_px), dtype=np.bool_)
    for index in np.argwhere(cropped.any(axis=(2, 3))):
        mask = cropped[tuple(index)]
        fitted_masks[tuple(index)] = _scaled(mask.astype(np.uint8) * 255, size) > 127
    return fitted, fitted_masks


def crop_around(masks: BoolArray, *, height_px: int, width_px: int) -> Crop:
    """The largest crop of the shape height x width that holds most of the objects of bool `[K, F, H, W]`.

    Every object counts the same, whatever its area and however long it is seen. Among crops that hold as much, the one
    whose centre is nearest to that of the objects; without any object the middle of the frame.
    """
    rows, columns = masks.shape[2:]
    scale = max(height_px / rows, width_px / columns)
    crop_rows, crop_columns = min(round(height_px / scale), rows), min(round(width_px / scale), columns)
    seen = masks.sum(axis=1, dtype=np.float64)
    areas = seen.sum(axis=(1, 2), keepdims=True)
    mass = np.divide(seen, areas, out=np.zeros_like(seen), where=areas > 0).sum(axis=0)
    y0, x0 = _start(mass.sum(axis=1), crop_rows), _start(mass.sum(axis=0), crop_columns)
    return Crop(x0=x0, y0=y0, x1=x0 + crop_columns, y1=y0 + crop_rows)


def _start(mass: NDArray[np.float64], length: int) -> int:
    """Where a span of `length` holds most of the mass."""
    total = np.concatenate([[0.0], np.cumsum(mass)])
    held = total[length:] - total[:-length]
    centre = float(mass @ (np.arange(len(mass)) + 0.5) / total[-1]) if total[-1] > 0 else len(mass) / 2
    starts = np.flatnonzero(held >= held.max() - 1e-9)
    return int(starts[np.argmin(np.abs(starts + length / 2 - centre))])


def _scaled(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    shrinks = size[0] < image.shape[1]
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(scaled, dtype=np.uint8)
