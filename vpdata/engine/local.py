"""The local engine: every worker is a thread of the driver with a child process of its own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from vpdata.engine.cluster import Cluster
from vpdata.engine.gpus import gpus_here
from vpdata.engine.plan import Node
from vpdata.engine.settings import EngineSettings
from vpdata.engine.work import Counts, Job, PackedJob
from vpdata.engine.worker import Worker


@contextmanager
def local_cluster(engine: EngineSettings) -> Iterator[Cluster]:
    """This machine, with `engine.workers` as its number of cores."""
    yield Cluster(
        crew=LocalCrew(gpus_here().names),
        nodes=[this_node(engine.workers)],
        report=lambda stage, counts: None,
        runs_at_once=False,
    )


def this_node(num_cpus: int | None = None) -> Node:
    """What this machine has."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    gpus = gpus_here()
    return Node(
        cpus=num_cpus or os.cpu_count() or 1,
        gpus=len(gpus.names),
        memory_gb=memory_gb,
        gpu_memory_gb=gpus.memory_gb,
    )


class LocalCrew:
    """Starts workers on this machine, each on the GPUs that have the fewest."""

    def __init__(self, gpus: Sequence[str] | None = None) -> None:
        """`gpus`: what `CUDA_VISIBLE_DEVICES` calls them; None: every worker sees those that this process sees."""
        self._gpus = gpus
        self._hands: list[LocalHand] = []

    def start(self, job: Job) -> LocalHand:
        hand = LocalHand(job, gpus=self._least_used(job.resources.gpus))
        self._hands.append(hand)
        return hand

    def _least_used(self, num_gpus: float) -> Sequence[str] | None:
        # Counting is enough: stages run one at a time, so all workers want the same, and the plan fits their number.
        if self._gpus is None or num_gpus == 0:
            return None
        num_workers = Counter(gpu for hand in self._hands if not hand.is_stopped for gpu in hand.gpus or ())
        return sorted(self._gpus, key=lambda gpu: num_workers[gpu])[: max(1, int(num_gpus))]


class LocalHand:
    """One worker and the thread that waits for it."""

    def __init__(self, job: Job, *, gpus: Sequence[str] | None) -> None:
        self.gpus = gpus
        """As `Worker` takes them."""
        self.is_stopped = False
        self._worker = Worker(PackedJob.of(job), gpus=gpus)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"worker-{job.name}")

    def is_placed(self) -> bool:
        return True

    def ready(self) -> Future[None]:
        return self._thread.submit(self._worker.ready)

    def run(self, name: str) -> Future[Counts]:
        return self._thread.submit(self._worker.run, name)

    def stop(self) -> None:
        self.is_stopped = True
        self._worker.stop()
        self._thread.shutdown(cancel_futures=True)
