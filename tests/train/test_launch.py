"""The same training by the command line, under torchrun, under Slurm, and on Ray."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.train.encoded import write_config, write_random_latents
from vpdata.config import fill, read_yaml
from vpdata.errors import BackendError
from vpdata.train.launch import launch
from vpdata.train.settings import TrainSettings

_TIMEOUT_S = 240
_ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def latents(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("latents")
    write_random_latents(folder)
    return folder


@pytest.fixture(scope="module")
def losses(latents, tmp_path_factory) -> list[float]:
    """Of a training in one process."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("alone")
    launch(fill(TrainSettings, read_yaml(write_config(folder / "train.yaml", latents=latents, output=folder / "out"))))
    return losses_in(folder / "out")


def losses_in(output: Path) -> list[float]:
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "train"]


@pytest.mark.slow
def test_torchrun_trains_alike(latents, losses, tmp_path):
    config = write_config(tmp_path / "train.yaml", latents=latents, output=tmp_path / "out")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "vpdata.cli", "train", "--config", str(config)]
    subprocess.run(command, env=_ENV, check=True, timeout=_TIMEOUT_S)
    assert losses_in(tmp_path / "out") == pytest.approx(losses, rel=1e-5)


_JOINS_AND_DIES_ONCE = """
import os, signal, sys, time
from pathlib import Path
from vpdata.train.world import joined_world
attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
time.sleep(1.5 * attempt * int(os.environ["RANK"]))
with joined_world("cpu") as world:
    ranks = world.of_all(world.rank)
    if attempt == 0:
        os.kill(os.getpid(), signal.SIGKILL) if world.is_main else world.of_all(0)
    Path(sys.argv[1], f"{attempt}-{world.rank}").write_text(str(ranks))
"""


@pytest.mark.slow
def test_ranks_that_torchrun_starts_anew_find_each_other_and_not_the_dead(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(_JOINS_AND_DIES_ONCE)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    command += [str(script), str(tmp_path)]
    run = subprocess.run(command, env=_ENV, capture_output=True, text=True, timeout=_TIMEOUT_S)
    assert run.returncode == 0, run.stderr[-2000:]
    assert [(tmp_path / f"1-{rank}").read_text() for rank in range(2)] == ["[0, 1]"] * 2


@pytest.mark.slow
def test_command_ends_with_75_when_it_is_stopped(latents, tmp_path):
    config = write_config(tmp_path / "train.yaml", latents=latents, output=tmp_path / "out")
    command = [sys.executable, "-m", "vpdata.cli", "train", "--config", str(config)]
    running = subprocess.Popen([*command, "--set", "num_steps=100000"], env=_ENV)
    wait_for_step(tmp_path / "out", 2)
    running.terminate()
    assert running.wait(_TIMEOUT_S) == 75


@pytest.mark.slow
def test_slurm_s_environment_is_enough(latents, losses, tmp_path):
    config = write_config(tmp_path / "train.yaml", latents=latents, output=tmp_path / "out")
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/sh\n[ "$*" = "show hostnames node[1-2]" ] && echo 127.0.0.1 && echo 127.0.0.2\n')
    scontrol.chmod(0o755)
    step = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "node[1-2]",
        "SLURM_JOB_ID": str(os.getpid()),
    }
    command = [sys.executable, "-m", "vpdata.cli", "train", "--config", str(config)]
    tasks = [
        subprocess.Popen(command, env={**_ENV, **step, "SLURM_PROCID": str(rank), "SLURM_LOCALID": "0"})
        for rank in range(2)
    ]
    assert [task.wait(_TIMEOUT_S) for task in tasks] == [0, 0]
    assert losses_in(tmp_path / "out") == pytest.approx(losses, rel=1e-5)


@pytest.mark.slow
@pytest.mark.ray
def test_ray_trains_alike(latents, losses, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray = {"num_workers": 2, "cpus_per_worker": 1, "max_failures": 0}
    monkeypatch.chdir(latents.parent)  # the shipped configs name their latents by a relative path
    config = write_config(tmp_path / "train.yaml", latents=Path(latents.name), output=tmp_path / "out", ray=ray)
    assert launch(fill(TrainSettings, read_yaml(config)), launcher="ray") == "finished"
    assert losses_in(tmp_path / "out") == pytest.approx(losses, rel=1e-5)


@pytest.mark.slow
@pytest.mark.ray
def test_ray_starts_workers_again_whose_storage_failed(latents, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "out" / "checkpoints").mkdir(parents=True)
    (tmp_path / "out" / "checkpoints" / "step-00000004").touch()  # no folder can be put there, however often
    ray = {"num_workers": 1, "cpus_per_worker": 1, "max_failures": 1}
    config = write_config(tmp_path / "train.yaml", latents=latents, output=tmp_path / "out", ray=ray)
    with pytest.raises(BackendError, match="failed on Ray 2 times"):
        launch(fill(TrainSettings, read_yaml(config)), launcher="ray")


def wait_for_step(output: Path, step: int) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        if (output / "metrics.jsonl").exists() and len(losses_in(output)) >= step:
            return
        time.sleep(0.02)
    raise AssertionError(f"step {step} was not reached in {_TIMEOUT_S} s")
