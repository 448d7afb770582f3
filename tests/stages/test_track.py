"""The stage track on films of coloured squares."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

from tests.fakes import ColourDetector, ColourTracker, make_clip, squares_film
from vpdata.config import fill
from vpdata.errors import ConfigError, Reason
from vpdata.media.masks import decode_masks
from vpdata.records import Detection
from vpdata.stages.base import Rejected
from vpdata.stages.detect import Detect, DetectSettings
from vpdata.stages.track import Track, TrackSettings, seed_of

RED = [(4 + frame, 10, 28 + frame, 40) for frame in range(24)]
BLUE = [None] * 12 + [(60, 30, 84, 56)] * 12


def ready(stage):
    stage.setup()
    return stage


def detected_clip(film, **options):
    record, data = make_clip(film, **options)
    stage = ready(Detect(DetectSettings(), detector=ColourDetector))
    (result,) = stage.process_many(iter([stage.prepare(record, data)]))
    return result.record, data


def tracked(*clips, settings=None, tracker=ColourTracker):
    stage = ready(Track(settings or TrackSettings(), tracker=tracker))
    return list(stage.process_many(iter([stage.prepare(record, data) for record, data in clips])))


def mean_iou(track, boxes):
    masks = decode_masks(track.masks, height_px=64, width_px=96)
    ious = []
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        true = np.zeros_like(mask)
        true[y0:y1, x0:x1] = True
        ious.append((mask & true).sum() / (mask | true).sum())
    return float(np.mean(ious))


def test_each_object_gets_one_track_over_the_whole_clip():
    (result,) = tracked(detected_clip(squares_film({"red square": RED, "blue square": BLUE})))
    red, blue = sorted(result.record.tracks, key=lambda track: track.label, reverse=True)
    assert {red.id, blue.id} == {1, 2}
    assert (red.label, blue.label) == ("red square", "blue square")
    assert red.coverage_frac == 1.0
    assert mean_iou(red, RED) > 0.9
    assert blue.coverage_frac == 0.5
    assert blue.masks[:12] == (None,) * 12
    assert blue.mean_area_frac == pytest.approx(24 * 26 / (64 * 96), rel=0.1)


def test_tracker_gets_small_frames_and_gives_full_masks():
    tracker = ColourTracker(max_short_side_px=32)
    stage = ready(Track(TrackSettings(), tracker=lambda: tracker))
    inputs = stage.prepare(*detected_clip(squares_film({"red square": RED})))
    assert inputs.frames.shape == (24, 32, 48, 3)
    assert inputs.num_bytes == 24 * 32 * 48 * 3
    (result,) = stage.process_many(iter([inputs]))
    assert mean_iou(result.record.tracks[0], RED) > 0.8


def test_clip_whose_objects_cannot_be_held_is_rejected():
    record, data = detected_clip(squares_film({"red square": RED}))
    nowhere = Detection(frame=6, box=(70.0, 40.0, 90.0, 60.0), label="red square", score=0.9)
    (outcome,) = tracked((dataclasses.replace(record, detections=(nowhere,)), data))
    assert isinstance(outcome, Rejected)
    assert (outcome.reject.reason, outcome.reject.stage) == (Reason.NO_TRACKS, "track")
    assert outcome.reject.got == "0 tracks from 1 detections"


def test_seed_is_the_same_for_a_clip_and_differs_between_clips():
    assert seed_of("00ff-0-1000") == seed_of("00ff-0-1000")
    assert len({seed_of(f"00ff-0-{number}") for number in range(100)}) == 100
    assert all(0 <= seed_of(str(number)) < 2**31 for number in range(100))


def test_embedded_tracker_follows_the_squares():
    stage = ready(Track(TrackSettings()))
    inputs = stage.prepare(*detected_clip(squares_film({"red square": RED})))
    (result,) = stage.process_many(iter([inputs]))
    assert [track.label for track in result.record.tracks] == ["red square"]
    assert mean_iou(result.record.tracks[0], RED) > 0.7


def test_stage_pickles_before_setup():
    stage = pickle.loads(pickle.dumps(Track(TrackSettings())))
    assert [card.role for card in stage.models] == ["mask_tracker"]
    assert "resources" not in stage.identity["settings"]


@pytest.mark.parametrize("wrong", [{"max_objects": 0}, {"merge_iou": 1.5}, {"max_rounds": 0}, {"cover_iou": -1.0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        fill(TrackSettings, wrong, where="track")
