from __future__ import annotations

import itertools
import struct
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.media.footage import (
    NUM_FRAMES,
    PLAIN_GOP,
    grey_ramp,
    greys,
    measured,
    normalised,
    quadrants,
    reason_of,
    write_video,
)
from vpdata.errors import Reason
from vpdata.media.timing import Clock
from vpdata.media.video import StoredFrames


def test_b_frames_in_avi_keep_their_places(tmp_path):
    # The container stores no times of display.
    path = write_video(tmp_path / "b.avi", grey_ramp(), options={"bf": "2", **PLAIN_GOP})
    assert greys(normalised(path)[1]) == list(range(NUM_FRAMES))
    stamps = [frame.pts for frame in StoredFrames(path, max_pixels=10**6)]
    assert len(stamps) == NUM_FRAMES
    assert {later - earlier for earlier, later in pairwise(stamps) if later is not None} == {1}


@pytest.mark.parametrize(
    ("true_fps", "wanted"),
    [
        ("23.98", "24000/1001"),
        ("24.01", "24"),
        ("29.9", "30000/1001"),
        ("25.05", "25"),
        ("59.8", "60000/1001"),
        ("15", "15"),
    ],
)
def test_measured_rate_snaps_to_a_standard_one(tmp_path, true_fps, wanted):
    times_s = [index / float(true_fps) for index in range(50)]
    path = write_video(tmp_path / "video.mkv", np.stack([quadrants()] * 50), times_s=times_s)
    assert float(measured(path).fps) == pytest.approx(float(Fraction(wanted)), rel=1e-3 if wanted == "15" else 1e-9)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_frame_rate_is_resampled_by_time_stamp(tmp_path, suffix):
    times_s = [*(index / 10 for index in range(13)), 1.4, 1.6, 1.8, 2.0]
    path = write_video(tmp_path / f"vfr.{suffix}", grey_ramp(len(times_s)), options={"bf": "0"}, times_s=times_s)
    _, planes = normalised(path)
    assert measured(path).fps == 8
    # Frame k takes slot round(8 t): one of two that share a slot makes way, and the frame before fills a hole.
    assert greys(planes) == [0, 1, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 13, 14, 15, 15, 16]


def test_frames_too_dense_for_their_slots_are_dropped(tmp_path):
    times_s = [*(index / 10 for index in range(10)), 0.91, 0.92, 0.93, *(index / 10 for index in range(10, 22))]
    path = write_video(tmp_path / "dense.mp4", grey_ramp(len(times_s)), times_s=times_s)
    shown = greys(normalised(path)[1])
    assert len(shown) <= len(times_s)
    assert shown[0] == 0
    assert shown[-1] == len(times_s) - 1, "the last frame stays"
    assert not {10, 11, 12} <= set(shown)


@pytest.mark.parametrize("ticks", [1, 2, 3, 100])
def test_lost_frame_leaves_its_slot_empty_however_coarse_the_clock_is(ticks):
    stamps = [index * ticks for index in (0, 1, 2, 4, 5)]
    assert slots_of(stamps, fps=25, tick_s=Fraction(1, 25 * ticks)) == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_lost_frames_of_a_steady_recording_are_repeated(tmp_path, suffix):
    kept = [index for index in range(25) if index not in (11, 12)]
    path = write_video(tmp_path / f"lost.{suffix}", grey_ramp()[kept], times_s=[i / 25 for i in kept])
    assert measured(path).fps == 25
    assert greys(normalised(path)[1]) == [*range(11), 10, 10, *range(13, 25)]


@pytest.mark.parametrize(
    ("suffix", "steps_s"),
    [
        ("mkv", {10: 0.06}),
        ("mkv", {10: 0.02}),
        ("mp4", {10: 0.06, 30: 0.02}),
        ("ts", {10: 0.02, 30: 0.06}),
    ],
)
def test_frames_behind_one_that_is_half_a_frame_off_are_all_shown(tmp_path, suffix, steps_s):
    times_s = [0.0, *itertools.accumulate(steps_s.get(index, 0.04) for index in range(39))]
    path = write_video(tmp_path / f"half.{suffix}", grey_ramp(40, step=5), options={"bf": "0"}, times_s=times_s)
    assert measured(path).fps == 25
    assert greys(normalised(path)[1], step=5) == list(range(40))


def slots_of(stamps: list[int], *, fps: int, tick_s: Fraction) -> list[int]:
    clock, frame, slots = Clock(Fraction(fps), may_restart=False), av.VideoFrame(16, 16, "gray"), []
    for stamp in stamps:
        frame.pts, frame.time_base = stamp, tick_s
        slots.append(clock.slot(frame))
    return slots


def test_every_other_frame_is_dropped_at_half_the_rate_and_shown_twice_at_double():
    tick_s = Fraction(1, 90000)
    assert sorted(set(slots_of([1500 * k for k in range(101)], fps=30, tick_s=tick_s))) == list(range(51))
    assert slots_of([3000 * k for k in range(101)], fps=60, tick_s=tick_s) == [2 * k for k in range(101)]


@given(
    steps=st.lists(st.sampled_from([1, 2, 2, 2, 2, 3, 4, 7]), max_size=200),
    drift_ticks=st.integers(-20, 20),
    scale=st.sampled_from([1, 15, 1500]),
)
def test_no_frame_lies_more_than_half_a_slot_and_a_tick_from_its_stamp(steps, drift_ticks, scale):
    """Steps of 1/60 s at 30 fps: late, early and lost frames, by a coarse clock and by fine ones that also drift."""
    drift = drift_ticks if scale == 1500 else 0
    stamps = [0, *itertools.accumulate(step * scale + drift for step in steps)]
    tick_s = Fraction(1, 60 * scale)
    for stamp, slot in zip(stamps, slots_of(stamps, fps=30, tick_s=tick_s), strict=True):
        assert abs(stamp * tick_s * 30 - slot) <= Fraction(1, 2) + min(tick_s * 30, Fraction(1, 4))


def test_one_wild_time_stamp_does_not_ask_for_hours_of_repeats(tmp_path):
    times_s = [*(index / 25 for index in range(24)), 3600.0]
    path = write_video(tmp_path / "wild.mkv", grey_ramp(), codec="ffv1", times_s=times_s)
    assert reason_of(path, max_duration_s=7200.0) == Reason.BAD_FRAME_RATE


def test_picture_shown_hours_after_its_packet_ends_the_video(tmp_path):
    path = write_video(tmp_path / "ok.mp4", grey_ramp(), codec="mpeg4")
    late = tmp_path / "late.mp4"
    with av.open(str(path)) as source, av.open(str(late), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for index, packet in enumerate(source.demux(video=0)):
            if packet.size:
                packet.stream, packet.pts = stream, packet.pts + (3600 / packet.time_base if index == 20 else 0)
                target.mux(packet)
    reader, planes = normalised(late)
    assert greys(planes) == list(range(20))
    assert "far behind the end" in (reader.damage or "")


@pytest.mark.parametrize("late_s", [0, 3000])
def test_joined_recordings_follow_each_other_without_a_hole(tmp_path, late_s):
    images, times_s = grey_ramp(40, step=5), [index / 25 for index in range(40)]
    first = write_video(tmp_path / "first.ts", images, times_s=times_s)
    second = write_video(tmp_path / "second.ts", images, times_s=[late_s + time_s for time_s in times_s])
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes() + first.read_bytes())
    info = measured(joined)
    reader, planes = normalised(joined)
    assert info.fps == 25
    assert greys(planes, step=5) == [*range(40)] * 3
    assert reader.damage is None


def test_frames_of_two_recordings_in_turn_make_no_hole(tmp_path):
    options = {"x264-params": "open-gop=1:keyint=12:bframes=3"}
    slope = np.add.outer(np.arange(64), np.arange(96))
    images = np.stack([np.repeat((slope + 5 * index)[..., None] % 255, 3, axis=2) for index in range(60)])
    path = write_video(tmp_path / "whole.ts", images.astype(np.uint8), options=options)
    with av.open(str(path)) as container:
        starts = [packet.pos for packet in container.demux(video=0) if packet.size and packet.is_keyframe]
    tables = 3 * 188  # of which programmes and streams there are
    second = path.read_bytes()[starts[2] :]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(path.read_bytes() + path.read_bytes()[:tables] + second)
    with av.open(str(joined)) as container:
        stamps = [frame.pts for frame in container.decode(video=0)]
    assert sum(after < before for before, after in itertools.pairwise(stamps)) > 1
    reader, planes = normalised(joined)
    assert len(planes) == len(stamps) == reader.num_source_frames
    assert reader.damage is None


def test_frames_that_have_no_time_stamps_yet_are_kept(tmp_path, mp4):
    path = tmp_path / "early.mkv"
    with av.open(str(mp4)) as source, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts, packet.dts = (stamp - round(0.4 / packet.time_base) for stamp in (packet.pts, packet.dts))
                packet.stream = stream
                target.mux(packet)
    with av.open(str(path)) as container:
        stamps = [frame.pts for frame in container.decode(video=0)]
    assert 5 < stamps.count(None) < NUM_FRAMES
    assert greys(normalised(path)[1]) == list(range(NUM_FRAMES))


def test_header_that_claims_four_hours_is_not_believed(tmp_path, mp4):
    data = bytearray(mp4.read_bytes())
    for box, offset in ((b"mvhd", 16), (b"mdhd", 16), (b"tkhd", 20)):
        at = data.index(box) + 4 + offset
        scale = struct.unpack_from(">I", data, data.index(b"mdhd" if box == b"mdhd" else b"mvhd") + 16)[0]
        struct.pack_into(">I", data, at, 4 * 3600 * scale)
    path = tmp_path / "liar.mp4"
    path.write_bytes(data)
    assert measured(path).duration_s == pytest.approx(1.0, abs=0.05)
    assert greys(normalised(path)[1]) == list(range(NUM_FRAMES))


def test_header_of_zero_frames_per_second_is_not_believed(tmp_path):
    data = bytearray(write_video(tmp_path / "ok.avi", grey_ramp(), codec="mpeg4").read_bytes())
    struct.pack_into("<I", data, data.index(b"avih") + 8, 0)
    struct.pack_into("<I", data, data.index(b"strh") + 8 + 24, 0)
    path = tmp_path / "zero.avi"
    path.write_bytes(data)
    info = measured(path)
    assert 1 <= info.fps <= 60
    assert greys(normalised(path)[1]) == list(range(NUM_FRAMES))


def test_frame_rate_that_no_video_has_is_rejected(tmp_path):
    times_s = [index * 20.0 for index in range(4)]
    path = write_video(tmp_path / "slow.mp4", grey_ramp(4), times_s=times_s)
    assert reason_of(path) == Reason.BAD_FRAME_RATE
