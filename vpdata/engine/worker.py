"""A worker: keeps one child process at work, and finds out which item killed it.

A death is charged to nobody at first. The part runs again carefully, one item at a time; when that child dies too, the
item it died on runs alone in fresh child processes, and only if two of them die by its own doing is it rejected. A
death from outside is never charged: the second one makes the part careful too, so that all but the item at hand is
kept, and the last names that item.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from multiprocessing.connection import Connection
from pathlib import Path

from vpdata.engine.child import AT_HAND, OUT_OF_MEMORY_STATUS, Failed
from vpdata.engine.gpus import CUDA_VARIABLE
from vpdata.engine.scratch import make_scratch, sweep_scratch
from vpdata.engine.work import Blame, Counts, PackedJob, Work
from vpdata.errors import BackendError, ConfigError, Reason, RejectItem, RunError, VpdataError
from vpdata.storage import SCRATCH_VARIABLE

_log = logging.getLogger(__name__)

_OWN_SIGNALS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
_POLL_S = 0.2
_START_LIMIT_S = 1800.0
"""For loading models, and for reading a part before its first item starts."""
_MAX_OUTSIDE_DEATHS = 5
"""Of one piece of work; one that is killed from outside again and again stops the run."""
_BACK_OFF_S = 0.5


class _Cause(Enum):
    CRASH = auto()
    TIME = auto()
    MEMORY = auto()
    OUTSIDE = auto()


@dataclass(frozen=True, slots=True)
class _Death:
    cause: _Cause
    detail: str
    num_durable: int = 0
    """Items of the piece of work that were durable when it died; the next one is the first to suspect."""
    last_words: str = ""
    at_hand: str = ""
    """Id of the item that a careful child had begun; "" where it is not known."""


class Worker:
    """Runs in a thread of the local driver, or as a Ray actor."""

    def __init__(self, job: PackedJob, *, gpus: Sequence[str] | None = None) -> None:
        """`gpus`: the only ones that it may use, as `CUDA_VISIBLE_DEVICES` calls them; None: as this process has it.

        A job that holds no GPU sees none.
        """
        self._job = job
        self._gpus = gpus if job.gpus > 0 else ()
        self._child: _Child | None = None
        self._is_stopped = False
        sweep_scratch()
        self._told: list[str] = []
        """What befell the piece of work at hand. It goes with its counts: the log of a Ray worker reaches nobody."""

    def ready(self) -> None:
        """Start the child and wait until it has set up; raises what it failed with, and may be called again."""
        try:
            self._living_child()
        except VpdataError:
            self._drop_child()
            raise

    def run(self, name: str) -> Counts:
        """Do one piece of work to its end, through crashes of its items; raises what is no item's fault.

        After an error the next call goes on in a fresh child.
        """
        try:
            counts = self._run_to_its_end(name)
            return replace(counts, notes=(*self._told, *counts.notes))
        finally:
            self._told.clear()

    def _run_to_its_end(self, name: str) -> Counts:
        work, num_outside, suspect = Work(name=name), 0, -1
        while True:
            ending = self._attempt(work)
            if isinstance(ending, Counts):
                return ending
            if ending.cause is _Cause.OUTSIDE:
                num_outside += 1
                self._bear_outside(name, num_outside, ending)
                if num_outside > 1 and self._job.has_items and not work.careful:
                    work = Work(name=name, careful=True)
            elif not work.careful and self._job.has_items:
                self._tell(f"a worker died ({ending.detail}); going on one item at a time")
                work = Work(name=name, careful=True)
            elif self._job.has_items and ending.num_durable > suspect:
                suspect = ending.num_durable
                work = Work(name=name, careful=True, blame=self._blame(name))
            else:
                hint = f"; raise {_memory_setting(self._job)}" if ending.cause is _Cause.MEMORY else ""
                raise RunError(
                    f"stage {self._job.name}, {name}: its worker died ({ending.detail}), by no item's doing{hint}"
                )

    def stop(self) -> None:
        """Kill the child; a `run` in another thread ends with a RunError."""
        self._is_stopped = True
        self._drop_child()

    def _blame(self, name: str) -> Blame | None:
        """Run the first unfinished item alone in fresh children: if it kills two of them, what to reject it for."""
        deaths: list[_Death] = []
        num_outside = 0
        while len(deaths) < 2:
            self._drop_child()
            ending = self._attempt(Work(name=name, alone=True))
            if isinstance(ending, Counts):
                return None
            if ending.cause is _Cause.OUTSIDE:
                num_outside += 1
                self._bear_outside(name, num_outside, ending)
            else:
                deaths.append(ending)
        return Blame(index=deaths[-1].num_durable, rejection=self._rejection(deaths[-1]))

    def _rejection(self, death: _Death) -> RejectItem:
        if death.cause is _Cause.TIME:
            detail = "alone in its process, twice, it gave no outcome in time"
            return RejectItem(Reason.TIMEOUT, detail, wanted=f"an outcome within {self._job.timeout_s:g} s")
        if death.cause is _Cause.MEMORY:
            detail = "alone in its process, twice, it went over the memory limit"
            return RejectItem(Reason.WORKER_CRASH, detail, wanted=f"at most {self._job.memory_gb:g} GB")
        return RejectItem(Reason.WORKER_CRASH, "alone in its process, twice, it killed it", got=death.detail)

    def _bear_outside(self, name: str, num_outside: int, death: _Death) -> None:
        if num_outside >= _MAX_OUTSIDE_DEATHS:
            last = f", the last time at record {death.at_hand}" if death.at_hand else ""
            way_out = f"a higher {_memory_setting(self._job)}, so that fewer run at once"
            if self._job.has_items:
                way_out = f"fewer {self._job.name}.resources.workers, or a lower memory_gb there, so that a record that"
                way_out += " takes more is rejected"
            raise RunError(
                f"stage {self._job.name}, {name}: its worker was killed {num_outside} times from outside "
                f"({death.detail}){last}; often the machine has run out of memory: run the same command again with "
                f"{way_out}"
            )
        self._tell(f"a worker was killed from outside ({death.detail}); trying again")
        time.sleep(_BACK_OFF_S * 2 ** (num_outside - 1))

    def _attempt(self, work: Work) -> Counts | _Death:
        try:
            ending = self._living_child().work(work)
        except VpdataError:
            # What it failed at may be broken in this process for good, a CUDA context say.
            self._drop_child()
            raise
        if isinstance(ending, _Death):
            self._child = None
        if self._is_stopped:
            raise RunError(f"{work.name}: stopped")
        if isinstance(ending, _Death) and ending.last_words:
            self._tell(f"last words of a worker: {' '.join(ending.last_words.split())}")
        return ending

    def _tell(self, text: str) -> None:
        _log.info("stage %s: %s", self._job.name, text)
        if text not in self._told:
            self._told.append(text)

    def _living_child(self) -> _Child:
        num_outside = 0
        while self._child is None:
            self._child = _Child(self._job, gpus=self._gpus)
            death = self._child.set_up()
            if self._is_stopped:
                self._drop_child()
                raise RunError(f"stage {self._job.name}: stopped")
            if death is not None:
                self._child = None
                if death.cause is not _Cause.OUTSIDE:
                    what = f"{death.detail}) {death.last_words}"
                    raise BackendError(f"stage {self._job.name}: its process died while it was loading ({what}")
                num_outside += 1
                self._bear_outside("setting up", num_outside, death)
        return self._child

    def _drop_child(self) -> None:
        # `stop` may come from another thread.
        child, self._child = self._child, None
        if child is not None:
            child.kill()


class _Child:
    """One child process and the socket to it."""

    def __init__(self, job: PackedJob, *, gpus: Sequence[str] | None) -> None:
        self._job = job
        ours, theirs = socket.socketpair()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as this object
        self._scratch = make_scratch()
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), SCRATCH_VARIABLE: self._scratch.name}
        environment.setdefault("OMP_NUM_THREADS", str(max(1, int(job.cpus))))
        if gpus is not None:
            environment[CUDA_VARIABLE] = ",".join(gpus)
        if job.gpus > 0:
            # Sizes change from batch to batch, and blocks that fit no later one would use up this worker's share.
            environment.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
        # Not `-m`: what the child pickles must come from `vpdata.engine.child`, not from `__main__`.
        code = "from vpdata.engine.child import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(theirs.fileno()), str(os.getpid())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env=environment,
            start_new_session=True,
        )
        theirs.close()
        self._connection = Connection(ours.detach())

    def set_up(self) -> _Death | None:
        """Load the models; ConfigError where they alone need more than the stage's memory."""
        death = self._ask(self._job.content, limit_s=_START_LIMIT_S, limit_gb=math.inf)
        if isinstance(death, _Death):
            return death
        held_gb, limit_gb = self._memory_gb(), self._job.memory_gb
        if held_gb > limit_gb:
            self.kill()
            raise ConfigError(
                f"stage {self._job.name}: got {held_gb:.2f} GB in use before its first item, wanted at most "
                f"{limit_gb:g} GB; raise {_memory_setting(self._job)}"
            )
        return None

    def work(self, work: Work) -> Counts | _Death:
        """Do one piece of work; raises what the child failed with."""
        ending = self._ask(pickle.dumps(work), limit_s=self._job.timeout_s, limit_gb=self._job.memory_gb)
        assert isinstance(ending, (Counts, _Death))
        return ending

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        self._scratch.cleanup()

    def _ask(self, request: bytes, *, limit_s: float, limit_gb: float) -> Counts | str | _Death:
        heard_at, num_durable = time.monotonic(), 0
        allowed_s = max(_START_LIMIT_S, limit_s)
        try:
            self._connection.send_bytes(request)
            while True:
                if self._connection.poll(_POLL_S):
                    message = self._connection.recv()
                    heard_at = time.monotonic()
                    if isinstance(message, Failed):
                        _log.debug("%s", message.trace)
                        raise message.error
                    if not isinstance(message, int):
                        return message
                    num_durable, allowed_s = message, limit_s
                if self._memory_gb() > limit_gb:
                    return self._end(_Death(_Cause.MEMORY, f"more than {limit_gb:g} GB", num_durable))
                if time.monotonic() - heard_at > allowed_s:
                    return self._end(_Death(_Cause.TIME, f"no outcome for {allowed_s:g} s", num_durable))
        except (EOFError, OSError):
            return self._found_dead(num_durable)

    def _end(self, death: _Death) -> _Death:
        self.kill()
        return death

    def _found_dead(self, num_durable: int) -> _Death:
        status = self._process.wait()
        at_hand = Path(self._scratch.name, AT_HAND)
        record = at_hand.read_text() if at_hand.exists() else ""
        self._scratch.cleanup()
        self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - 2000))
        words = self._output.read().decode("utf-8", "replace").strip()
        if status == OUT_OF_MEMORY_STATUS:
            return _Death(_Cause.MEMORY, "MemoryError", num_durable, words)
        if status >= 0:
            return _Death(_Cause.CRASH, f"exit status {status}", num_durable, words)
        name = signal.Signals(-status).name
        return _Death(_Cause.CRASH if -status in _OWN_SIGNALS else _Cause.OUTSIDE, name, num_durable, words, record)

    def _memory_gb(self) -> float:
        """Resident memory; 0 where the system has no /proc, so that no limit holds there."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def _memory_setting(job: PackedJob) -> str:
    return f"{job.name}.resources.memory_gb" if job.has_items else "engine.pack_memory_gb"
