"""Opening, measuring and decoding source videos that nobody vouches for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import PictureType
from av.video.stream import VideoStream

from vpdata.errors import Reason, RejectItem
from vpdata.media.normalise import Geometry, Normaliser, is_hdr, output_size
from vpdata.media.timing import MAX_STEP_S, Clock, average_fps, snapped

# Demuxers that open no second file. `mov` also stands for mp4, and its references to other files stay off.
_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg"
_OPEN_OPTIONS = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file", "enable_drefs": "0"}
_RESTARTING_DEMUXERS = ("mpegts", "mpeg")
"""Containers whose clock may jump where two recordings were joined."""
_MAX_HELD_FRAMES = 16
"""As many B-frames as H.264 may put in a row."""
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_CONTAINERS = (b"\x1a\x45\xdf\xa3", b"FLV\x01", b"OggS", b"\x30\x26\xb2\x75", b"\0\0\x01\xba")


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What a source says and shows of itself before it is decoded."""

    codec: str
    geometry: Geometry
    average_fps: Fraction
    """Measured from the packets' time stamps; the rate of a recording that lost frames is what it was before."""
    fps: Fraction
    """Constant rate for the clips: `average_fps`, snapped to a standard rate within 0.5 %."""
    duration_s: float
    """By the packets' time stamps, not by the header."""


def probe(path: Path, *, max_pixels: int, max_duration_s: float) -> VideoInfo:
    """Read all packets and decode one frame. Raises RejectItem for whatever `cut` cannot use."""
    with open_source(path) as container:
        stream = video_stream_of(container)
        context = stream.codec_context
        _check_pixels(context.width, context.height, max_pixels=max_pixels)
        fps, duration_s = _measure_time(container, stream, max_duration_s=max_duration_s)
        codec = context.name
    with open_source(path) as container:
        stream = video_stream_of(container)
        _limit(stream, max_pixels=max_pixels)
        frame = next(_decoded(container, stream, _Damage()), None)
        if frame is None:
            raise RejectItem(Reason.DECODE_ERROR, f"no frame of its {codec} stream could be decoded")
        if is_hdr(frame):
            raise RejectItem(
                Reason.HDR, "high dynamic range has no tone curve here yet", got="HLG or PQ", wanted="SDR transfer"
            )
        geometry = Geometry.of(frame, stream.sample_aspect_ratio)
    _check_pixels(geometry.width_px, geometry.height_px, max_pixels=max_pixels)
    return VideoInfo(codec=codec, geometry=geometry, average_fps=fps, fps=snapped(fps), duration_s=duration_s)


class FrameReader:
    """One pass over a source as normalised frames at a constant rate: yuv420p, BT.709 limited, upright, square pixels.

    After the pass `num_source_frames` and `damage` tell what was there. With `one_to_one` frame k is the source's own
    frame k, as `StoredFrames` gives it, whatever its time stamp: for masks that were counted so.
    """

    def __init__(
        self, path: Path, info: VideoInfo, *, short_side_px: int, max_pixels: int, one_to_one: bool = False
    ) -> None:
        self.fps = info.fps
        self.width_px, self.height_px = output_size(info.geometry, short_side_px=short_side_px)
        self.num_source_frames = 0
        self._path, self._info, self._max_pixels, self._one_to_one = path, info, max_pixels, one_to_one
        self._damage = _Damage()

    @property
    def damage(self) -> str | None:
        """Why decoding stopped before the end of the file; None where it did not. The frames before are good."""
        return self._damage.detail

    def __iter__(self) -> Iterator[av.VideoFrame]:
        """Frames by time stamp: one of two that fall into the same slot is dropped, an empty slot repeats the last."""
        with open_source(self._path) as container:
            stream = video_stream_of(container)
            _limit(stream, max_pixels=self._max_pixels)
            if self._one_to_one:
                yield from self._normalised(_decoded(container, stream, self._damage))
                return
            clock = Clock(self.fps, may_restart=container.format.name in _RESTARTING_DEMUXERS)
            waiting: av.VideoFrame | None = None
            slot = 0
            end = (self._info.duration_s + MAX_STEP_S) * self.fps
            for frame in self._normalised(_decoded(container, stream, self._damage)):
                next_slot = clock.slot(frame)
                if next_slot > end:
                    self._damage.detail = "a frame's time stamp lies far behind the end"
                    break
                if waiting is not None:
                    for _ in range(slot, next_slot):
                        yield waiting
                waiting, slot = frame, max(slot, next_slot)
            if waiting is not None:
                yield waiting

    def _normalised(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        normaliser = Normaliser(self._info.geometry, width_px=self.width_px, height_px=self.height_px)
        try:
            for frame in frames:
                self.num_source_frames += 1
                yield from normaliser.push(frame)
            yield from normaliser.flush()
        except FFmpegError as error:
            self._damage.detail = f"a frame could not be converted: {error.strerror}"


class StoredFrames:
    """One pass over all frames of a source as they are stored, in the order of display, with their own time stamps.

    After the pass `damage` tells why it ended before the file did; None where it did not.
    """

    def __init__(self, path: Path, *, max_pixels: int) -> None:
        self._path, self._max_pixels = path, max_pixels
        self._damage = _Damage()

    @property
    def damage(self) -> str | None:
        """See above."""
        return self._damage.detail

    def __iter__(self) -> Iterator[av.VideoFrame]:
        """Raises RejectItem where the file cannot be opened."""
        with open_source(self._path) as container:
            stream = video_stream_of(container)
            _limit(stream, max_pixels=self._max_pixels)
            yield from _decoded(container, stream, self._damage)


class _Damage:
    """Where a decoder leaves word of what stopped it."""

    detail: str | None = None


def open_source(path: Path) -> InputContainer:
    """The container, opened as this one file and nothing else. Raises RejectItem."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except FileNotFoundError as error:
        raise RejectItem(Reason.SOURCE_GONE, "the file was listed and is no longer there") from error
    if not head:
        raise RejectItem(Reason.EMPTY_FILE, "the file has no bytes", got="0 bytes", wanted="a video")
    try:
        # "file:" keeps a name such as "concat:a|b" from being read as a protocol.
        return av.open(f"file:{path.absolute()}", options=dict(_OPEN_OPTIONS), metadata_errors="replace")
    except FFmpegError as error:
        raise RejectItem(_why_not_opened(head), f"no video container could be opened: {error.strerror}") from error


def _why_not_opened(head: bytes) -> Reason:
    """Tell a picture and a broken video from what is neither, by the file's first bytes."""
    if head.startswith(_PICTURES) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        return Reason.STILL_PICTURE
    is_mp4 = head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free")
    is_avi = head.startswith(b"RIFF") and head[8:12] == b"AVI "
    is_ts = len(head) > 376 and head[0] == head[188] == head[376] == 0x47
    if head.startswith(_CONTAINERS) or is_mp4 or is_avi or is_ts:
        return Reason.UNREADABLE
    return Reason.NOT_VIDEO


def video_stream_of(container: InputContainer) -> VideoStream:
    """The one that a player would show. RejectItem where there is none, or none that can be decoded."""
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        raise RejectItem(
            Reason.NO_VIDEO_STREAM, "the file holds no video", got=f"{len(container.streams)} other streams"
        )
    best = container.streams.best("video")
    stream = best if isinstance(best, VideoStream) and best in streams else streams[0]
    if stream.codec_context is None:
        raise RejectItem(Reason.DECODE_ERROR, "the video's codec is unknown")
    return stream


def _limit(stream: VideoStream, *, max_pixels: int) -> None:
    """Bound what the decoder may allocate, and keep its output independent of the machine's cores."""
    # Twice, since decoders count padded frames: 1080 lines are coded as 1088.
    stream.codec_context.options = {"max_pixels": str(2 * max_pixels)}
    stream.codec_context.thread_count = 1


def _check_pixels(width_px: int, height_px: int, *, max_pixels: int) -> None:
    if width_px * height_px > max_pixels:
        raise RejectItem(
            Reason.TOO_MANY_PIXELS,
            "a frame is larger than cut.max_pixels",
            got=f"{width_px}x{height_px}",
            wanted=f"at most {max_pixels} pixels",
        )


def _measure_time(container: InputContainer, stream: VideoStream, *, max_duration_s: float) -> tuple[Fraction, float]:
    """(average frames per second, duration in seconds) from the decoding time stamps of all packets."""
    time_base = stream.time_base or Fraction(1, 1000)
    max_step = MAX_STEP_S / time_base if container.format.name in _RESTARTING_DEMUXERS else None
    max_total = max_duration_s / time_base
    steps: Counter[int] = Counter()
    previous: int | None = None
    total = 0
    for packet in _packets(container, stream, _Damage()):
        if packet.dts is None:
            continue
        step = packet.dts - previous if previous is not None else 0
        if step > 0 and (max_step is None or step <= max_step):
            steps[step] += 1
            total += step
        previous = packet.dts
        if total > max_total:
            raise RejectItem(
                Reason.TOO_LONG,
                "the video is longer than cut.max_duration_s",
                got=f"over {float(total * time_base):.0f} s",
                wanted=f"at most {max_duration_s:g} s",
            )
    fps = average_fps(steps, time_base, header=stream.average_rate, guessed=stream.guessed_rate)
    return fps, float(total * time_base + 1 / fps)


def _packets(container: InputContainer, stream: VideoStream, damage: _Damage) -> Iterator[av.Packet]:
    """Packets with content, up to damage of the container."""
    try:
        for packet in container.demux(stream):
            if packet.size:
                # Where recordings were joined, good packets are marked too.
                damage.detail = "the file ends in the middle of a packet" if packet.is_corrupt else None
                yield packet
    except FFmpegError as error:
        damage.detail = f"the container is damaged: {error.strerror}"


def _decoded(container: InputContainer, stream: VideoStream, damage: _Damage) -> Iterator[av.VideoFrame]:
    """Frames in the order of display, from the first good one to the first damage after it.

    A B-frame waits for the frame shown after it, which it may have been predicted from. What a decoder does not notice
    passes: libavcodec's for H.264 and MPEG mark damage inside a picture, those for HEVC, VP8, VP9 and AV1 do not.
    """
    held: list[av.VideoFrame] = []
    has_frames = awaits_key_frame = False
    for frame in _decoder_output(container, stream, damage):
        if frame.is_corrupt:
            if has_frames:
                damage.detail = damage.detail or "a picture is damaged"
                return
            awaits_key_frame = True
        elif not awaits_key_frame or frame.key_frame:
            has_frames, awaits_key_frame = True, False
            held.append(frame)
            if frame.pict_type != PictureType.B or len(held) > _MAX_HELD_FRAMES:
                yield from held
                held.clear()
    yield from held


def _decoder_output(container: InputContainer, stream: VideoStream, damage: _Damage) -> Iterator[av.VideoFrame]:
    """Frames in the order of display, damaged ones too, up to the first error after a good frame."""
    has_frames, is_avi = False, container.format.name == "avi"
    try:
        for packet in _packets(container, stream, damage):
            try:
                for frame in stream.codec_context.decode(packet):
                    has_frames = has_frames or not frame.is_corrupt
                    if is_avi:
                        frame.pts = frame.dts  # AVI stores no times of display, and the demuxer guesses them wrong
                    yield frame
            except FFmpegError as error:
                # A recording that starts between two key frames fails until the first of them.
                if has_frames:
                    damage.detail = f"decoding failed: {error.strerror}"
                    break
        for frame in stream.codec_context.decode(None):
            frame.time_base = stream.time_base or Fraction(1, 1000)  # a frame that no packet asked for has none
            if is_avi:
                frame.pts = None
            yield frame
    except FFmpegError as error:
        damage.detail = f"decoding failed: {error.strerror}"
