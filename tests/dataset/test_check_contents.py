"""An mp4 of another form than the format promises is found, and masks that are damaged."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from pycocotools import mask as coco

from tests.dataset.test_check import FIRST, edit_track, repack, with_mp4
from tests.runs import FPS, HEIGHT_PX, WIDTH_PX, make_footage
from vpdata.dataset.check import check

OF_ALL: dict = {"codec": "libx264", "pixel_format": "yuv420p", "options": {"g": "6"}, "colour": (1, 1, 1, 1)}


def mp4_of(
    *,
    codec: str,
    pixel_format: str,
    options: dict[str, str],
    colour: tuple[int, int, int, int],
    aspect: int = 1,
    with_sound: bool = False,
    with_index_first: bool = True,
    late_frame: int | None = None,
) -> bytes:
    """The first clip of a run; `colour` is primaries, transfer, matrix and range."""
    buffer = io.BytesIO()
    rewind = {"io_open": lambda *_: io.BytesIO(buffer.getvalue())} if with_index_first else {}
    flags = {"movflags": "+faststart"} if with_index_first else {}
    with av.open(buffer, "w", format="mp4", options=flags, **rewind) as container:
        stream = container.add_stream(codec, rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, pixel_format
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = colour
        context.time_base = Fraction(1, 2 * FPS)
        context.sample_aspect_ratio = Fraction(aspect)
        sound = container.add_stream("aac", rate=48000) if with_sound else None
        for number, image in enumerate(make_footage(0).frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = 2 * number + (number == late_frame), context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.rate = 48000
            container.mux([*sound.encode(silence), *sound.encode(None)])
    return buffer.getvalue()


FORMS: dict[str, tuple[dict, str]] = {
    "another codec": ({"codec": "mpeg4"}, "the codec mpeg4, wanted h264"),
    "4:4:4": ({"pixel_format": "yuv444p"}, "the pixel format yuv444p, wanted yuv420p"),
    "another range": ({"colour": (1, 1, 1, 2)}, "the range 2, wanted 1"),
    "another matrix": ({"colour": (1, 1, 6, 1)}, "the matrix 6, wanted 1"),
    "another transfer": ({"colour": (1, 13, 1, 1)}, "the transfer 13, wanted 1"),
    "no tags": ({"colour": (2, 2, 2, 0)}, "the primaries 2, wanted 1"),
    "wide pixels": ({"aspect": 2}, "pixels of the aspect 2, wanted 1"),
    "rare key frames": ({"options": {"g": "7", "sc_threshold": "0"}}, "7 frames from one key frame to the next"),
    "sound": ({"with_sound": True}, "streams 2, wanted 1"),
    "index last": ({"with_index_first": False}, "its index behind the pictures"),
    "a late frame": ({"late_frame": 10}, "ticks apart, wanted all at one distance"),
}


@pytest.mark.parametrize("form", FORMS)
def test_mp4_of_another_form_is_a_problem_of_its_clip(run, form):
    changes, wanted = FORMS[form]
    with_mp4(run, mp4_of(**OF_ALL | changes))
    problems = [str(problem) for problem in check(run)]
    assert any(wanted in problem for problem in problems), problems
    assert all(f"{FIRST}: the mp4 has" in problem for problem in problems), problems


def test_mp4_of_the_promised_form_by_another_writer_is_well(run):
    with_mp4(run, mp4_of(**OF_ALL))
    assert check(run) == []


MASKS = {
    "character that is none": (lambda counts: " " + counts[1:], "got ' ' in run lengths"),
    "end cut off": (lambda counts: counts[:-1], "run lengths"),
    "end of the middle of a number": (lambda counts: counts + "P", "in the middle of a number"),
    "a pixel more in the first run": (lambda counts: chr(ord(counts[0]) ^ 1) + counts[1:], "run lengths for"),
    "first run twice": (lambda counts: counts[:2] + counts, "run lengths"),
}


@pytest.mark.parametrize("damage", MASKS)
def test_damaged_run_lengths_are_a_problem_of_their_track(run, damage):
    spoil, wanted = MASKS[damage]

    def spoilt(record):
        masks = (record.tracks or ())[0].masks
        return edit_track(record, masks=(masks[0], spoil(masks[1]), *masks[2:]))

    repack(run, spoilt)
    (problem,) = [str(problem) for problem in check(run)]
    assert f"{FIRST}: track " in problem
    assert wanted in problem


def test_one_pixel_that_changed_sides_is_found_by_the_area(run):
    def grown(record):
        masks = (record.tracks or ())[0].masks
        return edit_track(record, masks=(masks[0], moved_edge(masks[1]), *masks[2:]))

    repack(run, grown)
    (problem,) = [str(problem) for problem in check(run)]
    assert "on frame 1, its mask covers" in problem


def moved_edge(counts: str) -> str:
    """The same mask with one pixel more, drawn by pycocotools itself."""
    rle = {"size": [HEIGHT_PX, WIDTH_PX], "counts": counts}
    pixels = coco.decode(rle)
    y, x = np.argwhere(pixels == 0)[0]
    pixels[y, x] = 1
    return coco.encode(np.asfortranarray(pixels))["counts"].decode()
