"""What a child process is given before its stage is set up, and what it hands back beside its results."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from vpdata.engine.work import Counts, PackedJob, Work
from vpdata.engine.worker import Worker
from vpdata.errors import BackendError, ConfigError, RunError
from vpdata.stages.base import Resources

WHERE = f"stage telling, on {socket.gethostname()}"
TORCH_OF_TWO_GPUS = """
import types

asked = []
OutOfMemoryError = MemoryError
device = Tensor = None

class cuda:
    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 2)
    set_per_process_memory_fraction = staticmethod(lambda fraction, device: asked.append((device, fraction)))

    def get_device_properties(device):
        return types.SimpleNamespace(total_memory=(80_000_000_000, 10_000_000_000)[device])
"""
"""In the place of torch: its memory calls, of a GPU of 80 GB and one of 10."""


@dataclass(frozen=True, kw_only=True)
class TellingJob:
    """Its set-up fails, and says what it has found."""

    resources: Resources
    name = "telling"
    has_items = False

    def setup(self) -> None:
        asked = sys.modules["torch"].asked if "torch" in sys.modules else "nothing"
        raise BackendError(f"asked {asked}, allocates by {os.environ.get('PYTORCH_CUDA_ALLOC_CONF')}")

    def run(self, work: Work, alive: Callable[[int], None]) -> Counts:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class HungryJob:
    """Takes more memory than it may, once it runs."""

    resources: Resources
    name = "pack"
    has_items = False

    def setup(self) -> None:
        pass

    def run(self, work: Work, alive: Callable[[int], None]) -> Counts:
        held = b"x" * 1_000_000_000
        time.sleep(60)
        raise AssertionError(len(held))


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Resources], str]:
    (tmp_path / "torch.py").write_text(TORCH_OF_TWO_GPUS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF", raising=False)

    def set_up(resources: Resources) -> str:
        with pytest.raises(BackendError) as caught:
            Worker(PackedJob.of(TellingJob(resources=resources))).ready()
        return str(caught.value)

    return set_up


def test_worker_that_shares_a_gpu_is_bounded_to_its_memory(found: Callable[[Resources], str]) -> None:
    """16 of 80 GB are a fifth; a GPU that has only 10 is bounded by itself."""
    said = found(Resources(gpus=0.25, gpu_memory_gb=16))
    assert said == f"{WHERE}: asked [(0, 0.2), (1, 1.0)], allocates by expandable_segments:True"


def test_worker_with_a_gpu_of_its_own_may_use_all_of_it(found: Callable[[Resources], str]) -> None:
    said = found(Resources(gpus=1, gpu_memory_gb=16))
    assert said == f"{WHERE}: asked nothing, allocates by expandable_segments:True"


def test_worker_without_a_gpu_loads_no_torch(found: Callable[[Resources], str]) -> None:
    assert found(Resources(gpu_memory_gb=16)) == f"{WHERE}: asked nothing, allocates by None"


def test_a_choice_of_the_users_own_stays(found: Callable[[Resources], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:128")
    assert found(Resources(gpus=0.5)).endswith("allocates by max_split_size_mb:128")


@dataclass(frozen=True, kw_only=True)
class LoggingJob:
    """Logs as models and stages do."""

    resources: Resources
    name = "logging"
    has_items = False

    def setup(self) -> None:
        pass

    def run(self, work: Work, alive: Callable[[int], None]) -> Counts:
        for name in ("vpdata.models.one", "vpdata.stages.two", "vpdata.media.three", "a.library"):
            logging.getLogger(name).info("%s says", name)
        logging.getLogger("vpdata.stages.two").warning("two things\nwere left out")
        return Counts(name=work.name, num_items=0, num_records=0, num_rejects=0)


def test_last_lines_of_models_and_warnings_of_stages_come_with_the_result() -> None:
    worker = Worker(PackedJob.of(LoggingJob(resources=Resources())))
    try:
        assert worker.run("part-00000").notes == ("vpdata.models.one says", "two things were left out")
    finally:
        worker.stop()


@dataclass(frozen=True, kw_only=True)
class OnceDyingJob:
    """Ends its process the first time."""

    flag: Path
    resources: Resources
    name = "dying"
    has_items = True

    def setup(self) -> None:
        pass

    def run(self, work: Work, alive: Callable[[int], None]) -> Counts:
        if not self.flag.exists():
            self.flag.touch()
            os.write(2, b"two lines of\nlast words\n")
            os._exit(3)
        return Counts(name=work.name, num_items=0, num_records=0, num_rejects=0)


def test_deaths_of_a_worker_come_with_the_result(tmp_path: Path) -> None:
    """As the log of a Ray worker reaches nobody."""
    worker = Worker(PackedJob.of(OnceDyingJob(flag=tmp_path / "flag", resources=Resources())))
    try:
        words, death, *_ = worker.run("part-00000").notes
        assert words == "last words of a worker: two lines of last words"
        assert death == "a worker died (exit status 3); going on one item at a time"
        assert worker.run("part-00001").notes == ()
    finally:
        worker.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="reads memory in /proc")
@pytest.mark.parametrize(
    ("memory_gb", "error", "message"),
    [
        (0.01, ConfigError, r"GB in use before its first item, .*; raise engine\.pack_memory_gb"),
        (0.8, RunError, r"its worker died \(more than 0\.8 GB\), by no item's doing; raise engine\.pack_memory_gb"),
    ],
)
def test_packing_names_the_setting_that_gives_it_memory(memory_gb: float, error: type, message: str) -> None:
    worker = Worker(PackedJob.of(HungryJob(resources=Resources(memory_gb=memory_gb))))
    try:
        with pytest.raises(error, match=message):
            worker.run("pack-plan.parquet")
    finally:
        worker.stop()
