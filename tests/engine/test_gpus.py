"""Which GPUs there are, and which of them each worker sees; `nvidia-smi` is a script that lists what a test wants."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.builds import build, write_sources
from tests.engine.tiny_stages import TinyCut, TinyDetect, TinyFilter, TinyStage
from vpdata.engine import EngineSettings
from vpdata.engine.gpus import Gpus, gpus_here
from vpdata.engine.local import local_cluster
from vpdata.engine.plan import make_plan
from vpdata.engine.work import Counts, PackedJob, Work
from vpdata.engine.worker import Worker
from vpdata.errors import BackendError, ConfigError
from vpdata.stages.base import Resources


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a driver with GPUs of so many MiB on PATH; GPU n has the UUID GPU-nnnn."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def has(*sizes_mib: int | str, says: str = "", status: int = 0) -> None:
        rows = [f"GPU-{str(number) * 4}, {size}" for number, size in enumerate(sizes_mib)]
        script = tmp_path / "bin/nvidia-smi"
        script.parent.mkdir()
        script.write_text("\n".join(["#!/bin/sh", "cat <<'END'", *rows, says, "END", f"exit {status}", ""]))
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")

    return has


def test_every_gpu_is_used_where_nobody_has_chosen(machine: Callable[..., None]) -> None:
    machine(81920, 24576, 81920)
    assert gpus_here() == Gpus(names=("0", "1", "2"), memory_gb=25.769803776)


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("2,0", ("2", "0")),
        (" 1 ", ("1",)),
        ("GPU-11,GPU-0000", ("GPU-11", "GPU-0000")),
        # CUDA stops at the first entry that names no GPU.
        ("1,3,0", ("1",)),
        ("GPU-77,0", ()),
        ("-1", ()),
        ("NoDevFiles", ()),
        ("", ()),
    ],
)
def test_chosen_gpus_keep_their_names(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch, visible: str, names: tuple[str, ...]
) -> None:
    machine(81920, 81920, 81920)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus_here() == Gpus(names=names, memory_gb=85.89934592 if names else 0.0)


def test_memory_of_a_slice_is_not_that_of_its_gpu(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(81920)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1f2e")
    assert gpus_here() == Gpus(names=("MIG-1f2e",), memory_gb=0.0)


def test_gpu_that_shares_the_memory_of_its_machine_counts(machine: Callable[..., None]) -> None:
    machine("[N/A]")
    assert gpus_here() == Gpus(names=("0",), memory_gb=0.0)


def test_no_driver_and_a_broken_driver_mean_no_gpu(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine(says="NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", status=9)
    assert gpus_here() == Gpus()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus_here() == Gpus()


@dataclass(frozen=True, kw_only=True)
class SeeingJob:
    """Its set-up fails, and says which GPUs its process sees."""

    resources: Resources
    name = "seeing"
    has_items = False

    def setup(self) -> None:
        raise BackendError(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))

    def run(self, work: Work, alive: Callable[[int], None]) -> Counts:
        raise NotImplementedError


def said(error: BaseException | None) -> str:
    assert isinstance(error, BackendError)
    where, _, seen = str(error).partition(": ")
    assert where.startswith(f"stage seeing, on {socket.gethostname()}")
    return seen


def seen_by_workers(resources: Resources) -> list[str]:
    """What each of the workers sees that the local engine plans for a stage, on four cores."""
    job = SeeingJob(resources=resources)
    with local_cluster(EngineSettings(workers=4)) as cluster:
        num_workers = make_plan({"seeing": resources}, cluster.nodes).workers["seeing"]
        hands = [cluster.crew.start(job) for _ in range(num_workers)]
        try:
            return [said(ready.exception()) for ready in [hand.ready() for hand in hands]]
        finally:
            for hand in hands:
                hand.stop()


@pytest.mark.slow
def test_workers_are_spread_evenly_over_the_gpus_and_see_one_each(machine: Callable[..., None]) -> None:
    """Of each GPU's 86 GB two workers hold 30; a third would be too much."""
    machine(81920, 81920)
    assert seen_by_workers(Resources(gpus=0.3, gpu_memory_gb=30)) == ["0", "1", "0", "1"]


def test_workers_stay_on_the_gpus_that_were_chosen(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(81920, 81920, 81920, 81920)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-1111")
    assert seen_by_workers(Resources(gpus=1)) == ["3", "GPU-1111"]


def test_few_workers_do_not_crowd_one_gpu(machine: Callable[..., None]) -> None:
    machine(81920, 81920, 81920)
    assert seen_by_workers(Resources(gpus=0.25, workers=3)) == ["0", "1", "2"]


def test_worker_of_several_gpus_has_them_to_itself(machine: Callable[..., None]) -> None:
    machine(81920, 81920, 81920, 81920)
    assert seen_by_workers(Resources(gpus=2)) == ["0,1", "2,3"]


def test_worker_that_holds_no_gpu_sees_none(machine: Callable[..., None]) -> None:
    machine(81920)
    assert seen_by_workers(Resources(workers=1)) == [""]


def test_place_of_a_worker_that_has_stopped_is_free_again(machine: Callable[..., None]) -> None:
    machine(81920, 81920)
    with local_cluster(EngineSettings(workers=4)) as cluster:
        job = SeeingJob(resources=Resources(gpus=1))
        first, second = (cluster.crew.start(job) for _ in range(2))
        second.stop()
        third = cluster.crew.start(job)
        assert said(third.ready().exception()) == "1"
        for hand in (first, third):
            hand.stop()


def test_stage_that_needs_a_gpu_is_refused_where_none_is_visible(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(81920)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ConfigError, match=r"stage seeing can never run here: got nodes of 4 cpu, \S+ GB; wanted"):
        seen_by_workers(Resources(gpus=0.5))


def test_worker_of_a_ray_actor_sees_what_ray_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(BackendError, match=rf"^stage seeing, on {re.escape(socket.gethostname())} with GPU 7: 7$"):
        Worker(PackedJob.of(SeeingJob(resources=Resources(gpus=0.5)))).ready()


@pytest.mark.slow
def test_stages_of_a_build_see_the_gpus_that_they_hold(machine: Callable[..., None], tmp_path: Path) -> None:
    machine(81920, 81920)
    told = tmp_path / "told"
    told.mkdir()
    settings = {"tell": str(told)}
    detect = TellingDetect(settings=settings, resources=Resources(gpus=0.5, memory_gb=0.4, timeout_s=60))
    sources = write_sources(tmp_path / "sources", ["1"] * 16)
    build(sources, tmp_path / "run", stages=[TellingCut(settings=settings), detect, TinyFilter()])
    seen = {(file.name.partition("-")[0], file.read_text()) for file in told.iterdir()}
    assert seen == {("cut", ""), ("detect", "0")}


class Telling(TinyStage):
    """Leaves a file that says which GPUs its worker sees."""

    def setup(self) -> None:
        file = Path(self.settings["tell"], f"{self.name}-{os.getpid()}")
        file.write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))


class TellingCut(Telling, TinyCut):
    pass


class TellingDetect(Telling, TinyDetect):
    pass
