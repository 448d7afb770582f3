"""What a killed process has left half made does not fill the disk."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from vpdata.engine.work import Counts, PackedJob, Work
from vpdata.engine.worker import Worker
from vpdata.errors import RunError
from vpdata.stages.base import Resources
from vpdata.storage import Folder


@dataclass(frozen=True, kw_only=True)
class LeavingJob:
    """Ends its process with a file half uploaded, where it is told to."""

    resources: Resources
    name = "leaving"
    has_items = False

    def setup(self) -> None:
        pass

    def run(self, work: Work, alive: Callable[[int], None]) -> Counts:
        with Folder("memory://bucket").writing("clips.tar") as path:
            path.write_bytes(b"half a file")
            if work.name == "killed":
                os._exit(3)
        return Counts(name=str(path), num_items=0, num_records=0, num_rejects=0)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """TMPDIR of the worker and its processes."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_what_a_process_leaves_goes_with_it(disk: Path) -> None:
    worker = Worker(PackedJob.of(LeavingJob(resources=Resources())))
    with pytest.raises(RunError, match="by no item's doing"):
        worker.run("killed")
    assert list(disk.iterdir()) == []
    made = Path(worker.run("whole").name)
    assert made.is_relative_to(disk)
    assert not made.exists()
    worker.stop()
    assert list(disk.iterdir()) == []


def test_a_worker_clears_away_what_killed_workers_left_here(disk: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead, here = int(gone.stdout), f"{socket.gethostname()}-{os.stat('/proc/self/ns/pid').st_ino}"
    elsewhere = [f"vpdata-scratch-{place}-{dead}-a" for place in ("elsewhere-1", f"{socket.gethostname()}-1")]
    kept = {f"vpdata-scratch-{here}-{os.getpid()}-a", *elsewhere, "vpdata-weights-0"}
    for name in (*kept, f"vpdata-scratch-{here}-{dead}-a"):
        (disk / name).mkdir()
        (disk / name / "clips.tar").write_bytes(b"half a file")
    Worker(PackedJob.of(LeavingJob(resources=Resources()))).stop()
    assert {path.name for path in disk.iterdir()} == kept
