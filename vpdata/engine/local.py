"""The local engine: every worker is a thread of the driver with a child process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from vpdata.engine.cluster import Cluster
from vpdata.engine.plan import Node
from vpdata.engine.settings import EngineSettings
from vpdata.engine.work import Counts, Job, PackedJob
from vpdata.engine.worker import Worker


@contextmanager
def local_cluster(engine: EngineSettings) -> Iterator[Cluster]:
    """This machine, with `engine.workers` as its number of cores."""
    yield Cluster(
        crew=LocalCrew(), nodes=[this_node(engine.workers)], report=lambda stage, counts: None, runs_at_once=False
    )


def this_node(num_cpus: int | None = None) -> Node:
    """What this machine has."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    num_gpus, gpu_memory_gb = gpus_here()
    return Node(cpus=num_cpus or os.cpu_count() or 1, gpus=num_gpus, memory_gb=memory_gb, gpu_memory_gb=gpu_memory_gb)


def gpus_here() -> tuple[int, float]:
    """Number of NVIDIA GPUs and the memory of the smallest in GB; (0, 0.0) without a driver."""
    if shutil.which("nvidia-smi") is None:
        return 0, 0.0
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    sizes_mib = [int(line) for line in listed.stdout.split() if line.isdigit()]
    return len(sizes_mib), min(sizes_mib, default=0) * 2**20 / 1e9


class LocalCrew:
    """Starts workers on this machine."""

    def start(self, job: Job) -> LocalHand:
        return LocalHand(job)


class LocalHand:
    """One worker and the thread that waits for it."""

    def __init__(self, job: Job) -> None:
        self._worker = Worker(PackedJob.of(job))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"worker-{job.name}")

    def ready(self) -> Future[None]:
        return self._thread.submit(self._worker.ready)

    def run(self, name: str) -> Future[Counts]:
        return self._thread.submit(self._worker.run, name)

    def stop(self) -> None:
        self._worker.stop()
        self._thread.shutdown(cancel_futures=True)
