"""Posters and short loops of clips, each frame above its own copy with masks.

Half of the picture shows the plain clip and half the masks, so that the page switches between them by moving the
picture inside its frame: no second file, no decoding in the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vpdata.media.clips import ClipReader, ClipSettings, ClipWriter
from vpdata.records import Record, Track
from vpdata.report.drawing import draw_tracks, fit
from vpdata.report.sheet import encode_image

_MAX_LOOP_FPS = 30
_LOOP_CRF = 27
_POSTER_QUALITY = 78


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipMedia:
    """What the page shows of one clip."""

    poster: bytes
    """JPEG of the loop's first frame, twice the height of a frame: plain above, with masks below."""
    loop: bytes | None
    """H.264 mp4 of the same layout; None for a poster alone."""


def loop_span(tracks: Sequence[Track], *, num_frames: int, length: int) -> range:
    """The `length` frames (or the whole clip) in which most objects are to be seen, the earliest such span."""
    length = min(length, num_frames)
    present = np.zeros(num_frames, dtype=np.int64)
    for track in tracks:
        present += np.array([mask is not None for mask in track.masks], dtype=np.int64)
    sums = np.concatenate([[0], np.cumsum(present)])
    start = int(np.argmax(sums[length:] - sums[: num_frames - length + 1]))
    return range(start, start + length)


def make_media(mp4: bytes, record: Record, *, short_side_px: int, loop_s: float, with_loop: bool) -> ClipMedia:
    """Poster and loop of a clip, scaled to the short side; equal input gives equal bytes."""
    clip = record.clip
    reader = ClipReader(mp4, sha256=clip.sha256)
    step = max(1, round(clip.fps / _MAX_LOOP_FPS))
    span = media_span(record, loop_s=loop_s)
    indices = span[::step] if with_loop else span[:1]
    frames = [
        fit(frame, short_side_px=short_side_px) for frame in reader.read(indices, max_short_side_px=short_side_px)
    ]
    tracks = record.tracks or ()
    size = (clip.width_px, clip.height_px)
    pictures = [_plain_above_masked(frame, tracks, index, size) for index, frame in zip(indices, frames, strict=True)]
    poster = encode_image(pictures[0], suffix=".jpg", quality=_POSTER_QUALITY)
    return ClipMedia(poster=poster, loop=encode_pictures(pictures, clip.fps / step) if with_loop else None)


def media_span(record: Record, *, loop_s: float) -> range:
    """The frames of the clip that its loop shows."""
    length = max(1, round(loop_s * record.clip.fps))
    return loop_span(record.tracks or (), num_frames=record.clip.num_frames, length=length)


def _plain_above_masked(
    frame: NDArray[np.uint8], tracks: Sequence[Track], index: int, clip_size_px: tuple[int, int]
) -> NDArray[np.uint8]:
    masked = frame.copy()
    draw_tracks(masked, tracks, frame=index, clip_size_px=clip_size_px)
    # 4:2:0 wants even sides; an odd last row or column goes.
    height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
    return np.concatenate([frame[:height, :width], masked[:height, :width]])


def encode_pictures(pictures: Iterable[NDArray[np.uint8]], fps: Fraction, *, crf: int = _LOOP_CRF) -> bytes:
    """H.264 mp4 of one or more pictures, uint8 [H, W, 3] RGB with even sides; by default small rather than exact."""
    pictures = iter(pictures)
    first = next(pictures)
    settings = ClipSettings(crf=crf)
    writer = ClipWriter(width_px=first.shape[1], height_px=first.shape[0], fps=fps, settings=settings)
    writer.write(first)
    for picture in pictures:
        writer.write(picture)
    return writer.finish()
