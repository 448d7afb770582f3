"""Inpainting frame by frame in and out: the memory of two windows, whatever the length of the video.

Each window is given, as known frames, what the window before has made of its beginning; where the two overlap, their
frames are blended by a ramp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.errors import ConfigError
from vpdata.inpaint.windows import Window

Frames = NDArray[np.uint8]
"""[frames, height, width, 3] RGB."""
Masks = NDArray[np.bool_]
"""[frames, height, width], True = hole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeWindow:
    """A window that is finished, for the next to take objects' identities from."""

    window: Window
    frames: Frames
    mask: Masks
    """The hole as the user gave it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a model is asked to make of one window."""

    window: Window
    frames: Frames
    """What is known: the video's own frames, with the holes of known frames filled as they were before."""
    mask: Masks
    """What to make; empty in known frames."""
    previous: MadeWindow | None = None


class WindowModel(Protocol):
    """Fills the hole of one window. A pure function of the request: asked again, it answers the same."""

    def inpaint(self, request: Request) -> Frames:
        """All frames of the window as the model sees them, known pixels included; same shape as `request.frames`."""
        ...


def inpaint_any_length(
    model: WindowModel,
    frames: Iterator[Frames],
    masks: Iterator[Masks],
    windows: Sequence[Window],
    *,
    previous: MadeWindow | None = None,
) -> Iterator[MadeWindow]:
    """Each window in turn, made, and blended with the one before where they overlap.

    `frames` and `masks` give one frame at a time, `[height, width, 3]` and `[height, width]`. A window whose hole is
    empty is not given to the model. ConfigError if the frames or masks end before the windows do.
    To go on after a window, give it as `previous`, the windows after it, and streams that begin where those do.
    """
    own_frames, own_masks = _Tail(frames, "video"), _Tail(masks, "mask")
    for window in windows:
        video, mask = own_frames.advance(window), own_masks.advance(window)
        previous = make_window(model, window, video, mask, previous)
        yield previous


def make_window(
    model: WindowModel, window: Window, video: Frames, mask: Masks, previous: MadeWindow | None
) -> MadeWindow:
    """One window, from its frames and masks as the user gave them and from the window before."""
    given, to_make = video, mask
    made_before = None
    if previous is not None and window.num_shared:
        made_before = previous.frames[len(previous.frames) - window.num_shared :]
        given, to_make = video.copy(), mask.copy()
        known = slice(0, window.num_known)
        given[known] = np.where(mask[known, ..., None], made_before[known], video[known])
        to_make[known] = False
    if to_make.any():
        made = model.inpaint(Request(window=window, frames=given, mask=to_make, previous=previous))
        if made.shape != video.shape or made.dtype != np.uint8:
            raise ConfigError(
                f"the model gave {made.dtype} {made.shape} for window {window.index}, wanted uint8 {video.shape}"
            )
    else:
        made = given
    if made_before is not None:
        made = np.concatenate(
            [_blend(made_before, made[: window.num_shared], window.ramp()), made[window.num_shared :]]
        )
    return MadeWindow(window=window, frames=made, mask=mask)


def _blend(before: Frames, after: Frames, ramp: NDArray[np.float32]) -> Frames:
    return np.stack(
        [
            cv2.addWeighted(old, 1 - float(weight), new, float(weight), 0)
            for old, new, weight in zip(before, after, ramp, strict=True)
        ]
    )


class _Tail:
    """The frames of the current window of a stream, of which the end is kept for the next."""

    def __init__(self, stream: Iterator[NDArray], name: str) -> None:
        self._stream = stream
        self._name = name
        self._held: list[NDArray] = []
        self._start = 0

    def advance(self, window: Window) -> NDArray:
        """The frames of a window that starts no earlier than the last one did."""
        del self._held[: window.start - self._start]
        self._start = window.start
        self._held += islice(self._stream, len(window) - len(self._held))
        if len(self._held) < len(window):
            raise ConfigError(
                f"the {self._name} ends at frame {self._start + len(self._held)}, wanted {window.stop} frames"
            )
        return np.stack(self._held)
