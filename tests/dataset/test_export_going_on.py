"""Exports by several processes, and those that were stopped: the same bytes, nothing twice, nothing of another run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.dataset.published import files_of
from tests.runs import make_run, make_source
from vpdata.cli import main
from vpdata.dataset.export import Format, export
from vpdata.dataset.run import Run
from vpdata.dataset.split import SplitFacts, SplitRow, split_bytes
from vpdata.errors import ConfigError, RunError

IDS = sorted(make_source(seed).id + "-0-2000" for seed in range(5))
FORMATS: tuple[Format, ...] = ("videopainter", "hf", "files")
each_format = pytest.mark.parametrize("format", FORMATS)


def damage(run: Run) -> bytes:
    """Change a bit of the first clip in the second shard; returns the shard as it was."""
    shard = run.folder.path("shards/vpdata-000001.tar")
    whole = shard.read_bytes()
    data = bytearray(whole)
    data[data.index(b"mdat") + 400] ^= 1
    shard.write_bytes(data)
    return whole


def changed_at_ns(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@each_format
def test_two_processes_give_the_bytes_of_one(format, finished_run, tmp_path):
    one = export(finished_run, tmp_path / "one", format=format)
    two = export(finished_run, tmp_path / "two", format=format, processes=2)
    assert two == one
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")


@each_format
def test_damaged_clip_stops_an_export_which_goes_on_with_a_good_copy(format, run, tmp_path):
    whole = damage(run)
    for _ in range(2):
        with pytest.raises(RunError, match=rf"{IDS[2]}: the mp4 is damaged.*out is incomplete: the same command goes"):
            export(run, tmp_path / "out", format=format)
    written = changed_at_ns(tmp_path / "out")
    of_first_shard = {name for name in written if IDS[0] in name or IDS[1] in name or "00000-of" in name}
    assert of_first_shard
    run.folder.write("shards/vpdata-000001.tar", whole)
    again = export(run, tmp_path / "out", format=format)
    now = changed_at_ns(tmp_path / "out")
    assert {name: now[name] for name in of_first_shard} == {name: written[name] for name in of_first_shard}
    assert again == export(run, tmp_path / "other", format=format)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "other")


def test_error_of_a_process_is_told_as_that_of_one(run, tmp_path):
    damage(run)
    with pytest.raises(RunError, match=rf"{IDS[2]}: the mp4 is damaged"):
        export(run, tmp_path / "out", format="files", processes=3)


def test_what_a_killed_export_left_unfinished_is_removed(run, tmp_path):
    whole = damage(run)
    with pytest.raises(RunError):
        export(run, tmp_path / "out", format="files")
    (tmp_path / "out/masks/.aside-0123").write_bytes(b"half a video")
    run.folder.write("shards/vpdata-000001.tar", whole)
    export(run, tmp_path / "out", format="files")
    assert not list((tmp_path / "out").rglob(".aside-*"))


def hold_out_the_first_clip(run: Run) -> None:
    facts = SplitFacts(name="bench", seed=1, look_alike_frac=0.1, look_alike_cosine=0.9)
    run.folder.write("splits/bench.parquet", split_bytes(facts, [SplitRow(kind="clip", id=IDS[0])]))


@pytest.mark.parametrize("change", ["format", "split", "run"])
def test_export_of_something_else_does_not_go_on(change, run, tmp_path):
    damage(run)
    with pytest.raises(RunError):
        export(run, tmp_path / "out", format="files")
    if change == "split":
        hold_out_the_first_clip(run)
    if change == "run":
        shutil.rmtree(run.folder.uri)
        run = make_run(tmp_path / "run", num_clips=4)
    with pytest.raises(RunError, match="not empty, and holds no unfinished export of the same clips and splits"):
        export(run, tmp_path / "out", format="hf" if change == "format" else "files")


def test_finished_export_is_not_written_again(finished_run, tmp_path):
    export(finished_run, tmp_path / "out", format="files")
    with pytest.raises(RunError, match="not empty"):
        export(finished_run, tmp_path / "out", format="files")


def test_no_process_is_refused(finished_run, tmp_path, capsys):
    with pytest.raises(ConfigError, match="got 0 processes"):
        export(finished_run, tmp_path / "out", format="hf", processes=0)
    command = ["export", finished_run.folder.uri, "--format", "hf", "--output", str(tmp_path / "out")]
    assert main([*command, "--processes", "0"]) == 1
    assert "got 0 processes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
