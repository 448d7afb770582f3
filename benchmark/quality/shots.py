"""How many hard cuts a shot detector finds, and how many it makes up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from benchmark.footage import Footage
from vpdata.models.ports import ShotDetector

TOLERANCE_FRAMES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CutCounts:
    """Hard cuts of one or more films; sums, so that films add up before a rate is taken."""

    num_right: int = 0
    num_wrong: int = 0
    num_missed: int = 0

    def __add__(self, other: CutCounts) -> CutCounts:
        return CutCounts(
            num_right=self.num_right + other.num_right,
            num_wrong=self.num_wrong + other.num_wrong,
            num_missed=self.num_missed + other.num_missed,
        )

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall in [0, 1]; 1.0 where there is nothing to find and nothing found."""
        total = 2 * self.num_right + self.num_wrong + self.num_missed
        return 2 * self.num_right / total if total else 1.0


def detected_cuts(footage: Footage, detector: ShotDetector, *, fps: Fraction) -> list[int]:
    """Frames on which the detector lets a shot begin, without the first."""
    height, width = footage.frames.shape[1:3]
    size = detector.frame_size(width, height)
    small = (np.asarray(cv2.resize(frame, size))[..., ::-1] for frame in footage.frames)
    starts = detector.shot_starts((np.ascontiguousarray(frame) for frame in small), fps)
    return [frame for frame, is_start in enumerate(starts) if is_start and frame]


def count_cuts(found: Sequence[int], *, cuts: Sequence[int], gradual: Sequence[tuple[int, int]]) -> CutCounts:
    """Match each cut to one detection at most a frame away.

    A detection inside a fade or a dissolve counts neither way: a new shot does begin there, if not at once.
    """
    left = sorted(found)
    num_right = 0
    for cut in cuts:
        near = [frame for frame in left if abs(frame - cut) <= TOLERANCE_FRAMES]
        if near:
            left.remove(min(near, key=lambda frame: abs(frame - cut)))
            num_right += 1
    wrong = [frame for frame in left if not any(start <= frame <= stop for start, stop in gradual)]
    return CutCounts(num_right=num_right, num_wrong=len(wrong), num_missed=len(cuts) - num_right)
