"""The finished video: the input's size, time stamps and audio, from pieces that are encoded one by one.

A piece is a few frames as H.264 without B-frames, so that packet k of all pieces is frame k of the video. Pieces can be
made in several runs of the program; put together they are the same bytes.
"""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import PictureType
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from vpdata.errors import ConfigError, RunError
from vpdata.inpaint.any_length import Frames
from vpdata.inpaint.fit import Size
from vpdata.inpaint.input_video import VideoInput
from vpdata.inpaint.output_paths import check_distinct, check_place
from vpdata.media.normalise import yuv_from_rgb
from vpdata.media.video import open_source

_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""By the output's suffix. Matroska rounds time stamps to milliseconds, and knows no time before 0: audio that begins
there is not moved against the video, both are."""
_KEY_FRAME_EVERY = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeSettings:
    """How the finished video is encoded."""

    crf: int = 18
    """x264's constant rate factor, 0 (lossless) to 51; 18 is hard to tell from the source."""
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"] = "veryfast"
    """x264's trade of time for size."""

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise ValueError(f"got crf {self.crf}, wanted 0 to 51")


def check_output(path: Path, video: VideoInput) -> None:
    """ConfigError for an output that could not be written after hours of work."""
    if path.suffix.lower() not in _FORMATS:
        raise ConfigError(f"got the output {path}, wanted a name that ends in {', '.join(_FORMATS)}")
    check_place(path)
    check_distinct({"output": path}, {"input": video.path})
    if not video.has_audio:
        return
    with open_source(video.path) as source:
        suffix = path.suffix.lower()
        if refusal := _audio_refusal(source, suffix):
            others = [other for other in _FORMATS if other != suffix and not _audio_refusal(source, other)]
            way_out = f"name an output that ends in {' or '.join(others)}, or convert" if others else "convert"
            raise ConfigError(f"the audio of {video.path} {refusal}; {way_out} the audio first")
        _check_rising(source, video.path)


def _audio_refusal(source: InputContainer, suffix: str) -> str | None:
    """Which audio the container of a suffix does not take, and why; None where it takes all."""
    codec = "unknown"
    with av.open(io.BytesIO(), "w", format=_FORMATS[suffix]) as container:
        try:
            for stream in source.streams.audio:
                codec = stream.codec_context.name if stream.codec_context else "unknown"
                if suffix == ".mp4" and codec.startswith("pcm"):
                    raise ValueError("players misread it there")
                container.add_stream_from_template(stream)
            container.start_encoding()
        except (FFmpegError, ValueError) as error:
            return f"({codec}) cannot be copied into {suffix}: {error}"
    return None


def _check_rising(source: InputContainer, path: Path) -> None:
    """No container takes audio whose time stamps do not rise, as in recordings that were joined badly."""
    last: dict[int, int] = {}
    for packet in source.demux(list(source.streams.audio)):
        if packet.size and packet.dts is not None:
            if packet.dts <= last.get(packet.stream.index, packet.dts - 1):
                seconds = float(packet.dts * packet.time_base)
                raise ConfigError(
                    f"the audio of {path} does not go on in time at {seconds:g} s; convert it with ffmpeg first, "
                    "or give the video without audio"
                )
            last[packet.stream.index] = packet.dts


def encode_piece(frames: Iterable[Frames], video: VideoInput, size: Size, settings: EncodeSettings) -> bytes:
    """Frames `[height, width, 3]` of `size` as Matroska, coloured as the video. Equal frames give equal bytes."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=video.average_fps)
        stream.width, stream.height = size.width_px, size.height_px
        # Half as many colour samples as pixels need even sides.
        stream.pix_fmt = "yuv444p" if size.width_px % 2 or size.height_px % 2 else "yuv420p"
        context = stream.codec_context
        context.gop_size = _KEY_FRAME_EVERY
        context.sample_aspect_ratio = _pixel_aspect(video, size)
        context.color_primaries, context.color_trc = video.colour.primaries, video.colour.transfer
        context.colorspace, context.color_range = video.colour.matrix, ColorRange.MPEG
        # x264's output depends on its number of threads and, unless told otherwise, on the CPU.
        stream.options = {
            "crf": str(settings.crf),
            "preset": settings.preset,
            "bf": "0",
            "x264-params": "threads=1:lookahead-threads=1:cpu-independent=1",
        }
        for index, pixels in enumerate(frames):
            frame = yuv_from_rgb(pixels, pixel_format=stream.pix_fmt, matrix=video.colour.matrix)
            frame.pts, frame.time_base, frame.pict_type = index, 1 / video.average_fps, PictureType.NONE
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def write_output(path: Path, pieces: Sequence[Path], video: VideoInput) -> None:
    """Put pieces together with the video's time stamps, title and audio, in the container of the path's suffix.

    Audio packets are the video's own, and so are their languages.
    """
    format_ = _FORMATS[path.suffix.lower()]
    options = {"fflags": "+bitexact"} | ({} if format_ == "matroska" else {"movflags": "+faststart"})
    with (
        av.open(str(path), "w", format=format_, options=options) as container,
        open_source(video.path) as source,
        _opened(pieces[0]) as first,
    ):
        origin = _origin_s(source)
        picture = container.add_stream_from_template(first.streams.video[0])
        picture.time_base = video.time_base
        sounds = {stream.index: container.add_stream_from_template(stream) for stream in source.streams.audio}
        for stream in source.streams.audio:
            sounds[stream.index].time_base = stream.time_base
            sounds[stream.index].metadata.update(_tags(stream.metadata, "language", "title"))
        container.metadata.update(_tags(source.metadata, "title"))
        pictures = _picture_packets(pieces, video, picture, origin)
        audio = _audio_packets(source, sounds, origin) if sounds else iter(())
        for _, packet in heapq.merge(pictures, audio, key=lambda timed: timed[0]):
            container.mux(packet)


def _tags(tags: Mapping[str, str], *wanted: str) -> dict[str, str]:
    return {key.lower(): value for key, value in tags.items() if key.lower() in wanted}


def _picture_packets(
    pieces: Sequence[Path], video: VideoInput, stream: VideoStream, origin_s: Fraction
) -> Iterator[tuple[Fraction, av.Packet]]:
    """(seconds, packet) in order."""
    time_base = video.time_base
    stamps = [int(stamp) - round(origin_s / time_base) for stamp in video.stamps]
    ends = [*stamps[1:], stamps[-1] + video.last_duration]
    index = 0
    for piece in pieces:
        with _opened(piece) as container:
            for packet in container.demux(video=0):
                if not packet.size:
                    continue
                if index == len(stamps):
                    raise RunError(f"{piece}: got more packets than the video has frames; --redo begins anew")
                packet.pts = packet.dts = stamps[index]
                packet.duration, packet.time_base, packet.stream = ends[index] - stamps[index], time_base, stream
                yield stamps[index] * time_base, packet
                index += 1
    if index != len(stamps):
        raise RunError(f"{pieces[-1].parent}: got {index} of {len(stamps)} frames; --redo begins anew")


def _opened(piece: Path) -> InputContainer:
    try:
        return av.open(str(piece))
    except FFmpegError as error:
        raise RunError(f"{piece} is damaged ({error.strerror}); --redo begins anew") from error


def _audio_packets(
    source: InputContainer, sounds: Mapping[int, AudioStream], origin_s: Fraction
) -> Iterator[tuple[Fraction, av.Packet]]:
    for packet in source.demux(list(source.streams.audio)):
        if not packet.size or packet.dts is None:
            continue
        time_base = packet.time_base
        shift = round(origin_s / time_base)
        packet.dts -= shift
        if packet.pts is not None:
            packet.pts -= shift
        packet.stream = sounds[packet.stream.index]
        yield packet.dts * time_base, packet


def _origin_s(source: InputContainer) -> Fraction:
    """Where the file's time begins: a transport stream's does anywhere. Time before 0 stays: audio may start there."""
    return max(Fraction(0), Fraction(source.start_time or 0, av.time_base))


def _pixel_aspect(video: VideoInput, size: Size) -> Fraction:
    if size == video.size:
        return video.pixel_aspect
    shown = video.shown_size
    return Fraction(shown.width_px * size.height_px, shown.height_px * size.width_px).limit_denominator(1000)
