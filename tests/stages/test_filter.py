import pickle

from tests.records import make_record, make_track
from vpdata.errors import Reason
from vpdata.records import Verdict
from vpdata.stages.base import Rejected, Result
from vpdata.stages.filter import Filter
from vpdata.stages.rules import FilterSettings


def outcomes(records, settings=None):
    stage = pickle.loads(pickle.dumps(Filter(settings or FilterSettings())))
    stage.setup()
    return list(stage.process_many(stage.prepare(record, b"") for record in records))


def test_kept_clip_gets_its_verdict_and_loses_bad_tracks_only():
    record = make_record(tracks=(make_track(1), make_track(2, area=0.9)))
    dropped_track, kept = outcomes([record])
    assert isinstance(dropped_track, Rejected)
    assert (dropped_track.item_id, dropped_track.reject.track) == (record.id, 2)
    assert isinstance(kept, Result)
    assert kept.record.verdict == Verdict(keep=True)
    assert [track.id for track in kept.record.tracks or ()] == [1]
    assert kept.record.scores == record.scores


def test_dropped_clip_is_a_row_of_the_filter_stage():
    (outcome,) = outcomes([make_record(scores={"motion": 0.0})])
    assert isinstance(outcome, Rejected)
    assert (outcome.reject.stage, outcome.reject.reason) == ("filter", Reason.MOTION)


def test_every_record_is_answered_in_order():
    records = [make_record(0), make_record(1, scores={"exposure": 0.0}), make_record(2)]
    assert [outcome.item_id for outcome in outcomes(records)] == [record.id for record in records]


def test_rules_are_part_of_the_identity_and_resources_are_not():
    tightened = Filter(FilterSettings(rules={"motion": {"min": 0.2}}))
    assert tightened.identity != Filter(FilterSettings()).identity
    assert "resources" not in str(tightened.identity)
