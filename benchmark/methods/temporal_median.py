"""The median of what is seen at a pixel while it is not masked: right where camera and background stand still."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.methods.opencv import continue_inwards
from benchmark.methods.port import Kind, Prompts
from benchmark.results import Frames
from vpdata.inpaint.any_length import Masks

_PIXELS_AT_ONCE = 2**16
"""900 frames of so many are 0.7 GB as float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporalMedianSettings:
    """None."""


class TemporalMedian:
    """A `Method`. Where a pixel is never seen, its frame is continued inwards (Telea)."""

    def inpaint(self, frames: Frames, masks: Masks, prompts: Prompts) -> Frames:
        filled = frames.copy()
        never_seen = masks.all(axis=0)
        rows, columns = np.nonzero(masks.any(axis=0) & ~never_seen)
        for start in range(0, len(rows), _PIXELS_AT_ONCE):
            some = slice(start, start + _PIXELS_AT_ONCE)
            row, column = rows[some], columns[some]
            values, hidden = frames[:, row, column], masks[:, row, column]
            seen = np.where(hidden[..., None], np.float32(np.nan), values)
            median = np.rint(np.nanmedian(seen, axis=0)).astype(np.uint8)
            filled[:, row, column] = np.where(hidden[..., None], median, values)
        return continue_inwards(filled, masks & never_seen)


KIND = Kind(settings=TemporalMedianSettings, load=lambda settings: TemporalMedian())
