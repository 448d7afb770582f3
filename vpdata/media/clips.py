"""The normalised clip: written once by `cut`, read by everybody else."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import cv2
import decord
import numpy as np
from numpy.typing import NDArray


class ClipReader:
    """Random access to the frames of one of our own clips."""

    def __init__(self, data: bytes) -> None:
        self._reader = decord.VideoReader(io.BytesIO(data), ctx=decord.cpu(0), num_threads=1)
        self.num_frames = len(self._reader)
        self.height_px, self.width_px = self._reader[0].shape[:2]
        self.fps = Fraction(self._reader.get_avg_fps()).limit_denominator(1001)

    def read(self, frames: Sequence[int] | None = None, *, max_short_side_px: int | None = None) -> NDArray[np.uint8]:
        """uint8 [T, H, W, 3] RGB of the frames asked for (default: all), scaled down to the short side if it is longer."""
        indices = range(self.num_frames) if frames is None else frames
        width, height = scaled_size(self.width_px, self.height_px, max_short_side_px)
        out = np.empty((len(indices), height, width, 3), dtype=np.uint8)
        for row, index in enumerate(indices):
            frame = self._reader[index].asnumpy()
            out[row] = (
                frame if frame.shape[1] == width else cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
            )
        return out


class ClipWriter:
    """Encodes frames into a clip held in memory."""

    def __init__(
        self, *, width_px: int, height_px: int, fps: Fraction, crf: int = 18, preset: str = "veryfast"
    ) -> None:
        self._buffer = io.BytesIO()
        self._container = av.open(
            self._buffer, "w", format="mp4", options={"movflags": "+faststart+bitexact", "fflags": "+bitexact"}
        )
        stream = self._container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
        stream.gop_size = max(1, int(fps / 2))
        stream.options = {
            "crf": str(crf),
            "preset": preset,
            "x264-params": "threads=1:lookahead-threads=1:cpu-independent=1",
        }
        self._stream = stream

    def write(self, image: NDArray[np.uint8]) -> None:
        """Append one frame, uint8 [H, W, 3] RGB."""
        for packet in self._stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
            self._container.mux(packet)

    def finish(self) -> bytes:
        """The mp4."""
        for packet in self._stream.encode():
            self._container.mux(packet)
        self._container.close()
        return self._buffer.getvalue()


def scaled_size(width_px: int, height_px: int, max_short_side_px: int | None) -> tuple[int, int]:
    """(width, height) with the short side at most as given and the aspect kept; never enlarged."""
    short = min(width_px, height_px)
    if max_short_side_px is None or short <= max_short_side_px:
        return width_px, height_px
    scale = max_short_side_px / short
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))
