"""Long clips are the shots of the sources, followed as the run followed its clips; what is gone or changed is named."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np
import pytest

from benchmark.footage import film, scene, write_video
from benchmark.split.shots import Shot, ShotCutter
from benchmark.split.unusable import UnusableError
from vpdata.build import BuildConfig
from vpdata.media.clips import ClipReader
from vpdata.media.masks import decode_masks
from vpdata.records import Video, video_id

CONFIG = BuildConfig()
HEIGHT_PX, WIDTH_PX = 120, 212
FIRST, SECOND = (
    scene("plain", seed=seed, num_frames=num, height_px=HEIGHT_PX, width_px=WIDTH_PX, size_frac=0.4)
    for seed, num in ((3, 25), (5, 50))
)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("footage")
    write_video(folder / "two shots.mp4", film([FIRST, SECOND], ["cut"]).frames)
    return folder


def shot_of(folder, *, name="two shots.mp4", max_s=60.0, content_hash=None):
    data = (folder / "two shots.mp4").read_bytes()
    video = Video(
        id=video_id(name), uri=name, size_bytes=len(data), width_px=WIDTH_PX, height_px=HEIGHT_PX, fps=Fraction(25),
        num_frames=75, duration_s=3.0, codec="h264", content_hash=content_hash or hashlib.sha256(data).hexdigest(),
    )  # fmt: skip
    return Shot(video=video, index=1, start_s=1.0, stop_s=3.0, max_s=max_s)


@pytest.mark.slow
def test_shot_is_cut_at_its_frames_and_its_object_followed_to_the_end(footage):
    material = ShotCutter(CONFIG, str(footage)).material(shot_of(footage))
    clip = material.record.clip
    assert (clip.num_frames, clip.fps, clip.id) == (50, 25, f"{video_id('two shots.mp4')}-1000-3000")
    frames = ClipReader(material.mp4, sha256=clip.sha256).read()
    grey = [one.astype(float).mean(axis=3) for one in (frames, SECOND.frames)]
    assert np.abs(grey[0] - grey[1]).mean() < 4
    found = [decode_masks(track.masks, height_px=HEIGHT_PX, width_px=WIDTH_PX) for track in material.record.tracks]
    overlaps = [(one & SECOND.masks[0]).sum() / (one | SECOND.masks[0]).sum() for one in found]
    assert max(overlaps) > 0.8, "the embedded tracker's masks, against those drawn"
    assert {caption.scope for caption in material.record.captions} == {None, *(t.id for t in material.record.tracks)}


def test_long_shot_is_used_up_to_the_limit(footage):
    clip = ShotCutter(CONFIG, str(footage)).material(shot_of(footage, max_s=1.1)).record.clip
    assert (clip.num_frames, clip.start_s, clip.stop_s, clip.shot_stop_s) == (27, 1.0, 2.08, 3.0)


def test_source_that_is_gone_or_changed_is_named(footage):
    cutter = ShotCutter(CONFIG, str(footage))
    with pytest.raises(UnusableError, match="no longer there") as gone:
        cutter.material(shot_of(footage, name="gone.mp4"))
    with pytest.raises(UnusableError, match="other bytes than the run was built from: got SHA-256") as changed:
        cutter.material(shot_of(footage, content_hash="0" * 64))
    assert (gone.value.why, changed.value.why) == ("source_gone", "source_changed")


def test_shot_without_an_object_is_named(footage, tmp_path):
    write_video(tmp_path / "two shots.mp4", np.full((75, HEIGHT_PX, WIDTH_PX, 3), 90, dtype=np.uint8))
    with pytest.raises(UnusableError, match="no_detections: nothing was found") as caught:
        ShotCutter(CONFIG, str(tmp_path)).material(shot_of(tmp_path))
    assert caught.value.why == "not_tracked"
