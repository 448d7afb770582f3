"""Proof that the mp4 of a clip has the form that the format promises to readers."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from vpdata.records import Clip

_MAX_KEY_FRAME_STEP_S = Fraction(1, 2)


def check_mp4(clip: Clip, mp4: bytes) -> Iterator[str]:
    """What is wrong with it; its packets are read and not decoded, since the hash says that the pictures are whole."""
    if hashlib.sha256(mp4).hexdigest() != clip.sha256:
        yield "the mp4 has another hash than its record says"
        return
    try:
        with av.open(io.BytesIO(mp4), "r", format="mp4") as container:
            if not container.streams.video or container.streams.video[0].codec_context is None:
                yield f"the mp4 has {len(container.streams)} streams, none of which is video of a known codec"
                return
            yield from _check_stream(container, container.streams.video[0], clip)
            yield from _check_frames(container, container.streams.video[0], clip)
    except FFmpegError as error:
        yield f"the mp4 does not open: {error}"
        return
    # What else holds these letters is compressed video, behind the index.
    if mp4.find(b"moov") > mp4.find(b"mdat"):
        yield "the mp4 has its index behind the pictures, wanted it first"


def _check_stream(container: InputContainer, stream: VideoStream, clip: Clip) -> Iterator[str]:
    context = stream.codec_context
    found = (stream.width, stream.height, stream.average_rate)
    if found != (clip.width_px, clip.height_px, clip.fps):
        yield f"the mp4 has {found}, its record {clip.width_px, clip.height_px, clip.fps}"
    form = {
        "streams": (len(container.streams), 1),
        "the codec": (context.name, "h264"),
        "the pixel format": (context.pix_fmt, "yuv420p"),
        "an odd width or height": (bool(stream.width % 2 or stream.height % 2), False),
        "pixels of the aspect": (stream.sample_aspect_ratio or Fraction(1), 1),
        "the primaries": (int(context.color_primaries), int(ColorPrimaries.BT709)),
        "the transfer": (int(context.color_trc), int(ColorTrc.BT709)),
        "the matrix": (int(context.colorspace), int(Colorspace.ITU709)),
        "the range": (int(context.color_range), int(ColorRange.MPEG)),
    }
    for name, (got, wanted) in form.items():
        if got != wanted:
            yield f"the mp4 has {name} {got}, wanted {wanted}"


def _check_frames(container: InputContainer, stream: VideoStream, clip: Clip) -> Iterator[str]:
    packets = [packet for packet in container.demux(stream) if packet.size]
    if len(packets) != clip.num_frames:
        yield f"the mp4 has {len(packets)} frames, its record {clip.num_frames}"
    stamps = sorted(packet.pts for packet in packets if packet.pts is not None)
    steps = {later - earlier for earlier, later in pairwise(stamps)}
    if len(stamps) < len(packets) or len(steps) > 1:
        yield f"the mp4 has frames {sorted(steps)} ticks apart, wanted all at one distance"
        return
    number_of = {stamp: number for number, stamp in enumerate(stamps)}
    keys = sorted(number_of[packet.pts] for packet in packets if packet.is_keyframe and packet.pts is not None)
    wanted = max(1, int(clip.fps * _MAX_KEY_FRAME_STEP_S))
    longest = max((later - earlier for earlier, later in pairwise([*keys, len(packets)])), default=0)
    if keys[:1] != [0] or longest > wanted:
        got = f"{longest} frames from one key frame to the next, the first is frame {keys[0] if keys else None}"
        yield f"the mp4 has {got}; wanted at most {wanted}, from frame 0 on"
