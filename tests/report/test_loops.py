from __future__ import annotations

import io
from dataclasses import replace

import av
import cv2
import numpy as np

from tests.runs import NUM_FRAMES, encode_clip, make_footage, make_record, make_track
from vpdata.report.loops import loop_span, make_media


def presence(*frames: int, num_frames: int = 10) -> np.ndarray:
    masks = np.zeros((num_frames, 4, 4), dtype=np.bool_)
    masks[list(frames)] = True
    return masks


def test_loop_shows_where_most_objects_are() -> None:
    tracks = [make_track(1, "a", presence(2, 3, 4, 5)), make_track(2, "b", presence(5, 6, 7))]
    # Objects per frame: 0 0 1 1 1 2 1 1 0 0; the first window of three with four of them starts at 3.
    assert loop_span(tracks, num_frames=10, length=3) == range(3, 6)


def test_short_clip_is_shown_whole() -> None:
    assert loop_span([], num_frames=4, length=9) == range(4)


def media(*, with_loop: bool = True, loop_s: float = 1.0, short_side_px: int = 64):
    footage = make_footage(0)
    mp4 = encode_clip(footage.frames)
    record = make_record(0, mp4=mp4, footage=footage)
    shown = make_media(mp4, record, short_side_px=short_side_px, loop_s=loop_s, with_loop=with_loop)
    return footage, shown


def decoded(mp4: bytes) -> np.ndarray:
    with av.open(io.BytesIO(mp4)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_loop_is_the_plain_clip_above_the_masked_one() -> None:
    footage, shown = media()
    assert shown.loop is not None
    loop = decoded(shown.loop)
    # One second at 12 fps, 64 px high twice; both squares are in every frame before the 18th.
    assert loop.shape == (12, 128, 96, 3)
    assert np.abs(loop[:, :60].astype(int) - footage.frames[:12, :60]).mean() < 12
    masked = loop[:, 68:] != loop[:, 4:64]
    far_apart = np.abs(loop[:, 68:].astype(int) - loop[:, 4:64]).max(axis=-1) > 40
    objects = footage.masks["red square"][:12, 4:] | footage.masks["blue square"][:12, 4:]
    assert far_apart[objects].mean() > 0.7
    assert far_apart[~objects].mean() < 0.12
    assert masked.any()


def test_poster_is_the_first_frame_of_the_loop() -> None:
    _, shown = media()
    poster = cv2.imdecode(np.frombuffer(shown.poster, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert shown.loop is not None
    assert np.abs(poster.astype(int) - decoded(shown.loop)[0]).mean() < 12


def test_media_are_equal_for_equal_clips_and_small_ones_are_enlarged() -> None:
    _, first = media(short_side_px=90)
    _, second = media(short_side_px=90)
    assert first == second
    assert first.loop is not None
    assert decoded(first.loop).shape[1:] == (180, 134, 3)


def test_poster_alone_has_no_loop() -> None:
    _, shown = media(with_loop=False)
    assert shown.loop is None
    assert shown.poster


def test_fast_clips_are_shown_at_no_more_than_thirty_frames_a_second() -> None:
    footage = make_footage(0)
    mp4 = encode_clip(footage.frames)
    record = make_record(0, mp4=mp4, footage=footage)
    fast = replace(record, clip=replace(record.clip, fps=record.clip.fps * 5))
    shown = make_media(mp4, fast, short_side_px=64, loop_s=9, with_loop=True)
    assert shown.loop is not None
    assert len(decoded(shown.loop)) == NUM_FRAMES / 2
