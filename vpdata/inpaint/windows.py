"""How a video of any length is cut into overlapping windows of the backbone's length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vpdata.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Frames [start, stop) of the video, and how they meet the window before."""

    index: int
    start: int
    stop: int
    num_shared: int
    """Leading frames that the window before has made too; 0 for the first window."""
    num_known: int
    """Those of them that this window is given as known; they fill whole latent frames."""

    def __len__(self) -> int:
        """Number of frames."""
        return self.stop - self.start

    def ramp(self) -> NDArray[np.float32]:
        """Weight of this window, `[num_shared]`, rising evenly between 0 and 1, where two windows overlap."""
        return np.arange(1, self.num_shared + 1, dtype=np.float32) / np.float32(self.num_shared + 1)


def plan_windows(num_frames: int, *, window_frames: int, overlap_frames: int, stride_t: int) -> list[Window]:
    """Windows over a whole video; the last is moved back to end with it, so none is cut short and no frame is lost.

    A video that is shorter than a window is one window of its own length. ConfigError unless the overlap is
    `stride_t * k + 1` frames, whole latent frames of a causal VAE, and leaves the window something new to make.
    """
    if overlap_frames < 1 or (overlap_frames - 1) % stride_t or overlap_frames >= window_frames:
        raise ConfigError(
            f"got an overlap of {overlap_frames} frames for windows of {window_frames}, wanted {stride_t}k + 1, and "
            "less than a window"
        )
    if num_frames < 1:
        raise ConfigError("got a video without frames")
    step = window_frames - overlap_frames
    last_start = max(num_frames - window_frames, 0)
    starts = [*range(0, last_start, step), last_start]
    windows = []
    for index, start in enumerate(starts):
        num_shared = 0 if index == 0 else starts[index - 1] + window_frames - start
        num_known = (num_shared - 1) // stride_t * stride_t + 1 if num_shared else 0
        stop = min(start + window_frames, num_frames)
        windows.append(Window(index=index, start=start, stop=stop, num_shared=num_shared, num_known=num_known))
    return windows
