"""Masks as compressed COCO run lengths, and the geometry measured on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

Mask = NDArray[np.bool_]
"""bool [H, W]."""


def encode_mask(mask: Mask) -> str | None:
    """Compressed RLE counts of a mask, or None for an empty one."""
    if not mask.any():
        return None
    counts = coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    return counts.decode("ascii") if isinstance(counts, bytes) else counts


def decode_mask(counts: str | None, *, height_px: int, width_px: int) -> Mask:
    """Inverse of `encode_mask`; None gives an empty mask. ValueError where the run lengths do not fill the frame."""
    if counts is None:
        return np.zeros((height_px, width_px), dtype=np.bool_)
    _check_fills(counts, height_px=height_px, width_px=width_px)
    return coco.decode({"size": [height_px, width_px], "counts": counts}).astype(np.bool_)


def mask_area_px(counts: str | None, *, height_px: int, width_px: int) -> int:
    """Pixels of a mask, from its run lengths alone. ValueError as of `decode_mask`."""
    if counts is None:
        return 0
    _check_fills(counts, height_px=height_px, width_px=width_px)
    return int(coco.area({"size": [height_px, width_px], "counts": counts}))


def _check_fills(counts: str, *, height_px: int, width_px: int) -> None:
    if (num := num_pixels(counts)) != height_px * width_px:
        raise ValueError(f"got run lengths for {num} pixels, wanted {width_px}x{height_px}")


def decode_masks(counts: Sequence[str | None], *, height_px: int, width_px: int) -> NDArray[np.bool_]:
    """bool [T, H, W] of one mask per frame."""
    masks = np.zeros((len(counts), height_px, width_px), dtype=np.bool_)
    for frame, one in enumerate(counts):
        if one is not None:
            masks[frame] = decode_mask(one, height_px=height_px, width_px=width_px)
    return masks


def num_pixels(counts: str) -> int:
    """Sum of the run lengths of compressed counts: height x width of the mask. ValueError for malformed text.

    Checked before decoding, since pycocotools reads past its buffer where the counts do not fit the size. The coding is
    COCO's (`rleToString`): 6-bit characters from '0', 5 bits of value and one of continuation, deltas from run i - 2.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 50:
            raise ValueError(f"got {character!r} in run lengths, wanted characters from '0' to 'o'")
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            value -= (code & 0x10) and 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            if runs[-1] < 0:
                raise ValueError("got a negative run length")
            value = shift = 0
    if shift:
        raise ValueError("got run lengths that end in the middle of a number")
    return sum(runs)


def bounding_box(mask: Mask) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 in pixels, half-open; None for an empty mask."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not columns.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two half-open boxes in [0, 1]; 0.0 where both are empty."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    intersection = max(width, 0.0) * max(height, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - intersection
    return intersection / union if union > 0 else 0.0


def mask_iou(a: Mask, b: Mask) -> float:
    """Intersection over union in [0, 1]; 1.0 where both are empty."""
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0
