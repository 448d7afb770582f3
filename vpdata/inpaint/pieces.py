"""A video in pieces that fit into memory, each with frames of the one before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vpdata.inpaint.any_length import Frames
from vpdata.inpaint.fit import Size, scale_frames
from vpdata.media.clips import scaled_size

_MAX_SHORT_SIDE_PX = 720
"""Frames are held at this size at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Frames of the video that are searched together."""

    frames: Frames
    """At the size that they are searched at."""
    size: Size
    """Of the video."""
    start: int
    """The number of its first frame in the video."""
    first: int
    """The first frame that is masked here; those before it are held again for what was last seen on them."""
    is_last: bool

    @property
    def stop(self) -> int:
        """The number of the frame behind its last."""
        return self.start + len(self.frames)


class Film:
    """A video in pieces that hold frames of the one before; no frame is held longer than it is needed."""

    def __init__(self, frames: Iterable[Frames], num_frames: int) -> None:
        """`num_frames` of a piece, at most."""
        self._coming = iter(frames)
        self._next = next(self._coming, None)
        self._num_frames = num_frames
        self._start = 0
        self._held: list[Frames] = []
        self._size = Size(height_px=0, width_px=0)

    def piece(self, start: int, *, first: int) -> Piece:
        """The frames from `start` on, which the piece before must have held if any had."""
        del self._held[: start - self._start]
        self._start = start
        while self._next is not None and len(self._held) < self._num_frames:
            self._size = Size(height_px=self._next.shape[0], width_px=self._next.shape[1])
            width, height = scaled_size(self._size.width_px, self._size.height_px, _MAX_SHORT_SIDE_PX)
            self._held.append(scale_frames(self._next[None], Size(height_px=height, width_px=width))[0])
            self._next = next(self._coming, None)
        is_last = self._next is None
        return Piece(frames=np.stack(self._held), size=self._size, start=start, first=first, is_last=is_last)
