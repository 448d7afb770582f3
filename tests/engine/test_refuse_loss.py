"""A finished data set is never removed before it is known that it can be made again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.engine.builds import NAMES, build, results, write_sources
from tests.engine.tiny_stages import TinyCut, TinyDetect, TinyFilter
from tests.runs import make_run
from vpdata.errors import ConfigError, Reason, RunError
from vpdata.sources import Input, SourceSettings

TEXTS = ["2", "1", "", "2"]
EMPTY_AGAIN = {"retry_rejects": Reason.EMPTY_FILE}


def three_stages() -> list[Any]:
    return [TinyCut(), TinyDetect(), TinyFilter()]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sources(tmp_path_factory.mktemp("sources"), TEXTS)


@pytest.fixture(scope="module")
def finished(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "one"
    build(sources, run, stages=three_stages())
    return run


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """The same run, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))


@pytest.fixture
def cleaned(copied: Path) -> Path:
    """Without the tars of its clips, as `vpdata clean` leaves a run."""
    for tar in copied.glob("1-cut/*.tar"):
        tar.unlink()
    return copied


@pytest.mark.parametrize(
    "asked",
    [{"redo": "detect"}, {"redo": "filter"}, {"redo": "pack"}, EMPTY_AGAIN],
    ids=str,
)
def test_no_shard_goes_when_the_clips_to_pack_again_are_gone(sources: Path, cleaned: Path, asked: dict) -> None:
    before = results(cleaned)
    with pytest.raises(RunError, match=r"nothing was removed.*[12] tars of clips.*1-cut/part-00000\.tar.*--redo cut"):
        build(sources, cleaned, stages=three_stages(), **asked)
    assert results(cleaned) == before


def test_no_shard_goes_for_added_sources_when_the_clips_are_gone(cleaned: Path, tmp_path: Path) -> None:
    before = results(cleaned)
    more = write_sources(tmp_path / "more", [*TEXTS, "1"])
    with pytest.raises(RunError, match=r"nothing was removed.*--redo cut"):
        build(more, cleaned, stages=three_stages(), add_sources=True)
    assert results(cleaned) == before


def test_a_cleaned_run_is_cut_again_from_its_sources(sources: Path, finished: Path, cleaned: Path) -> None:
    build(sources, cleaned, stages=three_stages(), redo="cut")
    assert results(cleaned) == results(finished)


@pytest.mark.slow
def test_parts_that_gave_no_clip_need_no_tar(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", ["", "0", "1", "1"])
    build(sources, tmp_path / "run")
    (tmp_path / "run" / "1-cut" / "part-00000.tar").unlink(missing_ok=True)
    assert build(sources, tmp_path / "run", redo="filter").num_clips == 2


@pytest.mark.slow
def test_nothing_is_cut_again_from_sources_that_are_gone(finished: Path, cleaned: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        build(tmp_path / "nowhere", cleaned, stages=three_stages(), redo="cut")
    fewer = write_sources(tmp_path / "fewer", TEXTS)
    (fewer / NAMES[1]).unlink()
    with pytest.raises(RunError, match=rf"nothing was removed.*1 sources.*fewer does not name.*{NAMES[1]}"):
        build(fewer, cleaned, stages=three_stages(), redo="cut")
    (fewer / NAMES[1]).symlink_to(NAMES[1])
    with pytest.raises(RunError, match=r"nothing was removed"):
        build(fewer, cleaned, stages=three_stages(), redo="cut")
    assert {name for name in results(finished) if not name.endswith(".tar") or "shards" in name} == set(
        results(cleaned)
    )
    # A source of which nothing was kept is not missed.
    (fewer / NAMES[1]).unlink()
    (fewer / NAMES[1]).write_text(TEXTS[1])
    (fewer / NAMES[2]).unlink()
    assert build(fewer, cleaned, stages=three_stages(), redo="cut").num_clips == 5


@pytest.mark.slow
def test_rejects_are_not_cut_again_with_a_neighbour_that_is_gone(copied: Path, tmp_path: Path) -> None:
    before = results(copied)
    fewer = write_sources(tmp_path / "fewer", TEXTS)
    (fewer / NAMES[3]).unlink()
    with pytest.raises(RunError, match=rf"1 sources.*{NAMES[3]}"):
        build(fewer, copied, stages=three_stages(), retry_rejects=Reason.EMPTY_FILE)
    assert results(copied) == before
    # Of the other part nothing is cut again.
    (fewer / NAMES[3]).write_text(TEXTS[3])
    (fewer / NAMES[0]).unlink()
    assert build(fewer, copied, stages=three_stages(), retry_rejects=Reason.EMPTY_FILE).num_clips == 5


@pytest.mark.parametrize(
    ("changed", "asked", "message"),
    [
        ({"stages": [TinyCut(settings={"a": 1}), TinyDetect(), TinyFilter()]}, {"redo": "filter"}, "--redo cut"),
        ({"stages": [TinyCut(), TinyDetect(settings={"a": 1}), TinyFilter()]}, {"redo": "filter"}, "--redo detect"),
        ({"stages": [TinyCut(settings={"a": 1}), TinyDetect(), TinyFilter()]}, EMPTY_AGAIN, "--redo cut"),
        ({"engine": {"videos_per_part": 3}}, {"redo": "cut"}, "videos_per_part"),
    ],
    ids=str,
)  # fmt: skip
def test_refused_settings_remove_nothing(sources: Path, copied: Path, changed: dict, asked: dict, message: str) -> None:
    before = results(copied)
    with pytest.raises(RunError, match=message):
        build(sources, copied, **({"stages": three_stages()} | changed), **asked)
    assert results(copied) == before


@pytest.mark.parametrize("asked", [{"redo": "filter"}, EMPTY_AGAIN, {"add_sources": True}], ids=str)
def test_no_part_goes_where_no_worker_could_run(copied: Path, tmp_path: Path, asked: dict) -> None:
    before = results(copied)
    more = write_sources(tmp_path / "more", [*TEXTS, "1"] if asked == {"add_sources": True} else TEXTS)
    with pytest.raises(ConfigError, match="pack"):
        build(more, copied, stages=three_stages(), engine={"pack_memory_gb": 1e6}, **asked)
    assert results(copied) == before


@pytest.mark.parametrize("gone", [["1-cut", "2-detect", "5-filter"], ["2-detect"], ["0-source"]], ids=str)
def test_a_finished_run_without_its_stages_is_left_as_it_is(sources: Path, copied: Path, gone: list[str]) -> None:
    for name in gone:
        shutil.rmtree(copied / name)
    (copied / "report.html").write_text("the report")
    before = sorted(copied.rglob("*"))
    redo = "cut" if gone[0] == "0-source" else gone[0][2:]
    asked: dict[str, Any]
    for asked in ({}, {"redo": "filter"}, {"redo": "pack"}, {"add_sources": True}):
        with pytest.raises(RunError, match=rf"nothing was changed.*{gone[0]}/stage\.json.*--redo {redo} "):
            build(sources, copied, stages=three_stages(), **asked)
    assert sorted(copied.rglob("*")) == before


def test_a_stage_that_is_gone_is_made_again_where_that_is_asked_for(
    sources: Path, finished: Path, copied: Path
) -> None:
    shutil.rmtree(copied / "2-detect")
    build(sources, copied, stages=three_stages(), redo="detect")
    assert results(copied) == results(finished)


def test_parts_are_not_mixed_with_those_of_another_list(sources: Path, copied: Path) -> None:
    for name in ("0-source", "index", "shards"):
        shutil.rmtree(copied / name)
    (copied / "pack-plan.parquet").unlink()
    with pytest.raises(RunError, match=r"0-source/stage\.json"):
        build(sources, copied, stages=three_stages())


def test_a_run_that_was_not_built_is_never_built_over(sources: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "imported")
    before = results(tmp_path / "imported")
    with pytest.raises(RunError, match="imported"):
        build(sources, run.folder.uri)
    with pytest.raises(RunError, match=r"nothing was removed.*squares"):
        build(sources, run.folder.uri, redo="cut")
    assert results(tmp_path / "imported") == before


def test_a_list_is_asked_for_local_files_and_believed_about_others(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_text("video")
    (tmp_path / "list.csv").write_text("uri\na.mp4\nb.mp4\nhttps://example.org/c.mp4\n")
    listed = Input(str(tmp_path / "list.csv"), SourceSettings())
    sources = listed.sources()
    (tmp_path / "a.mp4").unlink()
    assert [one.uri for one in listed.lost(sources)] == ["a.mp4"]
    (tmp_path / "list.csv").write_text("uri\nb.mp4\n")
    listed = Input(str(tmp_path / "list.csv"), SourceSettings())
    assert [one.uri for one in listed.lost(sources)] == ["a.mp4", "https://example.org/c.mp4"]
