"""The stage detect on films of coloured squares."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.fakes import ColourDetector, make_clip, squares_film
from vpdata.config import ModelChoice, fill
from vpdata.errors import ConfigError, Reason, RejectItem
from vpdata.models.ports import Box
from vpdata.stages import rules
from vpdata.stages.base import Rejected, Resources
from vpdata.stages.detect import Detect, DetectSettings

RED = [(4 + frame, 10, 28 + frame, 40) for frame in range(24)]
BLUE = [None] * 12 + [(60, 30, 84, 56)] * 12


def ready(stage):
    stage.setup()
    return stage


def detected(*clips, settings=None, detector=ColourDetector):
    stage = ready(Detect(settings or DetectSettings(), detector=detector))
    return list(stage.process_many(iter([stage.prepare(record, data) for record, data in clips])))


def test_every_key_frame_has_the_boxes_of_what_is_there():
    (result,) = detected(make_clip(squares_film({"red square": RED, "blue square": BLUE})))
    found = {(one.frame, one.label): one.box for one in result.record.detections}
    assert set(found) == {(6, "red square"), (18, "red square"), (18, "blue square")}
    assert found[6, "red square"] == pytest.approx(RED[6], abs=2)
    assert found[18, "blue square"] == pytest.approx(BLUE[18], abs=2)


def test_clip_without_objects_is_rejected():
    record, data = make_clip(squares_film({"red square": [None] * 12}))
    (outcome,) = detected((record, data))
    assert isinstance(outcome, Rejected)
    reject = outcome.reject
    assert (outcome.item_id, reject.id, reject.stage) == (record.id, record.id, "detect")
    assert reject.reason is Reason.NO_DETECTIONS
    assert (reject.start_s, reject.stop_s, reject.uri) == (0.0, 1.0, "film.mp4")


def test_context_is_clamped_to_the_clip():
    class Looker(ColourDetector):
        context_s = (-0.5, 0.25)

    film = squares_film({"red square": RED[:8]})
    stage = ready(Detect(DetectSettings(interval_s=0.25), detector=Looker))
    inputs = stage.prepare(*make_clip(film))
    assert inputs.frames == (1, 4, 6)
    wanted = [(0, 4), (0, 7), (0, 7)]
    for context, frames in zip(inputs.contexts, wanted, strict=True):
        assert context.shape == (2, *film.shape[1:])
        # The encoder changes values a little, and neighbouring frames differ by a whole column of the square.
        assert np.abs(context.astype(int) - film[list(frames)]).mean() < 4
    assert inputs.num_bytes == film[0].nbytes * (3 + 3 * 2)


def test_key_frames_of_several_clips_share_a_batch():
    detector = ColourDetector()
    clips = [make_clip(squares_film({"red square": RED}), name=f"{number}.mp4") for number in range(3)]
    results = detected(*clips, settings=DetectSettings(detector_batch_size=4), detector=lambda: detector)
    assert detector.batch_sizes == [4, 2]
    assert [result.item_id for result in results] == [record.id for record, _ in clips]
    alone = [detected(clip)[0] for clip in clips]
    assert results == alone


def test_labels_of_the_tagger_reach_the_detector():
    film = squares_film({"red square": RED, "blue square": [(60, 30, 84, 56)] * 24})
    tagger = ModelChoice(name="fixed", options={"labels": ["blue square"]})
    (result,) = detected(make_clip(film), settings=DetectSettings(tagger=tagger))
    assert {one.label for one in result.record.detections} == {"blue square"}
    assert result.record.tags == ("blue square",)


def test_tags_are_kept_in_the_tagger_s_order_found_or_not():
    tagger = ModelChoice(name="fixed", options={"labels": ["red square", "zebra", "blue square"]})
    (result,) = detected(make_clip(squares_film({"red square": RED})), settings=DetectSettings(tagger=tagger))
    assert {one.label for one in result.record.detections} == {"red square"}
    assert result.record.tags == ("red square", "zebra", "blue square")


def test_reject_says_what_was_looked_for():
    film = squares_film({"red square": [None] * 12})
    labels = [f"animal {number}" for number in range(300)]
    for tags, sought in ((["dog", "cat"], "dog, cat"), ([], "everything"), (labels, "animal 0, animal 1,")):
        tagger = ModelChoice(name="fixed", options={"labels": tags})
        (outcome,) = detected(make_clip(film), settings=DetectSettings(tagger=tagger))
        assert f"looked for {sought}" in outcome.reject.detail
        assert len(outcome.reject.detail) < 300


def test_weak_and_surplus_detections_are_left_out():
    film = squares_film({"red square": RED, "blue square": [(60, 30, 84, 56)] * 24})
    (best,) = detected(make_clip(film), settings=DetectSettings(max_detections_per_frame=1))
    assert len(best.record.detections) == 2
    film[:, 2:8, 80:90] = (220, 30, 30)  # now the box around all that is red is mostly ground
    (strong,) = detected(make_clip(film), settings=DetectSettings(min_score=0.6))
    assert {one.label for one in strong.record.detections} == {"blue square"}


class Busy(ColourDetector):
    """Sees 500 things on every key frame."""

    def _boxes(self, key_frame):
        return [Box(box=(number / 10, 2.0, number / 10 + 5, 9.0), label="thing", score=0.9) for number in range(500)]


def test_of_500_boxes_the_best_are_kept_and_that_is_logged(caplog):
    (outcome,) = detected(make_clip(squares_film({"red square": RED})), detector=Busy)
    on_frames = Counter(one.frame for one in outcome.record.detections)
    assert on_frames
    assert set(on_frames.values()) == {20}
    assert "up to 500 objects on a key frame; the best 20 are kept" in caplog.text


class Sloppy(ColourDetector):
    """Adds boxes that hold nothing."""

    def _boxes(self, key_frame):
        nothing = [(9.0, 9.0, 9.0, 20.0), (9.0, 9.0, 4.0, 20.0), (math.nan, 0.0, 9.0, 9.0)]
        return [*(Box(box=box, label="nothing", score=0.9) for box in nothing), *super()._boxes(key_frame)]


def test_boxes_without_area_are_left_out_and_that_is_logged(caplog):
    clip = make_clip(squares_film({"red square": RED}))
    (outcome,), (wanted,) = detected(clip, detector=Sloppy), detected(clip)
    assert outcome.record.detections == wanted.record.detections
    assert "left out 6 boxes without area" in caplog.text


def test_clip_that_the_detector_refuses_spoils_no_other():
    class Choosy(ColourDetector):
        def detect(self, key_frames):
            if any(has_blue(one.image) for one in key_frames):
                raise RejectItem(Reason.GPU_MEMORY, "too blue")
            return super().detect(key_frames)

    def has_blue(image):
        return bool((image[..., 2].astype(int) - image[..., 0] > 100).any())

    good = make_clip(squares_film({"red square": RED}), name="red.mp4")
    bad = make_clip(squares_film({"blue square": [(60, 30, 84, 56)] * 24}), name="blue.mp4")
    outcomes = detected(good, bad, good, detector=Choosy)
    assert [isinstance(outcome, Rejected) for outcome in outcomes] == [False, True, False]
    assert outcomes[1].reject.reason is Reason.GPU_MEMORY


def test_clip_whose_tags_are_unusable_is_rejected_without_asking_for_the_others_again():
    sizes = []

    class Stammerer:
        def tags(self, clips):
            sizes.append(len(clips))
            labels = [("red square",)] * len(clips)
            return [labels[0], RejectItem(Reason.TAGS_FAILED, "no list"), *labels[2:]]

    clips = [make_clip(squares_film({"red square": RED}), name=f"{number}.mp4") for number in range(4)]
    stage = ready(Detect(DetectSettings(), tagger=Stammerer, detector=ColourDetector))
    outcomes = list(stage.process_many(iter([stage.prepare(*clip) for clip in clips])))
    assert [isinstance(outcome, Rejected) for outcome in outcomes] == [False, True, False, False]
    assert outcomes[1].reject.reason is Reason.TAGS_FAILED
    assert sizes == [4]


def test_clip_without_tags_is_rejected_as_that_where_the_detector_has_no_labels_of_its_own():
    class Blind:
        def tags(self, clips):
            return [("red square",) if len(frames) > 1 else () for frames in clips]

    class Told(ColourDetector):
        has_own_labels = False

    clips = [make_clip(squares_film({"red square": RED[:num]}), name=f"{num}.mp4") for num in (12, 24)]
    for detector, wanted in ((Told, Reason.NO_TAGS), (ColourDetector, None)):
        stage = ready(Detect(DetectSettings(), tagger=Blind, detector=detector))
        untagged, tagged = stage.process_many(iter([stage.prepare(*clip) for clip in clips]))
        assert not isinstance(tagged, Rejected)
        assert (untagged.reject.reason if isinstance(untagged, Rejected) else None) == wanted
    stage = ready(Detect(DetectSettings(), tagger=Blind, detector=Told))
    (untagged,) = stage.process_many(iter([stage.prepare(*clips[0])]))
    assert (untagged.reject.got, untagged.reject.stage) == ("0 tags", "detect")
    assert "the tagger 'fixed' named nothing" in untagged.reject.detail


BRIGHT_ONLY = {"rules": {"exposure": {"min": 0.3}}}


def test_clip_has_its_scores_beside_its_detections():
    settings = DetectSettings(scorers=(ModelChoice(name="embedded"),))
    (result,) = detected(make_clip(squares_film({"red square": RED})), settings=settings)
    assert result.record.score("motion") > 0
    assert result.record.detections


def test_clips_that_threads_prepare_at_once_have_the_scores_of_each_alone():
    boxes = [(4, 10, 28, 40)] * 12
    clips = [make_clip(squares_film({"red square": RED[n:] + boxes}), name=f"{n}.mp4") for n in range(8)]
    stage = ready(Detect(DetectSettings(scorers=(ModelChoice(name="embedded"),)), detector=ColourDetector))
    with ThreadPoolExecutor(4) as threads:
        prepared = list(threads.map(lambda clip: stage.prepare(*clip), clips))
    alone = [stage.prepare(*clip).record for clip in clips]
    assert [one.record for one in prepared] == alone
    assert len({record.score("motion") for record in alone}) == 8


def test_clip_that_the_rules_drop_for_its_scores_is_spared_the_detector(monkeypatch):
    """With a rule moved to where this stage can measure it, since what it has rules for needs large models."""
    exposure = next(rule for rule in rules.RULES if rule.name == "exposure")
    monkeypatch.setattr(rules, "RULES", (dataclasses.replace(exposure, after="detect"),))
    dark = (squares_film({"red square": RED}) // 3, "dark.mp4")
    bright = (squares_film({"red square": RED}), "bright.mp4")
    clips = [make_clip(film, name=name) for film, name in (dark, bright, dark)]
    detector = ColourDetector()
    stage = ready(Detect(DetectSettings(scorers=(ModelChoice(name="embedded"),)), detector=lambda: detector))
    stage.early_rules = fill(rules.FilterSettings, BRIGHT_ONLY)
    outcomes = list(stage.process_many(iter([stage.prepare(record, data) for record, data in clips])))
    assert [outcome.item_id for outcome in outcomes] == [record.id for record, _ in clips]
    assert [isinstance(outcome, Rejected) for outcome in outcomes] == [True, False, True]
    assert outcomes[0].reject.reason is Reason.EXPOSURE
    assert (outcomes[0].reject.stage, outcomes[0].reject.wanted) == ("detect", "0.3 to 0.95")
    assert sum(detector.batch_sizes) == 2  # the two key frames of the bright clip


def test_stage_pickles_before_setup_and_ignores_resources_in_its_identity():
    stage = pickle.loads(pickle.dumps(Detect(DetectSettings())))
    other = Detect(DetectSettings(resources=Resources(cpus=3)))
    assert stage.identity == other.identity
    assert stage.identity != Detect(DetectSettings(interval_s=0.5)).identity
    assert [card.role for card in stage.models] == ["tagger", "detector"]


def test_identity_holds_what_changes_a_result_and_no_more():
    pytest.importorskip("open_clip")
    pytest.importorskip("rapidocr")

    def identity(tagger=None, scorer=None, embedder=None):
        named = {"tagger": ("openclip", tagger), "embedder": ("openclip", embedder)}
        choices = {role: {"name": name, "options": options or {}} for role, (name, options) in named.items()}
        scorers = [{"name": "text_overlay", "options": scorer or {}}]
        stage = Detect(fill(DetectSettings, choices | {"scorers": scorers}))
        return stage.identity, stage.models

    assert identity() == identity(tagger={"cache_folder": "s3://bucket/cache"}, scorer={"num_threads": 2})
    for change in ({"tagger": {"max_tags": 3}}, {"scorer": {"min_score": 0.6}}, {"embedder": {"sample_fps": 2.0}}):
        assert identity() != identity(**change)


def test_detector_that_nobody_tells_what_to_look_for_is_refused():
    with pytest.raises(ConfigError, match=r"tagger.options.labels"):
        fill(DetectSettings, {"detector": {"name": "owlv2"}}, where="detect")
    labels = {"name": "fixed", "options": {"labels": ["dog"]}}
    for tagger in (labels, {"name": "openclip"}):
        assert fill(DetectSettings, {"detector": {"name": "owlv2"}, "tagger": tagger}).detector.name == "owlv2"


@pytest.mark.parametrize("wrong", [{"interval_s": 0.0}, {"min_score": 2.0}, {"detector_batch_size": 0}, {"fps": 1}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        fill(DetectSettings, wrong, where="detect")
