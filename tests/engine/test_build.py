"""The order of a build, what a run keeps, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import resource
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.engine.builds import NAMES, build, results, write_sources
from tests.engine.tiny_stages import TinyCut, TinyDetect, TinyFilter, TinyInputs
from tests.s3_server import bucket, s3_endpoint  # noqa: F401  fixtures
from vpdata.dataset import layout, lease
from vpdata.dataset.run import Run, read_rows
from vpdata.dataset.shards import PackEntry
from vpdata.engine import dispatch
from vpdata.errors import ConfigError, Reason, RunError, StorageError
from vpdata.records import Embedding
from vpdata.sources import Input, SourceSettings
from vpdata.stages.base import Rejected, Result
from vpdata.stages.rules import RULES, FilterSettings
from vpdata.stages.semantic_duplicates import to_text
from vpdata.storage import Folder

TEXTS = ["2", "0", "3", "1 calm", "", "2"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sources(tmp_path_factory.mktemp("sources"), TEXTS)


@pytest.fixture(scope="module")
def finished(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one worker; tests only read it."""
    run = tmp_path_factory.mktemp("runs") / "one"
    build(sources, run)
    return run


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """The same run, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def run_of(path: Path) -> Run:
    return Run(Folder(path))


def plan_of(path: Path) -> list[PackEntry]:
    return list(read_rows(Folder(path), layout.PACK_PLAN, PackEntry))


def test_every_kept_clip_is_packed_and_every_drop_has_a_row(finished: Path) -> None:
    run = run_of(finished)
    assert [len(list(run.records(stage))) for stage in ("cut", "filter")] == [8, 8]
    assert [reject.reason for reject in run.rejects("cut")] == [Reason.TOO_SHORT] * 4 + [
        Reason.EMPTY_FILE,
        Reason.TOO_SHORT,
    ]
    assert [entry.clip_id for entry in plan_of(finished)] == sorted(record.id for record in run.records("filter"))


def test_a_finished_run_is_left_as_it_is(sources: Path, copied: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in copied.rglob("*.parquet")}
    assert build(sources, copied).num_clips == 8
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*.parquet")} == times


@pytest.mark.slow
def test_sub_parts_small_shards_and_two_workers_keep_every_clip(sources: Path, tmp_path: Path) -> None:
    # The mp4 of a clip has 21 to 27 bytes here: two fit into 60, three do not.
    engine = {"videos_per_part": 3, "clips_per_part": 2, "shard_mb": 60e-6, "workers": 2}
    build(sources, tmp_path / "run", engine=engine)
    run = run_of(tmp_path / "run")
    assert run.parts("cut") == ["part-00000", "part-00001"]
    assert run.parts("filter") == [f"part-0000{part}-0{sub}" for part, sub in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]]
    assert [record.id for record in run.records("filter")] == [record.id for record in run.records("cut")]
    assert [entry.shard for entry in plan_of(tmp_path / "run")] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len(list((tmp_path / "run" / "shards").iterdir())) == 4


def test_nothing_kept_is_an_empty_data_set(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", ["", "0"])
    summary = build(sources, tmp_path / "run")
    assert (summary.num_clips, summary.num_shards) == (0, 0)
    assert "the data set is empty; most were dropped for: empty_file 1, too_short 1." in str(summary)
    assert f"`vpdata stats {tmp_path}/run`" in str(summary)


@dataclasses.dataclass(kw_only=True)
class LookAlikes(TinyCut):
    """The first two videos have the same bytes; clips of the others look the same."""

    def process_many(self, inputs: Iterator[TinyInputs]) -> Iterator[Result | Rejected]:
        for outcome in super().process_many(inputs):
            if isinstance(outcome, Result):
                clip = outcome.record.clip
                is_copy = clip.video.uri in NAMES[:2]
                video = dataclasses.replace(clip.video, content_hash="0" * 64) if is_copy else clip.video
                clip = dataclasses.replace(clip, video=video, phash=("f" if is_copy else "3") * 16)
                outcome = dataclasses.replace(outcome, record=dataclasses.replace(outcome.record, clip=clip))
            yield outcome


def test_same_bytes_and_same_looks_are_dropped_from_the_pack(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", ["1", "1", "1", "1"])
    summary = build(sources, tmp_path / "run", stages=[LookAlikes(), TinyFilter()], engine={"near_duplicate_frac": 0.1})
    clips = [record.id for record in run_of(tmp_path / "run").records("filter")]
    rejects = {reject.id: reject for reject in run_of(tmp_path / "run").rejects("pack")}
    assert {one: reject.reason for one, reject in rejects.items()} == {
        max(clips[:2]): Reason.DUPLICATE,
        max(clips[2:]): Reason.NEAR_DUPLICATE,
    }
    assert min(clips[2:]) in rejects[max(clips[2:])].detail
    assert (summary.num_clips, summary.num_duplicates) == (2, 2)
    assert [entry.clip_id for entry in plan_of(tmp_path / "run")] == sorted([min(clips[:2]), min(clips[2:])])


@dataclasses.dataclass(kw_only=True)
class Embedded(TinyCut):
    """Embeddings that point so many degrees from the first axis; videos not named have none."""

    def process_many(self, inputs: Iterator[TinyInputs]) -> Iterator[Result | Rejected]:
        for outcome in super().process_many(inputs):
            if isinstance(outcome, Result) and (degrees := DEGREES.get(outcome.record.clip.video.uri)) is not None:
                radians = np.deg2rad(degrees)
                values = to_text(np.array([np.cos(radians), np.sin(radians)]))
                record = dataclasses.replace(outcome.record, embedding=Embedding(model="hand", values=values))
                outcome = dataclasses.replace(outcome, record=record)
            yield outcome


DEGREES = dict(zip(NAMES, (0.0, 15.0, 30.0, 90.0), strict=False))
"""Between the first three, the cosine of neighbours is 0.966 and of the others 0.866."""


def test_same_meaning_is_dropped_from_the_pack(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", ["1", "1", "1", "1"])
    settings = {"semantic_duplicate_cosine": 0.95}
    summary = build(sources, tmp_path / "run", stages=[Embedded(), TinyFilter()], engine=settings)
    clips = [record.id for record in run_of(tmp_path / "run").records("filter")]
    (reject,) = run_of(tmp_path / "run").rejects("pack")
    assert (reject.id, reject.reason) == (clips[1], Reason.SEMANTIC_DUPLICATE)
    assert clips[0] in reject.detail
    assert summary.num_clips == 3


def test_clip_without_an_embedding_cannot_be_compared(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", ["1"] * 5)
    with pytest.raises(RunError, match=r"detect\.embedder"):
        build(sources, tmp_path / "run", stages=[Embedded(), TinyFilter()], engine={"semantic_duplicate_cosine": 0.95})


def test_where_no_clip_is_left_none_is_compared(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", ["", "0", ""])
    settings = {"semantic_duplicate_cosine": 0.95, "near_duplicate_frac": 0.1}
    summary = build(sources, tmp_path / "run", stages=[Embedded(), TinyFilter()], engine=settings)
    assert (summary.num_clips, summary.num_duplicates) == (0, 0)


def only(**rules: dict) -> FilterSettings:
    return FilterSettings(rules={rule.name: None for rule in RULES} | rules)


def test_early_rules_drop_clips_at_once_and_may_only_become_tighter(sources: Path, tmp_path: Path) -> None:
    assert build(sources, tmp_path / "run", rules=only(duration={"max": 0.5})).num_clips == 0
    rejects = [reject.reason for reject in run_of(tmp_path / "run").rejects("cut")]
    assert rejects.count(Reason.DURATION) == 8
    assert not (tmp_path / "run" / "1-cut" / "part-00000.tar").exists()
    with pytest.raises(RunError, match=r"duration: at most 0.5 became at most 6.*--redo cut"):
        build(sources, tmp_path / "run", rules=only(duration={"max": 6.0}))
    build(sources, tmp_path / "run", rules=only(duration={"max": 0.4}))


@pytest.mark.parametrize("name", ["5-filter/stage.json", "pack-plan.json"])
@pytest.mark.parametrize(
    "change", [lambda text: text[: len(text) // 2], lambda text: text.replace("{", '{"newer": 1, ', 1)]
)
def test_state_that_cannot_be_read_is_named_with_what_makes_it_anew(
    name: str, change: Callable[[str], str], sources: Path, finished: Path, copied: Path
) -> None:
    (copied / name).write_text(change((copied / name).read_text()))
    with pytest.raises(RunError, match=rf"{name} cannot be read: .*--redo"):
        build(sources, copied)
    build(sources, copied, redo="filter" if "filter" in name else "pack")
    assert results(copied) == results(finished)


@pytest.mark.parametrize("content", ['{"videos_per_part": 2, "clips', '{"videos_per_part": 2}', "[2]", "{NEWER}"])
def test_part_sizes_that_cannot_be_read_are_named(content: str, sources: Path, copied: Path) -> None:
    path = copied / "0-source/stage.json"
    path.write_text(content.replace("{NEWER}", path.read_text().replace("{", '{"workers": 1, ', 1)))
    with pytest.raises(RunError, match=r"0-source/stage.json cannot be read: .*videos_per_part and clips_per_part"):
        build(sources, copied)


def test_a_changed_setting_is_refused_until_its_stage_is_redone(sources: Path, finished: Path, copied: Path) -> None:
    changed = [TinyCut(), TinyFilter(settings={"interval_s": 1.0})]
    with pytest.raises(RunError, match=r"stage filter .*interval_s: got 1.0, the run has None.*--redo filter"):
        build(sources, copied, stages=changed)
    assert results(copied) == results(finished)
    tar = copied / "1-cut" / "part-00000.tar"
    cut_at = tar.stat().st_mtime_ns
    build(sources, copied, stages=changed, redo="filter")
    assert tar.stat().st_mtime_ns == cut_at
    assert json.loads((copied / "5-filter" / "stage.json").read_text())["identity"] == {"interval_s": 1.0}
    assert results(copied) == results(finished)


def test_a_stage_of_another_version_names_the_ways_on_and_no_settings(sources: Path, copied: Path) -> None:
    first = [TinyCut(), TinyFilter(settings={"version": 1, "old": 5})]
    build(sources, copied, stages=first, redo="filter")
    second = [TinyCut(), TinyFilter(settings={"version": 2})]
    with pytest.raises(RunError, match=r"another release .*\(version 1 .* here 2\); go on .*--redo filter") as caught:
        build(sources, copied, stages=second)
    assert "old" not in str(caught.value)
    build(sources, copied, stages=second, redo="filter")


def test_other_part_sizes_and_shard_sizes_are_refused(sources: Path, copied: Path) -> None:
    with pytest.raises(RunError, match=r"engine\.clips_per_part: got 3, this run was made with 256"):
        build(sources, copied, engine={"clips_per_part": 3})
    with pytest.raises(RunError, match=r"engine.shard_mb: got 60.0, the run has 512.0.*--redo pack"):
        build(sources, copied, engine={"shard_mb": 60.0})


def test_an_unknown_stage_to_redo_is_named(sources: Path, copied: Path) -> None:
    with pytest.raises(ConfigError, match="unknown stage 'fliter', did you mean 'filter'"):
        build(sources, copied, redo="fliter")


def test_what_an_interrupted_redo_left_is_not_taken_for_done(sources: Path, finished: Path, copied: Path) -> None:
    (copied / "5-filter" / "stage.json").unlink()
    (copied / "5-filter" / "part-00001.parquet").write_bytes(b"old")
    for name in ("index", "shards"):
        shutil.rmtree(copied / name)
    (copied / "pack-plan.parquet").unlink()
    build(sources, copied)
    assert results(copied) == results(finished)


def test_added_sources_replace_no_part_where_one_is_gone(sources: Path, copied: Path) -> None:
    before = [source.uri for source in Run(Folder(copied)).sources()]
    (copied / "0-source/part-00000.parquet").unlink()
    build(sources, copied, add_sources=True)
    assert sorted(source.uri for source in Run(Folder(copied)).sources()) == sorted(before)


@pytest.mark.slow
def test_added_sources_become_new_parts_and_old_parts_stay(sources: Path, finished: Path, tmp_path: Path) -> None:
    few = write_sources(tmp_path / "few", TEXTS[:4])
    build(few, tmp_path / "run")
    write_sources(few, TEXTS)
    assert build(few, tmp_path / "run").num_sources == 4
    assert build(few, tmp_path / "run", add_sources=True).num_sources == 6
    assert results(tmp_path / "run") == results(finished)


def test_a_run_inside_its_input_gives_it_no_sources(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", TEXTS)
    run = sources / "run"
    build(sources, run)
    media = run / "report" / "media"
    media.mkdir(parents=True)
    (media / "preview.mp4").write_text("1")
    assert build(sources, run, add_sources=True).num_sources == len(TEXTS)


def test_the_source_list_is_not_read_again(copied: Path, tmp_path: Path) -> None:
    assert build(tmp_path / "nowhere", copied).num_clips == 8


def test_sources_that_are_not_in_the_run_are_counted(copied: Path, tmp_path: Path, caplog) -> None:
    more = write_sources(tmp_path / "more", [*TEXTS, "1", "1"])
    assert build(more, copied).num_sources == 6
    assert f"2 of 8 sources of more are not in this run, such as '{min(NAMES[6:8])}'" in caplog.text
    assert "--add-sources" in caplog.text


def test_an_input_that_is_gone_or_another_is_said(finished: Path, copied: Path, tmp_path: Path, caplog) -> None:
    build(tmp_path / "nowhere", copied)
    assert "nowhere: no such file or folder; this run goes on with the list of sources that it has" in caplog.text
    caplog.clear()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "film.mp4").write_text("1")
    build(tmp_path / "other", copied)
    assert "1 of 1 sources of other are not in this run" in caplog.text
    assert results(copied) == results(finished)


def test_an_unfinished_run_is_not_cut_from_another_input(sources: Path, copied: Path, tmp_path: Path) -> None:
    for name in ("index", "shards"):
        shutil.rmtree(copied / name)
    (copied / "pack-plan.parquet").unlink()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "film.mp4").write_text("1")
    with pytest.raises(RunError, match=r"'film\.mp4', and none that is.*--output.*--add-sources"):
        build(tmp_path / "other", copied, redo="cut")
    (copied / "1-cut" / "part-00001.parquet").unlink()
    with pytest.raises(RunError, match=r"'film\.mp4'"):
        build(tmp_path / "other", copied)
    # The same files elsewhere are the same sources.
    shutil.copytree(sources, tmp_path / "moved")
    assert build(tmp_path / "moved", copied).num_clips == 8


def test_one_replaced_file_does_not_stop_others_from_being_added(copied: Path, tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO")
    more = write_sources(tmp_path / "more", [*TEXTS, "1"])
    (more / NAMES[0]).write_text("2 better")
    assert build(more, copied, add_sources=True).num_sources == 7
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    (one,) = [text for text in warned if "sources of more" in text]
    assert f"1 of 4 sources of more are other files than those that were cut, such as '{NAMES[0]}' with 8 bytes" in one
    assert "6 of 7 sources of more are in this run already" in caplog.text
    caplog.clear()
    build(more, copied, add_sources=True)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("7 of 7 sources of more are in this run already" in text for text in warned)


def test_a_finished_run_needs_no_part_of_its_stages(sources: Path, copied: Path) -> None:
    part = copied / "1-cut" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-30])
    assert build(sources, copied).num_clips == 8


def test_other_videos_of_equal_paths_are_not_left_out_unseen(
    sources: Path, finished: Path, copied: Path, tmp_path: Path, caplog
) -> None:
    other_day = write_sources(tmp_path / "other day", ["2 other", "0", "3 other", "1"])
    example = rf"'{min(NAMES[0], NAMES[2])}' with 7 bytes instead of 1"
    with pytest.raises(RunError, match=rf"3 of 3 sources of other day are other files .*{example}.*list with ids"):
        build(other_day, copied, add_sources=True)
    with pytest.raises(RunError, match="3 of 3 sources"):
        build(other_day, copied, add_sources=True, redo="filter")
    assert results(copied) == results(finished)
    # Of equal sizes they cannot be told from the same files in another place.
    write_sources(other_day, [*TEXTS, "1"])
    caplog.set_level("INFO")
    build(other_day, copied, add_sources=True)
    assert "6 of 7 sources of other day are in this run already" in caplog.text
    assert run_of(copied).parts("cut")[-1] == "part-00003"


@pytest.mark.slow
def test_an_unfinished_run_is_not_cut_from_other_files_of_equal_paths(
    sources: Path, finished: Path, copied: Path, tmp_path: Path, caplog
) -> None:
    others = write_sources(tmp_path / "others", [f"{text} other" for text in ("2", "0", "3", "1", "1", "2")])
    for name in ("index", "shards"):
        shutil.rmtree(copied / name)
    (copied / "pack-plan.parquet").unlink()
    (copied / "1-cut" / "part-00001.parquet").unlink()
    with pytest.raises(RunError, match=r"2 of 2 sources of others are other files .*begun with"):
        build(others, copied)
    # One file that was replaced is told, and no reason to stop.
    mixed = write_sources(tmp_path / "mixed", [*TEXTS[:5], "2"])
    (mixed / NAMES[0]).write_text("2 other")
    build(mixed, copied)
    assert "1 of 2 sources of mixed are other files" in caplog.text
    assert results(copied) == results(finished)
    # All of them are cut again, so nothing is mixed.
    (copied / "1-cut" / "part-00001.parquet").unlink()
    assert build(others, copied, redo="cut").num_clips == 9


def test_a_build_goes_on_right_after_its_driver_died_elsewhere(
    finished: Path, sources: Path, copied: Path, caplog
) -> None:
    beat = time.time() - lease.DEAD_AFTER_S + 2
    holder = {"host": "elsewhere", "pid": 7, "started": "1", "id": "dead", "beat_unix_s": beat}
    (copied / layout.LEASE).write_text(json.dumps(holder))
    assert build(sources, copied).num_clips == 8
    assert "is in use by pid 7 on elsewhere; waiting for its next sign of life, or at most 120 s" in caplog.text
    assert results(copied) == results(finished)


def test_sources_that_a_list_names_otherwise_under_the_same_ids_are_told(tmp_path: Path, caplog) -> None:
    for name in ("a", "b"):
        write_sources(tmp_path / name, ["1"])
        (tmp_path / f"{name}.csv").write_text(f"uri,id\n{name}/{NAMES[0]},one\n")
    first, second = (Input(str(tmp_path / f"{name}.csv"), SourceSettings()) for name in ("a", "b"))
    build(tmp_path, tmp_path / "run", source=first)
    assert build(tmp_path, tmp_path / "run", source=second).num_clips == 1
    assert f"1 of 1 sources of b.csv have another uri than in this run, such as 'b/{NAMES[0]}'" in caplog.text


def test_rejects_of_one_reason_run_again(sources: Path, copied: Path, tmp_path: Path) -> None:
    folder = write_sources(tmp_path / "sources", [*TEXTS[:4], "5", TEXTS[5]])
    summary = build(folder, copied, retry_rejects=Reason.EMPTY_FILE)
    assert summary.num_clips == 8 + 5
    assert Reason.EMPTY_FILE not in [reject.reason for reject in run_of(copied).rejects("cut")]


def test_reason_that_nothing_was_rejected_for_is_told(sources: Path, finished: Path, copied: Path, caplog) -> None:
    build(sources, copied, retry_rejects=Reason.GPU_MEMORY)
    assert "no part holds a reject for gpu_memory" in caplog.text
    assert results(copied) == results(finished)


def test_parts_that_are_retried_on_other_files_are_told(copied: Path, tmp_path: Path, caplog) -> None:
    others = write_sources(tmp_path / "others", [f"{text} other" if text else "5" for text in TEXTS])
    build(others, copied, retry_rejects=Reason.EMPTY_FILE)
    assert "sources of others are other files than those that were cut" in caplog.text
    assert "the clips of those stay, but for parts that are retried" in caplog.text


@pytest.mark.slow
def test_what_was_flushed_of_an_unfinished_part_goes_with_its_rejects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts the clips of the list that is made again."""
    monkeypatch.setattr(dispatch, "ERROR_WAITS_S", ())
    stages = [TinyCut(), TinyDetect(), TinyFilter()]
    options = {"stages": stages, "engine": {"videos_per_part": 3, "clips_per_part": 4, "flush_every_s": 0.0}}
    sources = write_sources(tmp_path / "sources", ["", "7", "3 detect:raise"])
    with pytest.raises(RunError, match="a fault of ours"):
        build(sources, tmp_path / "run", **options)
    assert list((tmp_path / "run/2-detect/progress").glob("part-00000-01.*.json"))
    write_sources(sources, ["2", "7", "3"])
    build(sources, tmp_path / "run", retry_rejects=Reason.EMPTY_FILE, **options)
    build(sources, tmp_path / "fresh", **options)
    assert results(tmp_path / "run") == results(tmp_path / "fresh")


def test_a_folder_with_other_things_is_refused(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(RunError, match=r"neither empty nor a run.*holiday\.txt"):
        build(sources, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]


def test_output_that_cannot_be_written_is_one_clear_error(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot (write|list)"):
        build(sources, tmp_path / "file" / "run")


def test_a_full_disk_stops_the_run_and_keeps_what_is_finished(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", ["1", "1", "2", "2"])
    big = [TinyCut(settings={"repeat": 100_000}), TinyFilter()]
    # The first part's tar has two clips of 2.2 MB, the second part's four: only the second passes the limit.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, hard))
    try:
        with pytest.raises(StorageError, match="cannot write"):
            build(sources, tmp_path / "run", stages=big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert run_of(tmp_path / "run").parts("cut") == ["part-00000"]
    assert not list((tmp_path / "run").rglob(".aside-*"))


def test_plan_of_the_shards_is_read_in_few_groups(tmp_path: Path) -> None:
    """Every shard reads the list of them."""
    build(write_sources(tmp_path / "sources", ["100"]), tmp_path / "run")
    plan = pq.ParquetFile(tmp_path / "run" / layout.PACK_PLAN)
    assert (plan.metadata.num_rows, plan.num_row_groups) == (100, 1)


def test_an_error_of_ours_names_stage_part_and_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "ERROR_WAITS_S", (0.01,))
    sources = write_sources(tmp_path / "sources", ["1", "1", "2", "3 cut:raise"])
    with pytest.raises(RunError) as caught:
        build(sources, tmp_path / "run")
    bad = list(run_of(tmp_path / "run").sources())[3]
    assert str(caught.value) == (
        f"stage cut, part-00001, record {bad.id}, on {socket.gethostname()}: ValueError: a fault of ours"
    )
    assert run_of(tmp_path / "run").parts("cut") == ["part-00000"]


@pytest.mark.slow
def test_a_run_in_a_bucket_has_the_bytes_of_a_local_one(sources: Path, finished: Path, bucket: str) -> None:  # noqa: F811
    # Flushing after every item writes and reads back the progress files too.
    build(sources, f"{bucket}/run", engine={"flush_every_s": 0.0})
    found = {name: Folder(f"{bucket}/run").read(name) for name in results(finished)}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in found.items()} == results(finished)
    assert build(sources, f"{bucket}/run").num_clips == 8
