import pytest
import yaml

from tests.records import make_record, make_track
from vpdata import codec
from vpdata.config import to_plain
from vpdata.dataset import layout
from vpdata.dataset.run import Run, parquet_bytes
from vpdata.errors import ConfigError, Reason, RunError
from vpdata.records import Record, Reject
from vpdata.report.what_if import what_if, what_if_text
from vpdata.stages.rules import FilterSettings, judge
from vpdata.storage import Folder

CLIPS = [
    make_record(0, scores={"motion": 0.1}),
    make_record(1, scores={"motion": 0.3}),
    make_record(2, scores={"motion": 0.5}, tracks=(make_track(1, area=0.02), make_track(2, area=0.3))),
    make_record(3, scores={"motion": 0.7, "sharpness": 0.001}),
    make_record(4, scores={"motion": 0.9}, tracks=(make_track(1, area=0.02),)),
    make_record(5, scores={"motion": None}),
]
BASE = {"motion": {"min": 0.2}}


def make_run(folder, settings, clips=CLIPS):
    """A run over `clips` as a build would leave it: what a rule drops early never reaches `caption`."""
    run = Run(Folder(folder))
    run.folder.write(layout.RUN_CONFIG, yaml.safe_dump({"config": {"filter": to_plain(settings)}}).encode())
    records = clips
    for stage in ("cut", "detect", "track", "caption"):
        judged = [judge(record, settings, after=stage) for record in records if settings.early]
        rejects = [reject for one in judged for reject in one.rejects]
        records = [one.record for one in judged if one.record] if settings.early else records
        for rows, kind, name in ((records, Record, layout.records_file), (rejects, Reject, layout.rejects_file)):
            run.stage_folder(stage).write(name("part-00000"), parquet_bytes(codec.to_table(rows, kind)))
    return run


def counts(result):
    return {
        row.reason: (row.num_clips_now, row.num_clips_then, row.num_tracks_now, row.num_tracks_then)
        for row in result.rows
    }


def test_late_run_knows_both_funnels_whole(tmp_path):
    base = FilterSettings(early=False, rules=BASE)
    changed = FilterSettings(early=False, rules={"motion": {"min": 0.4}, "track_area": {"min": 0.1}})
    result = what_if(make_run(tmp_path, base), base, changed)
    # Now 0 is too still, 3 too blurred, 5 has no motion. Then 1 is too still as well, and tracks of 0.02 are too small.
    assert counts(result) == {
        Reason.SHARPNESS: (1, 1, 0, 0),
        Reason.MOTION: (1, 2, 0, 0),
        Reason.TRACK_AREA: (0, 0, 0, 2),
        Reason.NO_TRACKS: (0, 1, 0, 0),
        Reason.SCORE_FAILED: (1, 1, 0, 0),
    }
    assert (result.num_kept_now, result.num_kept_then, result.num_unknown) == (3, 1, 0)


def test_late_run_can_also_tell_what_looser_bounds_would_keep(tmp_path):
    base = FilterSettings(early=False, rules=BASE)
    result = what_if(make_run(tmp_path, base), base, FilterSettings(early=False, rules={"motion": None}))
    assert counts(result) == {
        Reason.MOTION: (1, 0, 0, 0),
        Reason.SHARPNESS: (1, 1, 0, 0),
        Reason.SCORE_FAILED: (1, 0, 0, 0),
    }
    assert (result.num_kept_now, result.num_kept_then, result.num_unknown) == (3, 5, 0)


def test_early_run_tightened_is_told_whole(tmp_path):
    base = FilterSettings(rules=BASE)
    result = what_if(make_run(tmp_path, base), base, FilterSettings(rules={"motion": {"min": 0.6}}))
    assert counts(result)[Reason.MOTION] == (1, 3, 0, 0)
    assert counts(result)[Reason.SHARPNESS] == (1, 1, 0, 0)
    assert (result.num_kept_now, result.num_kept_then, result.num_unknown) == (3, 1, 0)


def test_early_run_loosened_says_which_clips_it_cannot_judge(tmp_path):
    base = FilterSettings(rules=BASE)
    result = what_if(make_run(tmp_path, base), base, FilterSettings(rules={"motion": None}))
    unknown = {row.reason: row.num_clips_unknown for row in result.rows if row.num_clips_unknown}
    assert unknown == {Reason.MOTION: 1, Reason.SCORE_FAILED: 1}
    assert (result.num_kept_now, result.num_kept_then, result.num_unknown) == (3, 3, 2)
    assert "Not known: 1 clips and 0 tracks dropped early as motion" in str(result)


def test_clip_that_lost_all_its_tracks_early_is_unknown_when_their_rule_loosens(tmp_path):
    base = FilterSettings(rules={"track_area": {"min": 0.1}})
    lost_to_another_rule = make_record(6, tracks=(make_track(change=0.9),))
    result = what_if(make_run(tmp_path, base, [*CLIPS, lost_to_another_rule]), base, FilterSettings())
    unknown = {row.reason: (row.num_clips_unknown, row.num_tracks_unknown) for row in result.rows}
    assert unknown[Reason.TRACK_AREA] == (0, 2)
    assert unknown[Reason.NO_TRACKS] == (1, 0)
    assert result.num_unknown == 1


def test_same_settings_change_nothing(tmp_path):
    base = FilterSettings(rules=BASE)
    result = what_if(make_run(tmp_path, base), base, base)
    assert all(now == then for now, then, _, _ in counts(result).values())
    assert result.num_kept_now == result.num_kept_then == 3


def test_text_reads_the_present_rules_from_the_run_and_shows_both(tmp_path):
    run = make_run(tmp_path, FilterSettings(early=False, rules=BASE))
    text = what_if_text(run, ["motion.min=0.4", "sharpness=null"])
    lines = {line.split()[0]: line.split("  ") for line in text.splitlines()}
    assert [cell.strip() for cell in lines["motion"] if cell] == [
        "motion",
        "at least 0.2 -> at least 0.4",
        "1 -> 2",
        "0 -> 0",
    ]
    assert "at least 0.005 -> anything" in text
    assert [cell.strip() for cell in lines["kept"] if cell] == ["kept", "3 -> 3"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("motion", "wanted RULE.BOUND=VALUE such as motion.min=0.3, or RULE=null"),
        ("motion=1", "got 'motion=1', wanted RULE.BOUND=VALUE"),
        ("moton.min=0.3", "did you mean 'motion'"),
        ("motion.min=fast", "filter.rules.motion.min: got 'fast'"),
    ],
)
def test_wrong_change_is_refused_by_name(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        what_if_text(make_run(tmp_path, FilterSettings()), [change])


def test_a_run_that_was_imported_has_no_rules_to_change(tmp_path):
    run = Run(Folder(tmp_path))
    run.folder.write(layout.RUN_CONFIG, yaml.safe_dump({"config": {"import": {"format": "videopainter"}}}).encode())
    with pytest.raises(RunError, match=r"run\.yaml names no rules, since its clips were imported"):
        what_if_text(run, ["motion.min=0.3"])
