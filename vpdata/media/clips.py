"""The normalised clip: written once by `cut`, read by everybody else."""

from __future__ import annotations

import hashlib
import io
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.frame import PictureType
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
from numpy.typing import NDArray

from vpdata.errors import RunError

try:
    import decord
except ImportError:
    decord = None

_KEY_FRAME_EVERY_S = Fraction(1, 2)
_DECODE_ERRORS = (RuntimeError, FFmpegError, *((decord.DECORDError,) if decord else ()))


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
    """Random access to the frames of one of our own clips, by decord or, where it has no wheel, by PyAV.

    Both give the same pixels, BT.709 to full-range RGB. A window of frames costs decoding from the key frame before it,
    at most half a second. RunError where the bytes are no whole clip or a frame cannot be decoded. Damage inside the
    pictures is found by `sha256` (the clip's, from its record) alone: H.264 conceals it, and decord may crash on it.
    """

    def __init__(
        self, data: bytes, *, sha256: str | None = None, decoder: Literal["decord", "pyav"] | None = None
    ) -> None:
        self._num_bytes = len(data)
        if not _is_whole(data) or (sha256 and hashlib.sha256(data).hexdigest() != sha256):
            raise RunError(self._damaged("is not what was written"))
        with self._named_errors("cannot be opened"):
            self._decoder: _Decoder
            if decoder == "pyav" or (decoder is None and decord is None):
                self._decoder = _PyAV(data)
            else:
                self._decoder = _Decord(data)
        self.num_frames: int = self._decoder.num_frames
        self.fps: Fraction = self._decoder.fps
        self._size: tuple[int, int] | None = None

    @property
    def width_px(self) -> int:
        """Costs one frame if none has been read."""
        return (self._size or self._frame(0).shape[1::-1])[0]

    @property
    def height_px(self) -> int:
        """Costs one frame if none has been read."""
        return (self._size or self._frame(0).shape[1::-1])[1]

    def read(self, frames: Sequence[int] | None = None, *, max_short_side_px: int | None = None) -> NDArray[np.uint8]:
        """uint8 [T, H, W, 3] RGB of the frames asked for (default: all), scaled down to `max_short_side_px`.

        In the order asked for, repeats included; decoded in the order of time.
        """
        wanted = np.arange(self.num_frames) if frames is None else np.asarray(frames, dtype=np.int64)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < self.num_frames:
            raise IndexError(f"got frames {wanted.min()} to {wanted.max()}, wanted 0 to {self.num_frames - 1}")
        out: NDArray[np.uint8] | None = None
        for index in np.unique(wanted):
            image = self._frame(int(index))
            height, width = image.shape[:2]
            size = scaled_size(width, height, max_short_side_px)
            if size != (width, height):
                image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            if out is None:
                out = np.empty((wanted.size, *image.shape), dtype=np.uint8)
            out[wanted == index] = image
        if out is None:
            width, height = scaled_size(self.width_px, self.height_px, max_short_side_px)
            return np.empty((0, height, width, 3), dtype=np.uint8)
        return out

    def _frame(self, index: int) -> NDArray[np.uint8]:
        with self._named_errors(f"cannot be decoded at frame {index} of {self.num_frames}"):
            image = self._decoder.frame(index)
        self._size = image.shape[1], image.shape[0]
        return image

    @contextmanager
    def _named_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except _DECODE_ERRORS as error:
            raise RunError(self._damaged(what)) from error

    def _damaged(self, what: str) -> str:
        return f"a clip of {self._num_bytes} bytes {what}: it is damaged; `vpdata check` names its part"


class _Decoder(Protocol):
    num_frames: int
    fps: Fraction

    def frame(self, index: int) -> NDArray[np.uint8]: ...


class _Decord:
    def __init__(self, data: bytes) -> None:
        assert decord is not None, "chosen only where it is installed"
        self._reader = decord.VideoReader(io.BytesIO(data), ctx=decord.cpu(0), num_threads=1)
        self.num_frames = len(self._reader)
        self.fps = Fraction(self._reader.get_avg_fps()).limit_denominator(1001)

    def frame(self, index: int) -> NDArray[np.uint8]:
        # One by one: its batches cost a third more. It seeks only back, or past the next key frame.
        return self._reader[index].asnumpy()


class _PyAV:
    def __init__(self, data: bytes) -> None:
        self._container = av.open(io.BytesIO(data), "r", format="mp4", options={"enable_drefs": "0"})
        # Its parts refer to each other: unless closed, the decoder's frames would wait for the garbage collector.
        weakref.finalize(self, self._container.close)
        if not self._container.streams.video:
            raise RuntimeError("there is no video stream")
        self._stream = self._container.streams.video[0]
        self._stream.codec_context.thread_count = 1
        self.num_frames = self._stream.frames
        self.fps = self._stream.average_rate or Fraction(0)
        self._max_skip = int(self.fps * _KEY_FRAME_EVERY_S)
        self._coming = self._container.decode(self._stream)
        self._next = 0

    def frame(self, index: int) -> NDArray[np.uint8]:
        time_base = self._stream.time_base or Fraction(1)
        if not self._next <= index <= self._next + self._max_skip:
            self._container.seek(round(index / self.fps / time_base), stream=self._stream)
            self._coming = self._container.decode(self._stream)
        for frame in self._coming:
            self._next = round((frame.pts or 0) * time_base * self.fps) + 1
            if self._next > index:
                return np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
        raise RuntimeError("the frame is missing")


class ClipWriter:
    """Encodes frames into a clip held in memory; equal frames give equal bytes, on any CPU and at any load."""

    def __init__(self, *, width_px: int, height_px: int, fps: Fraction, settings: ClipSettings | None = None) -> None:
        if width_px < 2 or height_px < 2 or width_px % 2 or height_px % 2:
            raise ValueError(f"got a clip of {width_px}x{height_px} px, wanted even sizes")
        settings = settings or ClipSettings()
        self.num_frames = 0
        self._buffer = buffer = io.BytesIO()
        self._container = av.open(
            buffer,
            "w",
            format="mp4",
            # To move the index to the front, the muxer reads back what it has written.
            io_open=lambda _url, _flags, _options: io.BytesIO(buffer.getvalue()),
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
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT,
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

    def discard(self) -> None:
        """Give up the clip and free the encoder now; its parts refer to each other and would wait for the collector."""
        self._container.close()


def _is_whole(data: bytes) -> bool:
    """Whether the top-level boxes of an mp4 with its index first fill the bytes exactly."""
    position, kinds = 0, []
    while position + 8 <= len(data):
        kinds.append(data[position + 4 : position + 8])
        position += max(8, int.from_bytes(data[position : position + 4], "big"))
    return position == len(data) and b"moov" in kinds and b"mdat" in kinds


def scaled_size(width_px: int, height_px: int, max_short_side_px: int | None) -> tuple[int, int]:
    """(width, height) with the short side at most as given and the aspect kept; never enlarged."""
    short = min(width_px, height_px)
    if max_short_side_px is None or short <= max_short_side_px:
        return width_px, height_px
    scale = max_short_side_px / short
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))
