"""How well a mask tracker holds known objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.footage import Footage
from benchmark.quality.davis import j_and_f
from vpdata.media.masks import decode_masks
from vpdata.models.ports import BoxPrompt, MaskTracker


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskScore:
    """One object of one shot."""

    j: float
    f: float
    is_switched: bool
    """Whether on any frame its mask covers more of another object than of its own."""

    @property
    def j_and_f(self) -> float:
        """Mean of J and F."""
        return (self.j + self.f) / 2


def score_tracker(footage: Footage, tracker: MaskTracker) -> list[MaskScore]:
    """One score per object, each prompted with its true box on the frame that shows most of it."""
    height_px, width_px = footage.frames.shape[1:3]
    prompts = []
    for number, masks in enumerate(footage.masks):
        frame = int(masks.sum(axis=(1, 2)).argmax())
        box = footage.boxes(frame)[number]
        assert box is not None
        x0, y0, x1, y1 = box
        prompts.append(BoxPrompt(frame=frame, box=(x0, y0, x1, y1), label=footage.labels[number]))
    found = tracker.track(footage.frames, prompts, height_px=height_px, width_px=width_px, seed=0)
    masks = [decode_masks(item.counts, height_px=height_px, width_px=width_px) for item in found]
    return score_masks(footage.masks, np.stack(masks))


def score_masks(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> list[MaskScore]:
    """One score per object of bool [K, T, H, W]; object k of `found` is held against object k of `truth`."""
    scores = []
    for number, masks in enumerate(found):
        j, f = j_and_f(truth[number], masks)
        own, *others = (
            np.count_nonzero(masks & item, axis=(1, 2)) for item in (truth[number], *np.delete(truth, number, axis=0))
        )
        is_switched = any(bool((other > own).any()) for other in others)
        scores.append(MaskScore(j=j, f=f, is_switched=is_switched))
    return scores
