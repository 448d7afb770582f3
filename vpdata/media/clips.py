"""The normalised clip: written once by `cut`, read by everybody else."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import cv2
import decord
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

_KEY_FRAME_EVERY_S = Fraction(1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSettings:
    """How clips are encoded."""

    short_side_px: int = 720
    """Longest short side of a clip; larger sources are scaled down, smaller ones are never enlarged."""
    crf: int = 18
    """x264's constant rate factor, 0 (lossless) to 51; 18 is hard to tell from the source."""
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"] = "veryfast"
    """x264's trade of time for size."""

    def __post_init__(self) -> None:
        if self.short_side_px < 16 or self.short_side_px % 2:
            raise ValueError(f"got short_side_px {self.short_side_px}, wanted an even number from 16 on")
        if not 0 <= self.crf <= 51:
            raise ValueError(f"got crf {self.crf}, wanted 0 to 51")


class ClipReader:
    """Random access to the frames of one of our own clips."""

    def __init__(self, data: bytes) -> None:
        self._reader = decord.VideoReader(io.BytesIO(data), ctx=decord.cpu(0), num_threads=1)
        self.num_frames = len(self._reader)
        self.height_px, self.width_px = self._reader[0].shape[:2]
        self.fps = Fraction(self._reader.get_avg_fps()).limit_denominator(1001)

    def read(self, frames: Sequence[int] | None = None, *, max_short_side_px: int | None = None) -> NDArray[np.uint8]:
        """uint8 [T, H, W, 3] RGB of the frames asked for (default: all), scaled down to `max_short_side_px`."""
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
    """Encodes frames into a clip held in memory; equal frames give equal bytes, on any CPU and at any load."""

    def __init__(self, *, width_px: int, height_px: int, fps: Fraction, settings: ClipSettings | None = None) -> None:
        if width_px < 2 or height_px < 2 or width_px % 2 or height_px % 2:
            raise ValueError(f"got a clip of {width_px}x{height_px} px, wanted even sizes")
        settings = settings or ClipSettings()
        self.num_frames = 0
        self._buffer = io.BytesIO()
        self._container = av.open(
            self._buffer,
            "w",
            format="mp4",
            # To move the index to the front, the muxer reads back what it has written.
            io_open=lambda _url, _flags, _options: io.BytesIO(self._buffer.getvalue()),
            options={"movflags": "+faststart", "fflags": "+bitexact"},
        )
        self._stream = stream = self._container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
        context = stream.codec_context
        context.gop_size = max(1, int(fps * _KEY_FRAME_EVERY_S))
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        # x264's output depends on its number of threads and, unless told otherwise, on the CPU.
        stream.options = {
            "crf": str(settings.crf),
            "preset": settings.preset,
            "a53cc": "0",
            "x264-params": "threads=1:lookahead-threads=1:cpu-independent=1",
        }

    def write(self, image: NDArray[np.uint8] | av.VideoFrame) -> None:
        """Append one frame: uint8 [H, W, 3] RGB, or a BT.709 limited yuv420p frame of the clip's size."""
        if isinstance(image, np.ndarray):
            image = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
        image.pts, image.time_base = self.num_frames, 1 / self._stream.codec_context.framerate
        image.pict_type = PictureType.NONE  # else x264 repeats the source's choice of key frames
        self._container.mux(self._stream.encode(image))
        self.num_frames += 1

    def finish(self) -> bytes:
        """The mp4."""
        self._container.mux(self._stream.encode())
        self._container.close()
        return self._buffer.getvalue()


def scaled_size(width_px: int, height_px: int, max_short_side_px: int | None) -> tuple[int, int]:
    """(width, height) with the short side at most as given and the aspect kept; never enlarged."""
    short = min(width_px, height_px)
    if max_short_side_px is None or short <= max_short_side_px:
        return width_px, height_px
    scale = max_short_side_px / short
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))
