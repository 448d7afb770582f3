"""Time, GPU use and GPU memory of a block, as `nvidia-smi` sees them from outside."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from types import TracebackType

_EVERY_MS = 200
_QUERY = ("--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a block cost."""

    wall_s: float
    busy_frac: float | None
    """Mean of NVML's `utilization.gpu`: the share of time in which at least one kernel ran, however few of the GPU's
    cores it filled. None without a GPU, or where the driver does not say (MIG)."""
    peak_gb: float | None
    """Most GPU memory in use by anybody, in 10^9 bytes."""


class Gauge:
    """A context manager; afterwards `reading` has the figures."""

    def __init__(self, *, gpu: str | None) -> None:
        """`gpu` is what `nvidia-smi -i` calls it, None where there is none."""
        self._gpu = gpu

    def __enter__(self) -> Gauge:
        self._lines = tempfile.TemporaryFile("w+")
        self._sampler = None
        if self._gpu is not None:
            command = ["nvidia-smi", "-i", self._gpu, *_QUERY, "-lms", str(_EVERY_MS)]
            self._sampler = subprocess.Popen(command, stdout=self._lines)
        self._started_at = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        wall_s = time.perf_counter() - self._started_at
        if self._sampler is not None:
            self._sampler.terminate()
            self._sampler.wait()
        self._lines.seek(0)
        self.reading = read_samples(self._lines.read(), wall_s=wall_s)
        self._lines.close()


def read_samples(text: str, *, wall_s: float) -> Reading:
    """From lines such as "87, 40211": percent and MiB. What is no number, and a last line cut short, is left out."""
    rows = [line.split(", ") for line in text.splitlines(keepends=True) if line.endswith("\n")]
    busy = [int(row[0]) / 100 for row in rows if len(row) == 2 and row[0].isdigit()]
    used = [int(row[1]) * 2**20 / 1e9 for row in rows if len(row) == 2 and row[1].strip().isdigit()]
    return Reading(
        wall_s=wall_s, busy_frac=statistics.fmean(busy) if busy else None, peak_gb=max(used) if used else None
    )


def visible_gpu(variable: str | None) -> str:
    """The first GPU of CUDA_VISIBLE_DEVICES as `nvidia-smi -i` takes it: a number or a UUID."""
    return (variable or "0").split(",")[0].strip()


def device_name(gpu: str | None) -> str:
    """What the driver calls the GPU; "CPU" for None. Asked from outside: CUDA in this process would take memory."""
    if gpu is None:
        return "CPU"
    command = ["nvidia-smi", "-i", gpu, "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
