"""Hands ready parts to free workers, oldest first; the same for both engines."""

from __future__ import annotations

import heapq
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Protocol

from vpdata.engine.work import Counts, Job
from vpdata.errors import RunError

_log = logging.getLogger(__name__)

_MAX_LOSSES = 5
"""Of one piece of work, or of one worker before it is ready; what vanishes again and again stops the run."""
_WAIT_S = 1.0


class WorkerLost(Exception):  # noqa: N818  nobody's error
    """A worker vanished with its node or was killed from outside; raised by the futures of a `Hand`."""

    def __init__(self, why: str, *, had_begun: bool) -> None:
        """`had_begun`: it vanished at the piece of work that it was handed, not while it had nothing to do."""
        super().__init__(why)
        self.had_begun = had_begun


class Hand(Protocol):
    """One worker, wherever it runs."""

    def ready(self) -> Future[None]: ...

    def run(self, name: str) -> Future[Counts]: ...

    def stop(self) -> None: ...


class Crew(Protocol):
    """Where workers come from."""

    def start(self, job: Job) -> Hand: ...


@dataclass(slots=True)
class _Errand:
    """What a future will tell about; `name` is None while the worker is starting."""

    job: Job
    hand: Hand
    name: str | None
    num_lost: int = 0
    """Workers that vanished in this one's place, one after another, before they were ready."""


class Dispatch:
    """Runs some jobs at once until none of them has anything left."""

    def __init__(
        self,
        crew: Crew,
        jobs: Sequence[Job],
        *,
        waiting: Mapping[str, Sequence[str]],
        following: Callable[[str, Counts], Sequence[str]],
        staff: Callable[[Sequence[Job]], Mapping[str, int]],
        done: Callable[[str, Counts], None],
    ) -> None:
        """`jobs` stand in the order of the data and hand their finished work on: `following` names it for the next.

        `waiting`: per job what can start at once. `staff`: workers per job when only the given jobs are left.
        """
        self._crew, self._jobs = crew, list(jobs)
        self._waiting = {job.name: sorted(waiting[job.name]) for job in jobs}
        self._following, self._staff, self._done = following, staff, done
        self._hands: dict[str, list[Hand]] = {job.name: [] for job in jobs}
        self._free: dict[str, list[Hand]] = {job.name: [] for job in jobs}
        self._errands: dict[Future, _Errand] = {}
        self._losses: Counter[str] = Counter()

    def run(self) -> None:
        """Return when all is done; raises the first error that no item is to blame for."""
        try:
            self._hire()
            while self._jobs:
                if self._retire_first():
                    self._hire()
                    continue
                self._hand_out()
                finished, _ = wait(self._errands, timeout=_WAIT_S, return_when=FIRST_COMPLETED)
                for future in finished:
                    self._settle(future, self._errands.pop(future))
        finally:
            for hands in self._hands.values():
                for hand in hands:
                    hand.stop()

    def _hire(self) -> None:
        wanted = self._staff(self._jobs)
        num_waiting = 0
        for job in self._jobs:
            num_waiting += len(self._waiting[job.name])
            # Until `cut` has run nobody knows its number of sub-parts, so only the first job is sure of what comes.
            limit = num_waiting if job is self._jobs[0] else wanted[job.name]
            while len(self._hands[job.name]) < min(wanted[job.name], limit):
                self._start(job)

    def _start(self, job: Job, *, num_lost: int = 0) -> None:
        hand = self._crew.start(job)
        self._hands[job.name].append(hand)
        self._errands[hand.ready()] = _Errand(job, hand, None, num_lost)

    def _retire_first(self) -> bool:
        """Stop the workers of the first job if it has nothing left, which frees their resources."""
        job = self._jobs[0]
        is_busy = any(errand.job is job and errand.name for errand in self._errands.values())
        if self._waiting[job.name] or is_busy:
            return False
        for hand in self._hands.pop(job.name):
            hand.stop()
        self._errands = {future: errand for future, errand in self._errands.items() if errand.job is not job}
        self._jobs.remove(job)
        return True

    def _hand_out(self) -> None:
        for job in reversed(self._jobs):
            waiting, free = self._waiting[job.name], self._free[job.name]
            while waiting and free:
                name, hand = heapq.heappop(waiting), free.pop()
                self._errands[hand.run(name)] = _Errand(job, hand, name)

    def _settle(self, future: Future, errand: _Errand) -> None:
        stage = errand.job.name
        try:
            counts = future.result()
        except WorkerLost as lost:
            self._replace(errand, lost)
            return
        self._free[stage].append(errand.hand)
        if errand.name is None:
            return
        self._done(stage, counts)
        position = self._jobs.index(errand.job)
        if position + 1 < len(self._jobs):
            for name in self._following(stage, counts):
                heapq.heappush(self._waiting[self._jobs[position + 1].name], name)

    def _replace(self, errand: _Errand, lost: WorkerLost) -> None:
        # A node takes all its workers with it: neither those that were starting nor those that stood idle count
        # together, else the death of one node would look like a piece of work that kills.
        stage, name = errand.job.name, errand.name
        what, num_lost = f"stage {stage}, {name or 'starting'}", 0
        if name is None:
            num_lost = errand.num_lost + 1
        elif lost.had_begun:
            self._losses[what] += 1
        if max(num_lost, self._losses[what]) >= _MAX_LOSSES:
            raise RunError(f"{what}: its worker was lost {_MAX_LOSSES} times: {lost}")
        _log.warning("%s: a worker was lost (%s); another one takes over", what, lost)
        if name is not None:
            heapq.heappush(self._waiting[stage], name)
        self._hands[stage].remove(errand.hand)
        errand.hand.stop()
        self._start(errand.job, num_lost=num_lost)
