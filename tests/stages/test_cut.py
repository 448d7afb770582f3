from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from benchmark.footage import write_video
from vpdata.config import fill
from vpdata.errors import ConfigError, Reason, RejectItem
from vpdata.media.clips import ClipReader, ClipSettings
from vpdata.records import Source, video_id
from vpdata.stages.base import Rejected, Result
from vpdata.stages.cut import Cut, CutSettings

FPS = 10
NUM_PHASHES = 8


class MarkedShots:
    """A ShotDetector for footage whose shots differ in their red channel; it answers `lag` frames late."""

    def __init__(self, lag: int = 3) -> None:
        self.lag = lag

    def frame_size(self, width_px: int, height_px: int) -> tuple[int, int]:
        return 8, 8

    def shot_starts(self, frames: Iterator[np.ndarray], fps: Fraction) -> Iterator[bool]:
        answers: list[bool] = []
        before: float | None = None
        for image in frames:
            red = float(image[..., 2].mean())
            answers.append(before is None or abs(red - before) > 15)
            before = red
            if len(answers) > self.lag:
                yield answers.pop(0)
        yield from answers


class CountingScorer:
    """A Scorer that says what it was given."""

    sample_fps = 5.0
    max_short_side_px = 32

    def score(self, frames: np.ndarray, *, fps: float) -> dict:
        assert frames.shape[1:] == (32, 48, 3)
        return {"motion": float(len(frames)), "exposure": fps}


def shots_of(*num_frames: int, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    """uint8 [T, H, W, 3] RGB: per shot a red level of its own; green bars spell the frame's index in binary."""
    frames = []
    for shot, count in enumerate(num_frames):
        for index in range(count):
            image = np.zeros((*size, 3), np.uint8)
            image[..., 0] = 40 + 60 * (shot % 4)
            image[..., 1] = np.unpackbits(np.uint8(index)).repeat(size[1] // 8) * 200
            frames.append(image)
    return np.stack(frames)


def cut(path: Path, *, lag: int = 3, maker=CountingScorer, **settings) -> list[Result | Rejected]:
    stage = Cut(CutSettings(**{"min_s": 2.0, "max_s": 5.0, **settings}), shots=lambda: MarkedShots(lag), scorer=maker)
    stage.setup()
    source = Source(id=video_id(path.name), uri=path.name, licence="CC0", attribution="A. Author", caption="a caption")
    return list(stage.process_many(iter([stage.prepare(source, path)])))


def clips_of(outcomes) -> list:
    return [outcome.record.clip for outcome in outcomes if isinstance(outcome, Result)]


def rejects_of(outcomes) -> list:
    return [outcome.reject for outcome in outcomes if isinstance(outcome, Rejected)]


def indices(result: Result) -> list[int]:
    """The bars of every frame, read back."""
    bars = ClipReader(result.members["mp4"]).read()[..., 1].mean(axis=1).reshape(-1, 8, 12).mean(axis=2)
    return np.packbits(bars > 100, axis=1).ravel().tolist()


@pytest.fixture
def video(tmp_path) -> Path:
    return write_video(tmp_path / "video.mp4", shots_of(30, 120, 15), fps=FPS)


@pytest.mark.parametrize("lag", [0, 3, 40])
def test_shots_become_clips_and_what_is_too_short_is_named(video, lag):
    outcomes = cut(video, lag=lag)
    assert [(c.shot, c.start_s, c.stop_s, c.num_frames, c.fps) for c in clips_of(outcomes)] == [
        (0, 0.0, 3.0, 30, 10),
        (1, 3.0, 8.0, 50, 10),
        (1, 8.0, 13.0, 50, 10),
        (1, 13.0, 15.0, 20, 10),
    ]
    assert {(c.shot, c.shot_start_s, c.shot_stop_s) for c in clips_of(outcomes)} == {(0, 0.0, 3.0), (1, 3.0, 15.0)}
    (short,) = rejects_of(outcomes)
    assert (short.reason, short.start_s, short.stop_s) == (Reason.TOO_SHORT, 15.0, 16.5)
    assert (short.got, short.wanted, short.stage) == ("1.500 s", "at least 2 s", "cut")


def test_every_clip_holds_exactly_its_frames(video):
    results = [outcome for outcome in cut(video) if isinstance(outcome, Result)]
    assert [indices(result) for result in results] == [
        [*range(30)],
        [*range(50)],
        [*range(50, 100)],
        [*range(100, 120)],
    ]


def test_remainder_of_a_long_shot_is_rejected_with_its_span(tmp_path):
    path = write_video(tmp_path / "video.mp4", shots_of(60), fps=FPS)
    outcomes = cut(path)
    assert [(clip.start_s, clip.stop_s, clip.shot_stop_s) for clip in clips_of(outcomes)] == [(0.0, 5.0, 6.0)]
    (rest,) = rejects_of(outcomes)
    assert (rest.reason, rest.start_s, rest.stop_s) == (Reason.TOO_SHORT, 5.0, 6.0)
    assert rest.id == f"{video_id('video.mp4')}-5000-6000"


def test_clip_at_video_end_keeps_last_frame(tmp_path):
    path = write_video(tmp_path / "video.mp4", shots_of(30), fps=FPS)
    (result,) = cut(path)
    assert indices(result)[-1] == 29


def test_record_tells_the_video_the_clip_and_its_bytes(video):
    result = cut(video)[0]
    clip, data = result.record.clip, result.members["mp4"]
    assert result.item_id == clip.video.id == video_id("video.mp4")
    assert result.record.id == clip.id == f"{clip.video.id}-0-3000"
    assert clip.sha256 == hashlib.sha256(data).hexdigest()
    assert clip.video.content_hash == hashlib.sha256(video.read_bytes()).hexdigest()
    assert (clip.video.size_bytes, clip.video.codec) == (video.stat().st_size, "h264")
    assert (clip.video.num_frames, clip.video.duration_s, clip.video.fps) == (165, 16.5, 10)
    assert (clip.video.width_px, clip.video.height_px, clip.width_px, clip.height_px) == (96, 64, 96, 64)
    assert (clip.video.licence, clip.video.attribution, clip.video.caption) == ("CC0", "A. Author", "a caption")
    assert len(clip.phash) == NUM_PHASHES * 16
    assert int(clip.phash, 16) >= 0


def test_scores_are_measured_on_evenly_spread_samples(video):
    first, second = [outcome for outcome in cut(video) if isinstance(outcome, Result)][:2]
    assert first.record.score("motion") == 15.0, "30 frames at 10 fps, sampled at 5"
    assert second.record.score("motion") == 25.0
    assert first.record.score("exposure") == 5.0


def test_without_a_scorer_there_are_no_scores(video):
    outcomes = cut(video, maker=None, scorer=None)
    assert {outcome.record.scores for outcome in outcomes if isinstance(outcome, Result)} == {()}


def test_same_source_gives_the_same_bytes(video):
    assert cut(video) == cut(video)


def test_large_source_is_scaled_to_the_clip_size(tmp_path):
    path = write_video(tmp_path / "video.mp4", shots_of(30, size=(128, 192)), fps=FPS)
    (clip,) = clips_of(cut(path, clip=ClipSettings(short_side_px=64)))
    assert (clip.width_px, clip.height_px) == (96, 64)
    assert (clip.video.width_px, clip.video.height_px) == (192, 128)


def test_truncated_source_keeps_the_clips_before_the_damage_and_names_it(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 64, 96, 3), np.uint8)
    whole = write_video(tmp_path / "whole.avi", noise, fps=FPS, codec="mpeg4")
    path = tmp_path / "cut.avi"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    outcomes = cut(path, lag=0)
    (clip,) = clips_of(outcomes)
    reject = rejects_of(outcomes)[-1]
    assert 30 <= clip.num_frames == clip.video.num_frames <= 45
    assert (reject.reason, reject.id, reject.start_s) == (Reason.DECODE_ERROR, clip.video.id, clip.stop_s)
    assert "ends in the middle" in reject.detail


def test_no_clip_ends_behind_a_video_that_lost_frames(tmp_path):
    path = tmp_path / "lost.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height = 96, 64
        for index, image in enumerate(shots_of(30)):
            if index % 12 != 11:
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, FPS)
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (clip,) = clips_of(cut(path))
    assert (clip.stop_s, clip.num_frames) == (3.0, 30)
    assert (clip.video.duration_s, clip.video.num_frames, clip.video.fps) == (3.0, 28, FPS)


def test_video_of_one_frame_is_a_still_picture(tmp_path):
    (reject,) = rejects_of(cut(write_video(tmp_path / "one.mp4", shots_of(1), fps=FPS)))
    assert (reject.reason, reject.got, reject.start_s) == (Reason.STILL_PICTURE, "1 frame", None)


def test_bad_source_is_rejected_before_anything_is_decoded(tmp_path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(RejectItem) as caught:
        cut(tmp_path / "empty.mp4")
    assert caught.value.reason == Reason.EMPTY_FILE


def test_source_that_vanishes_while_it_waits_spoils_no_other(video, tmp_path):
    stage = Cut(CutSettings(min_s=2.0, max_s=5.0), shots=MarkedShots, scorer=CountingScorer)
    stage.setup()
    gone = tmp_path / "gone.mp4"
    gone.write_bytes(video.read_bytes())
    inputs = [stage.prepare(Source(id=path.stem, uri=path.name), path) for path in (gone, video)]
    gone.unlink()
    outcomes = list(stage.process_many(iter(inputs)))
    assert [reject.reason for reject in rejects_of(outcomes)] == [Reason.SOURCE_GONE, Reason.TOO_SHORT]
    assert {clip.video.id for clip in clips_of(outcomes)} == {"video"}


def test_fractional_rates_never_pass_the_longest_clip(tmp_path):
    path = write_video(tmp_path / "video.mp4", shots_of(100), fps=Fraction(30000, 1001))
    clips = clips_of(cut(path, min_s=1.0, max_s=1.5))
    assert [clip.num_frames for clip in clips] == [44, 44]
    assert clips[1].start_s == pytest.approx(44 * 1001 / 30000)


def test_bounds_count_the_frames_that_they_say(tmp_path):
    # 2.2 * 25 is over 55 in floating point, and 1.16 * 25 under 29.
    path = write_video(tmp_path / "video.mp4", shots_of(55), fps=25)
    assert [clip.num_frames for clip in clips_of(cut(path, min_s=2.2))] == [55]
    assert [clip.num_frames for clip in clips_of(cut(path, min_s=0.5, max_s=1.16))] == [29, 26]


def test_real_models_work_in_place(video):
    stage = Cut(CutSettings(min_s=2.0, max_s=5.0))
    stage.setup()
    inputs = stage.prepare(Source(id="a", uri="a.mp4"), video)
    record = next(o.record for o in stage.process_many(iter([inputs])) if isinstance(o, Result))
    assert record.score("exposure") is not None
    assert {card.role for card in stage.models} == {"shot_detector", "scorer"}


def test_stage_travels_to_its_worker():
    settings = CutSettings(min_s=2.0, max_s=5.0)
    assert pickle.loads(pickle.dumps(Cut(settings))).settings == settings


def test_identity_covers_what_changes_the_result_and_nothing_else():
    base = Cut(CutSettings()).identity
    assert Cut(fill(CutSettings, {"resources": {"cpus": 2}})).identity == base
    assert Cut(fill(CutSettings, {"clip": {"crf": 20}})).identity != base
    assert (
        Cut(fill(CutSettings, {"shot_detector": {"name": "scenedetect", "options": {"min_shot_s": 1}}})).identity
        != base
    )


@pytest.mark.parametrize(
    "values", [{"min_s": 11.0}, {"min_s": 0.0}, {"max_pixels": 0}, {"shot_detector": {"name": "senedetect"}}]
)
def test_wrong_settings_are_refused(values):
    with pytest.raises(ConfigError):
        Cut(fill(CutSettings, values, where="cut"))


def test_clip_file_opens_in_any_player(video):
    with av.open(io.BytesIO(cut(video)[0].members["mp4"])) as container:
        assert [stream.type for stream in container.streams] == ["video"]
