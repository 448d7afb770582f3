import dataclasses
import typing

import pytest

from tests.records import make_record, make_track
from vpdata.config import fill, to_plain
from vpdata.errors import ConfigError, Reason
from vpdata.records import ScoreName, Track
from vpdata.stages.rule_table import RULES, Bounds
from vpdata.stages.rules import FilterSettings, judge, loosened

DEFAULTS = FilterSettings()


def reasons(record, settings=DEFAULTS, after=None):
    return [(reject.reason, reject.track) for reject in judge(record, settings, after=after).rejects]


def test_ordinary_footage_passes_unchanged():
    record = make_record()
    judged = judge(record, DEFAULTS, after=None)
    assert judged.record is record
    assert judged.rejects == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scores": {"exposure": 0.01}}, Reason.EXPOSURE),
        ({"scores": {"exposure": 0.99}}, Reason.EXPOSURE),
        ({"scores": {"contrast": 0.01}}, Reason.CONTRAST),
        ({"scores": {"black_border_frac": 0.24}}, Reason.BLACK_BORDERS),
        ({"scores": {"sharpness": 0.001}}, Reason.SHARPNESS),
        ({"scores": {"static_frac": 0.9}}, Reason.STATIC),
        ({"scores": {"motion": 0.0001}}, Reason.MOTION),
        ({"scores": {"camera_motion": 0.8}}, Reason.CAMERA_MOTION),
        ({"scores": {"caption_words": 3.0}}, Reason.CAPTION_LENGTH),
        ({"scores": {"caption_words": 900.0}}, Reason.CAPTION_LENGTH),
        ({"scores": {"caption_repetition_frac": 0.8}}, Reason.CAPTION_REPETITION),
        ({"duration_s": 12.0}, Reason.DURATION),
    ],
)
def test_default_rules_drop_a_bad_clip_for_its_reason(changes, reason):
    judged = judge(make_record(**changes), DEFAULTS, after=None)
    assert judged.record is None
    assert [reject.reason for reject in judged.rejects] == [reason]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"area": 0.005}, Reason.TRACK_AREA),
        ({"area": 0.8}, Reason.TRACK_AREA),
        ({"coverage": 0.2}, Reason.TRACK_COVERAGE),
        ({"change": 0.25}, Reason.TRACK_AREA_CHANGE),
        ({"stability": 0.3}, Reason.TRACK_STABILITY),
    ],
)
def test_default_rules_drop_a_bad_track_and_keep_the_clip(bad, reason):
    record = make_record(tracks=(make_track(1, **bad), make_track(2)))
    judged = judge(record, DEFAULTS, after=None)
    assert [(reject.reason, reject.track) for reject in judged.rejects] == [(reason, 1)]
    assert judged.record is not None
    assert [track.id for track in judged.record.tracks or ()] == [2]
    assert [caption.scope for caption in judged.record.captions or ()] == [None, 2]


def test_published_bounds_are_the_defaults():
    assert DEFAULTS.bounds("track_area_change") == Bounds(max=0.2)
    assert DEFAULTS.bounds("duration") == Bounds(max=10.0)
    assert DEFAULTS.bounds("track_area") == Bounds(min=0.01, max=0.7)
    assert DEFAULTS.bounds("track_coverage") == Bounds(min=0.3)


def test_clip_that_loses_its_last_track_is_dropped_after_its_tracks():
    record = make_record(tracks=(make_track(1, area=0.001), make_track(2, change=0.9)))
    judged = judge(record, DEFAULTS, after="track")
    assert judged.record is None
    assert reasons(record, after="track") == [
        (Reason.TRACK_AREA, 1),
        (Reason.TRACK_AREA_CHANGE, 2),
        (Reason.NO_TRACKS, None),
    ]
    assert (judged.rejects[-1].got, judged.rejects[-1].wanted) == ("0 of 2 tracks passed", "at least 1")


def test_tracks_are_counted_after_the_bad_ones_are_dropped():
    settings = FilterSettings(rules={"num_tracks": {"min": 2}})
    record = make_record(tracks=(make_track(1, area=0.001), make_track(2)))
    assert reasons(record, settings) == [(Reason.TRACK_AREA, 1), (Reason.NUM_TRACKS, None)]


def test_only_the_rules_of_the_stage_just_run_are_applied():
    bad = make_record(scores={"motion": 0.0, "caption_words": 1.0}, tracks=(make_track(area=0.0),))
    assert reasons(bad, after="cut") == [(Reason.MOTION, None)]
    assert reasons(bad, after="detect") == []
    assert reasons(bad, after="track") == [(Reason.TRACK_AREA, 1), (Reason.NO_TRACKS, None)]
    assert reasons(bad, after="caption") == [(Reason.CAPTION_LENGTH, None)]


def test_rules_of_a_stage_need_only_what_the_stages_so_far_have_filled():
    fresh = dataclasses.replace(make_record(unmeasured=("caption_words", "caption_repetition_frac")), tracks=None)
    assert judge(fresh, DEFAULTS, after="cut").record is fresh


@pytest.mark.parametrize("changes", [{"scores": {"motion": 0.0}}, {"tracks": (make_track(area=0.0),)}, {}])
def test_judging_late_gives_the_same_reasons_as_judging_early(changes):
    record = make_record(**changes)
    early, current = [], record
    for stage in ("cut", "detect", "track", "caption"):
        judged = judge(current, DEFAULTS, after=stage)
        early += judged.rejects
        if judged.record is None:
            break
        current = judged.record
    late = judge(record, DEFAULTS, after=None)
    assert [dataclasses.replace(one, stage="filter") for one in early] == list(late.rejects)


def test_reject_says_what_was_got_and_wanted_and_where_to_find_the_clip():
    record = make_record(3, scores={"motion": 0.12})
    (reject,) = judge(record, FilterSettings(rules={"motion": {"min": 0.3}}), after="cut").rejects
    assert (reject.got, reject.wanted) == ("motion 0.12", "at least 0.3")
    assert (reject.stage, reject.id, reject.uri) == ("cut", record.id, "dogs/3.mp4")
    assert (reject.start_s, reject.stop_s, reject.video_id) == (0.0, 8.0, record.clip.video.id)


def test_value_that_would_round_to_its_bound_is_shown_in_full():
    (reject,) = judge(make_record(scores={"static_frac": 0.500001}), DEFAULTS, after="cut").rejects
    assert reject.got == "static 0.500001"


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_score_that_could_not_be_computed_has_its_own_reason(missing):
    (reject,) = judge(make_record(scores={"motion": missing}), DEFAULTS, after="cut").rejects
    assert (reject.reason, reject.got, reject.wanted) == (Reason.SCORE_FAILED, "no motion", "at least 0.0005")


def test_missing_score_of_a_rule_that_is_off_does_no_harm():
    settings = FilterSettings(rules={"motion": None})
    assert reasons(make_record(scores={"motion": None, "object_motion": None}), settings) == []


def test_score_that_nobody_measures_is_an_error_that_names_the_way_out():
    with pytest.raises(ConfigError, match=r"'motion'.*no model measures.*filter\.rules\.motion: null"):
        judge(make_record(unmeasured=("motion",)), DEFAULTS, after="cut")


def test_bounds_are_inclusive():
    settings = FilterSettings(rules={"motion": {"min": 0.3, "max": 0.4}})
    assert reasons(make_record(scores={"motion": 0.3}), settings) == []
    assert reasons(make_record(scores={"motion": 0.4}), settings) == []


def test_end_that_is_not_given_has_its_default_and_null_opens_it():
    settings = fill(FilterSettings, {"rules": {"exposure": {"max": 0.8}, "track_area": {"max": None}, "motion": None}})
    assert settings.bounds("exposure") == Bounds(min=0.05, max=0.8)
    assert settings.bounds("track_area") == Bounds(min=0.01)
    assert settings.bounds("motion").are_open


def test_settings_hold_every_rule_and_survive_a_run_file():
    settings = fill(FilterSettings, {"rules": {"caption_length": {"min": 5}}})
    plain = to_plain(settings)
    assert list(plain["rules"]) == [rule.name for rule in RULES]
    assert plain["rules"]["caption_length"] == {"min": 5.0, "max": 300.0}
    assert fill(FilterSettings, plain) == settings
    assert repr(to_plain(FilterSettings(rules={"caption_length": {"min": 5}}))) == repr(plain)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"moton": {"min": 1}}, "unknown rule 'moton', did you mean 'motion'"),
        ({"motion": {"minimum": 1}}, "unknown setting rules.motion.minimum, wanted min or max"),
        ({"motion": {"min": 2, "max": 1}}, "min 2 above max 1"),
        ({"motion": {"min": float("nan")}}, "rules.motion.min: got nan"),
        ({"motion": {"min": "0.3"}}, "filter.rules.motion.min: got '0.3'"),
        ({"motion": 0.3}, "filter.rules.motion: got 0.3"),
    ],
)
def test_wrong_settings_are_refused_by_name(rules, message):
    with pytest.raises(ConfigError, match=message):
        fill(FilterSettings, {"rules": rules}, where="filter")


def test_loosened_rules_are_named_for_their_stage_only():
    old = FilterSettings(rules={"motion": {"min": 0.3}, "caption_length": {"min": 20}})
    new = FilterSettings(rules={"motion": {"min": 0.2}, "caption_length": {"min": 10}, "sharpness": {"min": 0.5}})
    assert loosened(old, new, after="cut") == ["motion: at least 0.3 became at least 0.2"]
    assert loosened(old, new, after="caption") == ["caption_length: 20 to 300 became 10 to 300"]
    assert loosened(old, new, after="track") == []


@pytest.mark.parametrize(
    ("new", "is_looser"),
    [
        (Bounds(min=1.0, max=2.0), False),
        (Bounds(min=1.1, max=1.9), False),
        (Bounds(min=0.9, max=1.5), True),
        (Bounds(min=1.5, max=2.5), True),
        (Bounds(min=1.0), True),
        (Bounds(), True),
    ],
)
def test_looser_bounds_let_something_through_that_did_not_pass(new, is_looser):
    assert new.are_looser_than(Bounds(min=1.0, max=2.0)) is is_looser


def test_every_rule_has_a_reason_and_reads_a_number_that_exists():
    clip_measures = {"duration_s", "num_tracks", *typing.get_args(ScoreName)}
    track_measures = {f"track.{item.name}" for item in dataclasses.fields(Track)}
    for rule in RULES:
        assert Reason(rule.name) is rule.reason
        assert rule.measure in (track_measures if rule.scope == "track" else clip_measures)
        assert rule.why
