"""What is measured on one mask track."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vpdata.media.masks import Mask, bounding_box, decode_mask
from vpdata.records import Track


def measured_track(
    masks: Sequence[str | None], *, id: int, label: str, score: float, height_px: int, width_px: int
) -> Track:
    """A `Track` with every measure filled from its masks, one COCO RLE or None per frame.

    A change of area is told as a share of the object's mean area: told as a share of the frame before, the true masks
    of an object that comes into sight change by 1.5 to 120 from one sliver to the next.
    Where no two neighbouring frames hold the object, nothing shows that it is stable: `stability` is 0.0 and
    `max_area_change_frac` too.
    """
    areas: list[int] = []
    changes: list[int] = []
    overlaps: list[float] = []
    num_at_border = 0
    previous: Mask | None = None
    for counts in masks:
        crop, at_border = _crop(decode_mask(counts, height_px=height_px, width_px=width_px))
        areas.append(0 if crop is None else int(np.count_nonzero(crop)))
        num_at_border += at_border
        if crop is not None and previous is not None:
            changes.append(abs(areas[-1] - areas[-2]))
            overlaps.append(_aligned_iou(previous, crop))
        previous = crop
    area_frac = [area / (height_px * width_px) for area in areas]
    num_present = sum(area > 0 for area in areas)
    return Track(
        id=id,
        label=label,
        score=score,
        masks=tuple(masks),
        area_frac=tuple(area_frac),
        mean_area_frac=sum(area_frac) / num_present if num_present else 0.0,
        max_area_change_frac=max(changes, default=0) * num_present / sum(areas) if num_present else 0.0,
        coverage_frac=num_present / len(masks) if masks else 0.0,
        stability=sum(overlaps) / len(overlaps) if overlaps else 0.0,
        border_frac=num_at_border / num_present if num_present else 0.0,
    )


def _crop(mask: Mask) -> tuple[Mask | None, bool]:
    """The mask cut to its bounding box, and whether that touches the frame's edge."""
    box = bounding_box(mask)
    if box is None:
        return None, False
    x0, y0, x1, y1 = box
    return mask[y0:y1, x0:x1], x0 == 0 or y0 == 0 or x1 == mask.shape[1] or y1 == mask.shape[0]


def _aligned_iou(a: Mask, b: Mask) -> float:
    """IoU of two cropped masks after their centroids are put on each other, to the pixel."""
    shift_y, shift_x = np.rint(np.subtract(_centroid(a), _centroid(b))).astype(int)
    y0, x0 = max(0, shift_y), max(0, shift_x)
    y1, x1 = min(a.shape[0], b.shape[0] + shift_y), min(a.shape[1], b.shape[1] + shift_x)
    if y0 >= y1 or x0 >= x1:
        return 0.0
    shared = np.count_nonzero(a[y0:y1, x0:x1] & b[y0 - shift_y : y1 - shift_y, x0 - shift_x : x1 - shift_x])
    return int(shared) / (int(np.count_nonzero(a)) + int(np.count_nonzero(b)) - int(shared))


def _centroid(mask: Mask) -> tuple[float, float]:
    rows, columns = mask.sum(axis=1), mask.sum(axis=0)
    area = rows.sum()
    return float(rows @ np.arange(rows.size) / area), float(columns @ np.arange(columns.size) / area)
