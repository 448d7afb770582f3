"""The worked cluster plan, against arithmetic by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.perf.scaling import (
    CPUS_PER_WORKER,
    GPU_PER_WORKER,
    Job,
    bytes_per_clip,
    plan,
    read_stage_times,
    table,
)
from vpdata.build import load_config
from vpdata.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
GPU_S = {"detect": 0.5, "track": 3.0, "caption": 1.5}


def make_job(**changes):
    # 10 h are 3600 clips; in 1/12 day, 2 h, half of which count, a worker has 3600 s.
    return Job(**{"hours": 10.0, "days": 1 / 12, "usd_per_gpu_hour": 2.0, "used_frac": 0.5, **changes})


def test_workers_follow_from_stage_times_and_shares_of_a_gpu():
    # A quarter of a GPU takes four times as long, so 4 * 0.5, 4 * 3 and 2 * 1.5 s a clip; cut takes 7 s of a core.
    assert plan(make_job(), GPU_S).workers == {"cut": 7, "detect": 2, "track": 12, "caption": 3, "filter": 1}


def test_nodes_hold_the_shares_of_all_workers():
    # 2 / 4 + 12 / 4 + 3 / 2 = 5 GPUs.
    assert plan(make_job(gpus_per_node=4), GPU_S).nodes == 2
    assert plan(make_job(gpus_per_node=5), GPU_S).nodes == 1


def test_cost_counts_whole_nodes_for_all_the_time():
    # 3600 clips of 5 s are 5 h of one GPU; 5 GPUs are wanted, so 2 nodes of 4 for 2 h are 16 h.
    found = plan(make_job(gpus_per_node=4), GPU_S)
    assert found.worked_gpu_hours == pytest.approx(5.0)
    assert found.paid_gpu_hours == pytest.approx(16.0)
    assert found.usd == pytest.approx(32.0)


def test_the_page_shows_what_the_script_prints():
    done = subprocess.run(
        [sys.executable, "-m", "benchmark.perf.scaling"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    page = (ROOT / "docs/scaling.md").read_text(encoding="utf-8")
    assert f"\n\n{done.stdout}\n" in page
    # 4 nodes of 8 GPUs for 48 h at 3 USD.
    assert "| GPU cost at 3 USD an hour | 6 USD | 4,608 USD | 4,147,200 USD |" in page


def test_storage_counts_clips_twice_while_the_run_lasts():
    job = make_job(width_px=1000, height_px=100, fps=10.0, num_objects=2)
    # 10^7 pixels of 0.205 bits; 2 objects on 100 frames of 1566 bytes; 14,132 bytes of rows.
    assert bytes_per_clip(job) == pytest.approx(256_250 + 313_200 + 14_132)
    found = plan(job, GPU_S)
    assert found.shards_tb == pytest.approx(3600 * 583_582e-12)
    assert found.run_tb == pytest.approx(3600 * (583_582 + 256_250) * 1e-12)


def results(tmp_path, *rows):
    names = ("row", "stage", "clips_per_s", "is_tiny")
    file = tmp_path / "results.json"
    file.write_text(json.dumps([dict(zip(names, row, strict=True)) for row in rows]))
    return file


def test_measured_times_are_those_of_our_row(tmp_path):
    ours = [("ours", stage, rate, False) for stage, rate in (("detect", 2.0), ("track", 0.25), ("caption", 0.5))]
    file = results(tmp_path, ("plain", "track", 0.01, False), *ours)
    assert read_stage_times(file) == {"detect": 0.5, "track": 4.0, "caption": 2.0}


@pytest.mark.parametrize(
    ("is_tiny", "message"), [(True, "tiny models"), (False, "no figures of .'caption', 'detect'.")]
)
def test_figures_that_plan_nothing_are_refused(tmp_path, is_tiny, message):
    with pytest.raises(ConfigError, match=message):
        read_stage_times(results(tmp_path, ("ours", "track", 1.0, is_tiny)))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "No such file or directory; python -m benchmark.perf.gpu_pipeline"),
        ("[", "got no file of gpu_pipeline --results"),
        ("{}", "no figures of"),
        ('["ours"]', "got no file of gpu_pipeline --results"),
        ('[{"row": "ours"}]', "got no file of gpu_pipeline --results: KeyError('is_tiny')"),
    ],
)
def test_what_is_no_file_of_stage_times_is_named_in_one_line(tmp_path, content, fault):
    file = tmp_path / "times.json"
    if content is not None:
        file.write_text(content)
    argv = [sys.executable, "-m", "benchmark.perf.scaling", "--stage-times", str(file)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert str(file) in line
    assert fault in line


def test_the_table_has_a_column_for_each_job():
    lines = table([make_job(), make_job(hours=1e6)], GPU_S).splitlines()
    assert lines[0] == "| | 10 h | 1,000,000 h |"
    assert "| clips of 10 s | 3,600 | 360,000,000 |" in lines


def test_shares_of_workers_are_those_of_the_production_config():
    config = load_config(ROOT / "configs/vpdata.yaml")
    resources = {name: getattr(config, name).resources for name in CPUS_PER_WORKER}
    assert {name: one.cpus for name, one in resources.items()} == CPUS_PER_WORKER
    assert {name: one.gpus for name, one in resources.items() if one.gpus} == GPU_PER_WORKER
