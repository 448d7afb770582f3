"""`vpdata check` proves of each benchmark in a run that the split of its name holds it out."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from benchmark.__main__ import main as benchmark
from benchmark.bench import open_bench
from tests.runs import make_run
from vpdata.cli import main
from vpdata.dataset.run import Run
from vpdata.dataset.split import read_rows_of_split, split_bytes
from vpdata.storage import Folder

SETTINGS = (
    "num_short=2", "short_s=1", "num_long=0", "num_short_edits=1", "num_long_edits=0", "max_held_out_frac=0.5",
    "look_alike_frac=0.25",
)  # fmt: skip
SPLIT = "splits/vpbench.parquet"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("runs") / "mine", num_clips=4)
    sets = [part for one in SETTINGS for part in ("--set", one)]
    assert benchmark(["make", "--run", run.folder.uri, *sets]) == 0
    return run


@pytest.fixture
def run(made, tmp_path):
    """The same, for one test to change."""
    shutil.copytree(made.folder.uri, tmp_path / "run")
    return Run(Folder(tmp_path / "run"))


def said(run, capsys):
    """Exit status and what is printed."""
    capsys.readouterr()
    return main(["check", run.folder.uri]), capsys.readouterr().out


def rewritten(run, change_facts=lambda facts: facts, keep=lambda row: True):
    read = read_rows_of_split(run.folder.child("splits"), "vpbench.parquet")
    assert read is not None
    facts, rows = read
    run.folder.write(SPLIT, split_bytes(change_facts(facts), [row for row in rows if keep(row)]))


def test_benchmark_as_it_was_made_is_well(run, capsys):
    assert said(run, capsys) == (0, f"{run.folder.uri}: all is well\n")


def test_video_and_clips_that_were_taken_from_the_split_are_named(run, capsys):
    case = open_bench(f"{run.folder.uri}/vpbench").cases[0]
    rewritten(run, keep=lambda row: not row.id.startswith(case.video_id))
    status, text = said(run, capsys)
    assert status == 1
    assert f"vpbench/bench.yaml: {case.id} is of the video {case.video_id}, which {SPLIT} does not hold out" in text
    assert f"vpbench/bench.yaml: {case.id} is of the clip {case.clip_id}, which {SPLIT} does not hold out" in text


def test_split_by_other_limits_than_the_benchmark_s_is_named(run, capsys):
    rewritten(
        run,
        change_facts=lambda facts: replace(facts, look_alike_frac=0.0, look_alike_cosine=1.0),
        keep=lambda row: row.kind != "look_alike",
    )
    status, text = said(run, capsys)
    assert status == 1
    assert f"{SPLIT} is not the one that was written with it" in text
    assert "look_alike_frac=0.25" in text


def test_benchmark_without_a_split_is_named(run, capsys):
    run.folder.remove(SPLIT)
    status, text = said(run, capsys)
    assert status == 1
    assert f"vpbench/bench.yaml: nothing holds it out of training: there is no {SPLIT}" in text


def test_list_of_one_s_own_in_the_split_s_place_is_named(run, capsys):
    pq.write_table(pa.table({"kind": ["video"], "id": ["v"]}), run.folder.path(SPLIT))
    status, text = said(run, capsys)
    assert status == 1
    assert "was not written with it: it states no limits" in text


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cases.parquet", b"PAR1 and no more"),
        ("cases.parquet", None),
        ("bench.yaml", b"["),
        ("bench.yaml", b"\x00"),
        ("bench.yaml", yaml.safe_dump({"name": "vpbench", "seed": 0}).encode()),
    ],
)
def test_damaged_benchmark_is_named(run, capsys, name, data):
    bench = run.folder.child("vpbench")
    bench.write(name, data) if data is not None else bench.remove(name)
    status, text = said(run, capsys)
    assert status == 1
    assert "vpbench/bench.yaml: the benchmark cannot be read" in text


def test_unfinished_benchmark_and_folders_of_others_are_no_benchmarks(run, capsys):
    run.folder.write("notes/cases.parquet", b"of mine")
    run.folder.child("vpbench").remove("bench.yaml")
    assert said(run, capsys)[0] == 0
