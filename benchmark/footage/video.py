"""Frames to and from video files, for footage of our own making."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def write_video(path: Path, frames: NDArray[np.uint8], *, fps: Fraction | int = 25, codec: str = "libx264") -> Path:
    """Encode uint8 [T, H, W, 3] RGB nearly without loss; the container follows the file's suffix."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "12", "preset": "ultrafast"} if codec == "libx264" else {}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def read_video(path: Path, *, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
    """Frames start to stop (default: all) as uint8 [T, H, W, 3] RGB."""
    with av.open(str(path)) as container:
        frames = islice(container.decode(video=0), start, stop)
        return np.stack([np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8) for frame in frames])
