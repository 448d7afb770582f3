"""Processes that each hold one method and fill cases: Ray actors, a fixed number of them.

Ray restarts none: which case a process died on, or took too long for, is known here, and costs that case alone.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError

from benchmark.bench import Case
from benchmark.methods.settings import MethodSettings
from benchmark.methods.worker import Job, failed
from benchmark.results import Outcome, Results
from vpdata.errors import BackendError, ConfigError

_log = logging.getLogger(__name__)
_LOAD_LIMIT_S = 1800.0
"""From when the process is there. Tens of gigabytes from a network disk take minutes, whatever a case takes."""
_TELL_S = 60.0
"""So often it is told that nothing can begin yet."""
OnOutcome = Callable[[Case, Outcome], None]


class _Worker:
    """The actor."""

    def __init__(self, packed_job: bytes, *, folder: str, num_threads: int) -> None:
        """`folder`: relative paths in options are from there, as in the process that was started by hand."""
        import cv2

        os.chdir(folder)
        cv2.setNumThreads(num_threads)
        self._job: Job = pickle.loads(packed_job)

    def ready(self) -> None:
        """Answers once the process is there."""

    def load(self) -> None:
        self._method = self._job.load()

    def run(self, case_id: str) -> Outcome:
        return self._job.run(self._method, self._job.bench.case(case_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What an actor is doing."""

    actor: Any
    case: Case | None
    """None: it is being started, or loads its method."""
    limit_s: float
    """Infinite while it is being started, since it may wait for its place on the cluster."""
    deadline_s: float
    """Of `time.monotonic`."""

    @property
    def is_starting(self) -> bool:
        return self.limit_s == math.inf


def _num_workers(settings: MethodSettings) -> int:
    """How many find room on the cluster, up to those that are asked for. ConfigError where not one does."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    needs = {name: need for name, need in (("CPU", settings.cpus), ("GPU", settings.gpus)) if need}
    room = sum(math.floor(min(node.get(name, 0.0) / need for name, need in needs.items())) for node in nodes)
    if not room:
        largest = ", ".join(f"{max(node.get(name, 0.0) for node in nodes):g} {name}s" for name in ("CPU", "GPU"))
        raise ConfigError(
            f"a worker wants {settings.cpus:g} CPUs and {settings.gpus:g} GPUs, but the largest node has {largest}; "
            "lower cpus or gpus of the method"
        )
    return min(room, settings.workers)


class Crew:
    """Runs one job's cases on a cluster that is connected."""

    def __init__(self, job: Job, on_outcome: OnOutcome, *, problem: str = "") -> None:
        """`on_outcome` is told of each case when its outcome is kept. `problem`: why the method cannot be loaded, where
        that is known before.
        """
        self._job = job
        self._on_outcome = on_outcome
        self._results = Results(job.results)
        self._waiting: deque[Case] = deque()
        self._tasks: dict[ray.ObjectRef, _Task] = {}
        self._load_error = problem

    def run(self, cases: Sequence[Case]) -> None:
        """Fill them all, each once. What a case does to its process is its own outcome.

        StorageError where outcomes cannot be kept.
        """
        self._waiting.extend(cases)
        try:
            if cases and not self._load_error:
                self._start_workers(at_most=len(cases))
            while self._is_at_work():
                self._step()
        finally:
            for task in self._tasks.values():
                ray.kill(task.actor)
        for case in self._waiting:
            self._fail(case, f"the method cannot be loaded: {self._load_error}")

    def _is_at_work(self) -> bool:
        """Whether a case is being filled, or one waits and an actor may come to fill it."""
        return any(task.case is not None for task in self._tasks.values()) or bool(self._waiting and self._tasks)

    def _start_workers(self, *, at_most: int) -> None:
        try:
            num = _num_workers(self._job.settings)
        except ConfigError as error:
            self._load_error = str(error)
            return
        for _ in range(min(num, at_most)):
            self._start()

    def _start(self) -> None:
        settings = self._job.settings
        options = {"num_cpus": settings.cpus, "num_gpus": settings.gpus}
        actor = (
            ray.remote(_Worker)
            .options(**options, max_restarts=0, max_task_retries=0)
            .remote(pickle.dumps(self._job), folder=os.getcwd(), num_threads=math.ceil(settings.cpus))
        )
        self._track(actor.ready.remote(), actor, case=None, limit_s=math.inf)

    def _track(self, ref: ray.ObjectRef, actor: Any, *, case: Case | None, limit_s: float) -> None:
        self._tasks[ref] = _Task(actor=actor, case=case, limit_s=limit_s, deadline_s=time.monotonic() + limit_s)

    def _step(self) -> None:
        """Wait for the next that is finished or late."""
        first_deadline_s = min(task.deadline_s for task in self._tasks.values())
        timeout_s = min(max(0.0, first_deadline_s - time.monotonic()), _TELL_S)
        done, _ = ray.wait(list(self._tasks), timeout=timeout_s)
        if not done and all(task.is_starting for task in self._tasks.values()):
            _log.warning("%s: waits for a place on the cluster", self._job.name)
        for ref in done:
            self._finish(ref, self._tasks.pop(ref))
        now_s = time.monotonic()
        for ref in [ref for ref, task in self._tasks.items() if task.deadline_s <= now_s]:
            task = self._tasks.pop(ref)
            self._lose(task, f"it took more than {task.limit_s:g} s")

    def _finish(self, ref: ray.ObjectRef, task: _Task) -> None:
        try:
            outcome = ray.get(ref)
        except OutOfMemoryError:
            # Ray's own words name the node.
            fewer = "; start fewer workers of the method" if self._job.settings.workers > 1 else ""
            self._lose(task, f"its process was killed: the node ran low on memory{fewer}")
            return
        except RayActorError as error:
            self._lose(task, f"its process died: {str(error).splitlines()[0]}")
            return
        except RayTaskError as error:
            if task.case is not None:
                raise error.cause from None
            self._lose(task, _named(error.cause))
            return
        if task.is_starting:
            self._track(task.actor.load.remote(), task.actor, case=None, limit_s=_LOAD_LIMIT_S)
            return
        if task.case is not None:
            self._keep(task.case, outcome)
        if self._waiting:
            case = self._waiting.popleft()
            limit_s = self._job.settings.time_limit_s
            self._track(task.actor.run.remote(case.id), task.actor, case=case, limit_s=limit_s)
        else:
            ray.kill(task.actor)

    def _lose(self, task: _Task, reason: str) -> None:
        """End an actor. One that could not load its method is not replaced: the next could not either."""
        # One that could not be reached for a moment is at work still, and holds its GPU.
        ray.kill(task.actor)
        if task.case is None:
            self._load_error = reason
            return
        self._fail(task.case, reason)
        if self._waiting:
            self._start()

    def _fail(self, case: Case, reason: str) -> None:
        self._keep(case, failed(reason))

    def _keep(self, case: Case, outcome: Outcome) -> None:
        keep = self._results.keep_outcome if outcome.status == "ok" else self._results.keep_failure
        keep(self._job.name, case.id, outcome)
        self._on_outcome(case, outcome)


def _named(error: BaseException) -> str:
    known = isinstance(error, (BackendError, ConfigError))
    return str(error) if known else f"{type(error).__name__}: {error}"
