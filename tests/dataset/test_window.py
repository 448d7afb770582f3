"""Windows of a clip, against the frames of the whole one, and proof of how little is decoded."""

from __future__ import annotations

import io
import os
import tempfile
from fractions import Fraction

import av
import numpy as np
import pytest

from benchmark.footage import scene
from vpdata.dataset.window import decode_window
from vpdata.errors import RunError
from vpdata.media.clips import ClipReader, ClipWriter

NUM_FRAMES, HALF_SECOND = 60, 12
"""Frames at 24 fps."""


@pytest.fixture(scope="module")
def clip() -> bytes:
    writer = ClipWriter(width_px=96, height_px=64, fps=Fraction(24))
    for frame in scene("plain", seed=1, is_panning=True, num_frames=NUM_FRAMES, width_px=96, height_px=64).frames:
        writer.write(frame)
    return writer.finish()


@pytest.fixture(scope="module")
def whole(clip):
    return ClipReader(clip).read()


@pytest.mark.parametrize("length", [1, 8, 25])
def test_every_window_has_the_pixels_of_the_whole_and_decodes_half_a_second_more_at_most(clip, whole, length):
    for start in range(NUM_FRAMES - length + 1):
        window = decode_window(clip, start, start + length)
        assert np.array_equal(window.frames, whole[start : start + length])
        assert length <= window.num_decoded <= length + HALF_SECOND


def test_packets_that_are_not_counted_are_not_touched(clip, whole):
    with av.open(io.BytesIO(clip)) as container:
        packets = [(packet.pos, packet.size, packet.is_keyframe) for packet in container.demux(video=0) if packet.size]
    for start in range(0, NUM_FRAMES - 5, 7):
        key = max(index for index in range(start + 1) if packets[index][2])
        counted = range(key, key + decode_window(clip, start, start + 5).num_decoded)
        poisoned = bytearray(clip)
        for index, (position, size, _) in enumerate(packets):
            if index not in counted:
                poisoned[position : position + size] = b"\xff" * size
        with tempfile.TemporaryFile() as complaints:
            stderr = os.dup(2)
            os.dup2(complaints.fileno(), 2)
            try:
                window = decode_window(bytes(poisoned), start, start + 5)
            finally:
                os.dup2(stderr, 2)
                os.close(stderr)
            complaints.seek(0)
            assert complaints.read() == b""
        assert np.array_equal(window.frames, whole[start : start + 5])


def test_damage_inside_the_window_is_an_error(clip):
    with av.open(io.BytesIO(clip)) as container:
        first = next(packet for packet in container.demux(video=0))
        position, size = first.pos, first.size
    damaged = bytearray(clip)
    damaged[position : position + size] = b"\xff" * size
    with pytest.raises(RunError, match="damaged"):
        decode_window(bytes(damaged), 0, 4)


@pytest.mark.parametrize("data", [b"", b"no video at all" * 99])
def test_bytes_that_are_no_clip_are_an_error(data):
    with pytest.raises(RunError, match="damaged"):
        decode_window(data, 0, 1)
