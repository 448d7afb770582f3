"""The user's video: every frame with its own time stamp, at the size it is stored in."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from vpdata.errors import ConfigError, Reason, RejectItem, StorageError
from vpdata.inpaint.any_length import Frames
from vpdata.inpaint.fit import Size
from vpdata.media.normalise import Geometry, UprightRgb, matrix_of
from vpdata.media.video import StoredFrames, open_source, probe, video_stream_of

_log = logging.getLogger(__name__)

MAX_PIXELS = 8192 * 4352
"""Of a frame: 8K."""
_MIN_FPS = Fraction(1, 1001)


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """How RGB is coded, as numbers of H.273."""

    primaries: int
    transfer: int
    matrix: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInput:
    """A video that was read through once, so that its frames are counted and its end is known to be good."""

    path: Path
    size: Size
    """Of the frames: upright, pixels as they are stored."""
    pixel_aspect: Fraction
    """Width over height of an upright pixel; 1 but for anamorphic video."""
    stamps: NDArray[np.int64]
    """Per frame its time, in `time_base`, rising."""
    last_duration: int
    """How long the last frame is shown, in `time_base`."""
    time_base: Fraction
    """Seconds."""
    colour: Colour
    has_audio: bool
    sha256: str
    """Of the file."""

    @property
    def num_frames(self) -> int:
        """All of them are decoded by `frames`."""
        return len(self.stamps)

    @property
    def shown_size(self) -> Size:
        """With square pixels."""
        return Size(height_px=self.size.height_px, width_px=max(1, round(self.size.width_px * self.pixel_aspect)))

    @property
    def average_fps(self) -> Fraction:
        """Frames over the time they are shown."""
        total = int(self.stamps[-1] - self.stamps[0]) + self.last_duration
        return max((self.num_frames / (total * self.time_base)).limit_denominator(1001), _MIN_FPS)

    def frames(self, *, untagged_matrix: int | None = None) -> Iterator[Frames]:
        """uint8 `[height, width, 3]` RGB, one at a time; `untagged_matrix`: see `vpdata.media.normalise.matrix_of`."""
        source = StoredFrames(self.path, max_pixels=MAX_PIXELS)
        upright: UprightRgb | None = None
        num_frames = 0
        with _named_errors(self.path):
            for frame in source:
                upright = upright or UprightRgb(frame, untagged_matrix=untagged_matrix)
                for rgb in upright.push(frame):
                    num_frames += 1
                    yield _pixels(rgb)
            for rgb in upright.flush() if upright else ():
                num_frames += 1
                yield _pixels(rgb)
        if num_frames != self.num_frames:
            raise StorageError(f"{self.path} changed while it was read: got {num_frames} of {self.num_frames} frames")


def open_video(path: Path) -> VideoInput:
    """Decode a video once to count its frames. ConfigError for one that is damaged, HDR, or of no known kind."""
    with _named_errors(path):
        if path.is_dir():
            raise ConfigError(
                f"got the folder {path}, wanted a video file; of numbered pictures ffmpeg makes one: "
                f"ffmpeg -framerate 24 -i '{path}/%05d.jpg' -crf 10 video.mp4"
            )
        probe(path, max_pixels=MAX_PIXELS, max_duration_s=float("inf"))
        source = StoredFrames(path, max_pixels=MAX_PIXELS)
        frames = iter(source)
        first = next(frames)
        geometry = Geometry.of(first, None)
        stamps, durations = [first.pts], [first.duration]
        is_one_size = True
        for frame in frames:
            if is_one_size and (frame.width, frame.height) != (first.width, first.height):
                is_one_size = False
                _log.warning(
                    "%s: frame %d has %d x %d px, the frames before %d x %d: all are scaled to that size",
                    *(path, len(stamps), frame.width, frame.height, first.width, first.height),
                )
            stamps.append(frame.pts)
            durations.append(frame.duration)
        with open_source(path) as container:
            stream = video_stream_of(container)
            aspect = stream.sample_aspect_ratio or Fraction(1)
            time_base = stream.time_base or Fraction(1, 1000)
            step = round(1 / (time_base * (stream.average_rate or stream.guessed_rate or 25)))
            has_audio = bool(container.streams.audio)
    if source.damage:
        raise ConfigError(
            f"{path}: {source.damage} after frame {len(stamps) - 1}; cut it there, or repair it with ffmpeg"
        )
    with _named_errors(path), path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return VideoInput(
        path=path,
        size=Size(height_px=geometry.height_px, width_px=geometry.width_px),
        pixel_aspect=1 / aspect if geometry.quarter_turns % 2 else aspect,
        stamps=_rising(stamps, step=max(step, 1), path=path),
        last_duration=durations[-1] or max(step, 1),
        time_base=time_base,
        colour=Colour(primaries=int(first.color_primaries), transfer=int(first.color_trc), matrix=matrix_of(first)),
        has_audio=has_audio,
        sha256=sha256,
    )


def _rising(stamps: list[int | None], *, step: int, path: Path) -> NDArray[np.int64]:
    """The time stamps; where the container has none, a frame comes a step after the one before."""
    rising = np.empty(len(stamps), dtype=np.int64)
    last = -step
    for index, stamp in enumerate(stamps):
        rising[index] = last = last + step if stamp is None else stamp
    if (falls := np.flatnonzero(np.diff(rising) <= 0)).size:
        raise ConfigError(
            f"{path}: the time stamp of frame {falls[0] + 1} is not later than that of the frame before; "
            "write the video anew with ffmpeg, whose option -fps_mode decides what becomes of such frames"
        )
    return rising


def _pixels(frame: av.VideoFrame) -> Frames:
    return np.asarray(frame.to_ndarray(), dtype=np.uint8)


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except RejectItem as error:
        if error.reason is Reason.SOURCE_GONE:
            raise ConfigError(f"there is no video {path}") from error
        if error.reason is Reason.TOO_MANY_PIXELS:
            raise ConfigError(f"{path}: got frames of {error.got} px, wanted at most {MAX_PIXELS} pixels") from error
        got_wanted = f" (got {error.got}, wanted {error.wanted})" if error.got and error.wanted else ""
        raise ConfigError(f"{path}: {error.detail}{got_wanted}") from error
    except FFmpegError as error:
        raise ConfigError(f"{path}: a frame cannot be converted: {error.strerror}") from error
    except OSError as error:
        raise ConfigError(f"cannot read the video {path}: {error.strerror or error}") from error
