"""Hands ready parts to free workers, oldest first; the same for both engines."""

from __future__ import annotations

import heapq
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from itertools import count

from vpdata.engine.crew import Crew, Hand, WorkerLost
from vpdata.engine.plan import need_text
from vpdata.engine.work import Counts, Job, OutOfRoomError, UnforeseenError
from vpdata.errors import RunError, StorageError, VpdataError

_log = logging.getLogger(__name__)

_MAX_LOSSES = 5
"""Of one piece of work that gets no further between, or of one worker before it is ready; the last stops the run."""
STORAGE_WAITS_S = (5.0, 30.0, 120.0)
"""Before each new try of what a disk or a server failed: a restart of a server takes minutes."""
ERROR_WAITS_S = (1.0, 4.0, 16.0)
"""Before each new try of what nobody foresaw: short, since most of it comes again."""
LOSS_WAITS_S = (0.0, 5.0, 30.0, 120.0)
"""Before a new worker begins in the place of a lost one: a node is lost once, but where memory is short, Ray ends
worker after worker, the fresh ones too.
"""
_WAIT_S = 1.0
ROOM_WAIT_S = 300.0
"""After which a stage without any worker gets the room of idle workers behind it. A process that has its place, but
loads Python from a slow disk, looks as if it had none; the workers that are stopped for it load their models again.
"""
SLOW_START_S = 300.0
"""After which it is told, once until all are, that workers of a stage are not ready."""


@dataclass(slots=True)
class _Errand:
    """What a future will tell about; `name` is None while the worker is starting."""

    job: Job
    hand: Hand
    name: str | None
    num_lost: int = 0
    """Workers that vanished in this one's place, one after another, before they were ready."""
    num_failed: int = 0
    """Times that this worker could not set up."""
    since_s: float = field(default_factory=time.monotonic)


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

        `waiting`: per job what can start at once. `staff`: workers per job when only the given jobs are left, in the
        order in which they start.
        """
        self._crew, self._jobs = crew, list(jobs)
        self._waiting = {job.name: sorted(waiting[job.name]) for job in jobs}
        self._following, self._staff, self._done = following, staff, done
        self._hands: dict[str, list[Hand]] = {job.name: [] for job in jobs}
        self._free: dict[str, list[Hand]] = {job.name: [] for job in jobs}
        self._errands: dict[Future, _Errand] = {}
        self._resting: list[tuple[float, int, _Errand]] = []
        """What failed or was lost, with the moment (`time.monotonic`) of its next try and a number to sort by."""
        self._numbers = count()
        self._losses: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._num_durable: Counter[str] = Counter()
        """Of a piece of work, when it was last lost or failed; those that got further since count anew."""
        self._failed_by: dict[tuple[str, str], list[Hand]] = {}
        """By stage and part."""
        self._unsound: list[Hand] = []
        """Those whose last part failed."""
        self._told_slow: set[str] = set()
        self._favoured: Job | None = None
        """The one without a worker, for which workers of later ones were stopped."""

    def run(self) -> None:
        """Return when all is done; raises the first error that no item is to blame for and that does not pass.

        What a disk or a server failed, and what nobody foresaw, is tried again by a fresh process, three times.
        """
        try:
            self._hire()
            while self._jobs:
                if self._retire_first():
                    self._hire()
                    continue
                self._wake()
                self._hand_out()
                self._make_room()
                self._tell_slow()
                for future in self._finished():
                    self._settle(future, self._errands.pop(future))
        finally:
            for hands in self._hands.values():
                for hand in hands:
                    hand.stop()

    def _hire(self) -> None:
        wanted = dict(self._staff(self._jobs))
        # Until `cut` has run nobody knows its number of sub-parts, so only the first job is sure of what comes.
        for first in self._jobs[:1]:
            wanted[first.name] = min(wanted[first.name], len(self._waiting[first.name]))
        jobs = {job.name: job for job in self._jobs}
        # In the plan's order: Ray places each as it comes, and small shares of GPUs would leave no large ones.
        for name in wanted:
            while len(self._hands[name]) < wanted[name]:
                self._start(jobs[name])

    def _start(self, job: Job) -> None:
        hand = self._crew.start(job)
        self._hands[job.name].append(hand)
        self._errands[hand.ready()] = _Errand(job, hand, None)

    def _retire_first(self) -> bool:
        """Stop the workers of the first job if it has nothing left, which frees their resources."""
        job = self._jobs[0]
        resting = [errand for _, _, errand in self._resting]
        is_busy = any(errand.job is job and errand.name for errand in (*self._errands.values(), *resting))
        if self._waiting[job.name] or is_busy:
            return False
        for hand in self._hands.pop(job.name):
            hand.stop()
        self._errands = {future: errand for future, errand in self._errands.items() if errand.job is not job}
        self._resting = [entry for entry in self._resting if entry[-1].job is not job]
        heapq.heapify(self._resting)
        self._jobs.remove(job)
        return True

    def _hand_out(self) -> None:
        for job in reversed(self._jobs):
            waiting, free, kept = self._waiting[job.name], self._free[job.name], []
            while waiting and free:
                name = heapq.heappop(waiting)
                if (hand := self._hand_for(job, name)) is None:
                    kept.append(name)
                    continue
                free.remove(hand)
                self._errands[hand.run(name)] = _Errand(job, hand, name)
            for name in kept:
                heapq.heappush(waiting, name)

    def _hand_for(self, job: Job, name: str) -> Hand | None:
        """A free worker for a part, if possible one that failed neither at it nor at its last; None: wait for one.

        Else a sick GPU, or the workers of a sick node in turn, would have a part again and again while all others are
        at work or load their models, and stop the run. What has not failed yet may go to any.
        """
        failed, free = self._failed_by.get((job.name, name), []), self._free[job.name]
        shunned = [*failed, *self._unsound]
        if sound := [hand for hand in free if hand not in shunned]:
            return sound[-1]
        to_come = (errand for errand in self._errands.values() if errand.job is job and errand.hand not in shunned)
        if failed and any(errand.name or errand.hand.is_placed() for errand in to_come):
            return None
        return next((hand for hand in reversed(free) if hand not in failed), free[-1])

    def _make_room(self) -> None:
        """Give a stage that has parts but no worker the room that later stages hold and do not use.

        Else a lost node that held all its workers would stop the run for good: those behind it get nothing to do, and
        keep the room. They start again when it has one; until then a new one of theirs could be placed first.
        """
        starved = next(filter(self._is_starved, self._jobs), None)
        if starved is None:
            if self._favoured is not None:
                self._favoured = None
                self._hire()
            return
        later = self._jobs[self._jobs.index(starved) + 1 :]
        if starved is not self._favoured:
            self._favoured = starved
            _log.warning(
                "stage %s: %d part(s) wait, and for %g s the cluster has started none of its %d worker(s), as if it "
                "had no room for them (each wants %s)%s",
                starved.name,
                len(self._waiting[starved.name]),
                ROOM_WAIT_S,
                len(self._hands[starved.name]),
                need_text(starved.resources),
                "; idle workers of stages behind it are stopped until it has one" if later else "",
            )
        for job in later:
            idle, self._free[job.name] = self._free[job.name], []
            unplaced = {future: one.hand for future, one in self._starting(job).items() if not one.hand.is_placed()}
            for future in unplaced:
                del self._errands[future]
            for hand in (*idle, *unplaced.values()):
                self._hands[job.name].remove(hand)
                hand.stop()
            if self._is_at_work(job):
                # What it makes is for those behind it: should the room never come back, all that can be is done.
                break

    def _is_at_work(self, job: Job) -> bool:
        """Whether it will do more: not where it has parts, but no place for a worker either."""
        resting = (errand for _, _, errand in self._resting)
        if any(errand.job is job and errand.name for errand in (*self._errands.values(), *resting)):
            return True
        return bool(self._waiting[job.name]) and any(one.hand.is_placed() for one in self._starting(job).values())

    def _is_starved(self, job: Job) -> bool:
        if not self._waiting[job.name]:
            return False
        starting, start_s = self._starting(job).values(), time.monotonic() - ROOM_WAIT_S
        return 0 < len(starting) == len(self._hands[job.name]) and not any(
            errand.since_s > start_s or errand.hand.is_placed() for errand in starting
        )

    def _starting(self, job: Job) -> dict[Future, _Errand]:
        return {future: errand for future, errand in self._errands.items() if errand.job is job and not errand.name}

    def _tell_slow(self) -> None:
        start_s = time.monotonic() - SLOW_START_S
        for job in self._jobs:
            starting = [errand for errand in self._starting(job).values() if errand.since_s < start_s]
            if not starting:
                self._told_slow.discard(job.name)
            elif job.name not in self._told_slow:
                self._told_slow.add(job.name)
                _log.warning(
                    "stage %s: %d of %d workers are not ready after %g minutes, and %d part(s) wait: the cluster has "
                    "no room for %d of them (each wants %s), the models of the others are still loading",
                    job.name,
                    len(starting),
                    len(self._hands[job.name]),
                    SLOW_START_S / 60,
                    len(self._waiting[job.name]),
                    sum(not errand.hand.is_placed() for errand in starting),
                    need_text(job.resources),
                )

    def _finished(self) -> set[Future]:
        """Wait for something to happen, but not past the next try."""
        timeout_s = _WAIT_S
        if self._resting:
            timeout_s = min(timeout_s, max(0.0, self._resting[0][0] - time.monotonic()))
        if not self._errands:
            time.sleep(timeout_s)
        return wait(self._errands, timeout=timeout_s, return_when=FIRST_COMPLETED).done

    def _wake(self) -> None:
        while self._resting and self._resting[0][0] <= time.monotonic():
            errand = heapq.heappop(self._resting)[-1]
            if errand.name is not None:
                heapq.heappush(self._waiting[errand.job.name], errand.name)
                errand = _Errand(errand.job, errand.hand, None)
            # Also after a part: its process is a fresh one, whose set-up may fail by no part's doing.
            self._errands[errand.hand.ready()] = errand

    def _settle(self, future: Future, errand: _Errand) -> None:
        stage = errand.job.name
        try:
            counts = future.result()
        except WorkerLost as lost:
            self._replace(errand, lost)
            return
        except Exception as error:  # noqa: BLE001  which of them end the run is for _put_off to say
            self._put_off(errand, error)
            return
        self._free[stage].append(errand.hand)
        if errand.name is None:
            return
        self._failed_by.pop((stage, errand.name), None)
        if errand.hand in self._unsound:
            self._unsound.remove(errand.hand)
        self._done(stage, counts)
        position = self._jobs.index(errand.job)
        if position + 1 < len(self._jobs):
            for name in self._following(stage, counts):
                heapq.heappush(self._waiting[self._jobs[position + 1].name], name)

    def _put_off(self, errand: _Errand, error: Exception) -> None:
        """Let the worker rest and what it failed at wait, or raise the error if it will not pass."""
        what, num_failed = f"stage {errand.job.name}, {errand.name or 'starting'}", errand.num_failed
        if errand.name is not None:
            self._count_anew(errand.job, errand.name, what)
            num_failed = self._failures[what]
            self._failures[what] += 1
            self._failed_by.setdefault((errand.job.name, errand.name), []).append(errand.hand)
            # A server that is down fails the soundest.
            if errand.hand not in self._unsound and not isinstance(error, StorageError):
                self._unsound.append(errand.hand)
        waits_s = _waits_s(error)
        if num_failed >= len(waits_s) > 0 and errand.name is None and self._has_ready(errand.job):
            _log.warning("%s; its stage goes on without this worker", error)
            self._hands[errand.job.name].remove(errand.hand)
            errand.hand.stop()
            return
        if num_failed >= len(waits_s):
            raise error
        _log.warning("%s; trying again in %g s", error, waits_s[num_failed])
        self._rest(replace(errand, num_failed=num_failed + 1), waits_s[num_failed])

    def _rest(self, errand: _Errand, wait_s: float) -> None:
        heapq.heappush(self._resting, (time.monotonic() + wait_s, next(self._numbers), errand))

    def _count_anew(self, job: Job, name: str, what: str) -> None:
        """Forget losses and failures of a piece of work that has got further since the last of them."""
        try:
            num_durable = job.num_durable(name)
        except StorageError:
            # Often what it failed of; a server that is down does not say, and nothing is made without it.
            return
        if num_durable > self._num_durable[what]:
            self._num_durable[what] = num_durable
            del self._losses[what], self._failures[what]

    def _has_ready(self, job: Job) -> bool:
        """Whether a worker of the stage has set up, and so is proof that workers can."""
        resting = (errand for _, _, errand in self._resting)
        at_work = (errand for errand in (*self._errands.values(), *resting) if errand.job is job and errand.name)
        return bool(self._free[job.name]) or any(at_work)

    def _replace(self, errand: _Errand, lost: WorkerLost) -> None:
        # A node takes all its workers with it: neither those that were starting nor those that stood idle count
        # together, else the death of one node would look like a piece of work that kills.
        stage, name = errand.job.name, errand.name
        what, num_lost = f"stage {stage}, {name or 'starting'}", 0
        if name is None:
            num_lost = errand.num_lost + 1
        elif lost.had_begun:
            self._count_anew(errand.job, name, what)
            self._losses[what] += 1
            num_lost = self._losses[what]
        if num_lost >= _MAX_LOSSES:
            memory = f"fewer {stage}.resources.workers or a higher memory_gb there"
            raise RunError(
                f"{what}: its worker was lost {_MAX_LOSSES} times: {lost}; submit the same command again, if the "
                f"machine ran out of memory with {memory if errand.job.has_items else 'a higher engine.pack_memory_gb'}"
            )
        wait_s = LOSS_WAITS_S[max(0, num_lost - 1)]
        when = f" in {wait_s:g} s" if wait_s else ""
        _log.warning("%s: a worker was lost (%s); another one takes over%s", what, lost, when)
        self._hands[stage].remove(errand.hand)
        errand.hand.stop()
        # It takes its place at once and loads its models after the wait, as the part waits too.
        hand = self._crew.start(errand.job)
        self._hands[stage].append(hand)
        self._rest(_Errand(errand.job, hand, name, num_lost if name is None else 0), wait_s)


def _waits_s(error: Exception) -> Sequence[float]:
    """How long to wait before each new try; () for what comes again however often it is tried."""
    if isinstance(error, StorageError) and not isinstance(error, OutOfRoomError):
        return STORAGE_WAITS_S
    if isinstance(error, UnforeseenError) or not isinstance(error, VpdataError):
        return ERROR_WAITS_S
    return ()
