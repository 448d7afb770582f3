"""What passes between a driver, its workers and their child processes: jobs, names of parts and counts."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from vpdata.errors import RejectItem, RunError, StorageError

if TYPE_CHECKING:
    from vpdata.stages.base import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """An item that killed its own process twice."""

    index: int
    """Position of the item in its part."""
    rejection: RejectItem


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One thing to do: a part of a stage, or a shard of the pack."""

    name: str
    careful: bool = False
    """One item at a time, nothing prepared ahead, every finished item made durable at once."""
    alone: bool = False
    """Only the first unfinished item, made durable; the part stays unfinished."""
    blame: Blame | None = None
    """Reject this item if it is the first unfinished one, and go on behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of one piece of work."""

    name: str
    num_items: int
    num_records: int
    num_rejects: int
    notes: tuple[str, ...] = ()
    """Deaths of its workers, and the last line of each module of models (at INFO or above) and of stages (WARNING):
    what captions cost, say.
    """


class UnforeseenError(RunError):
    """Nobody raised it on purpose: a fault of ours, which comes again, or of a device, which may not."""


class OutOfRoomError(StorageError):
    """A disk or a quota is full, or may not be written to: no waiting helps."""


class Job(Protocol):
    """What one worker does with every piece of work it is handed. Picklable."""

    @property
    def name(self) -> str:
        """Of the stage, or "pack"."""
        ...

    @property
    def resources(self) -> Resources: ...

    @property
    def has_items(self) -> bool:
        """Whether a piece of work consists of items that may be rejected one by one."""
        ...

    def setup(self) -> None:
        """Called once in the child process, before any work."""
        ...

    def num_durable(self, name: str) -> int:
        """Items of a piece of work that a retry will find finished; StorageError where that cannot be read."""
        ...

    def run(self, work: Work, alive: Callable[[int], None]) -> Counts:
        """Do one piece of work; `alive` is told the number of durable items, at the start and after every outcome.

        It may be called from any thread, but not after `run` has returned.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedJob:
    """A job that only the child process opens, so that a Ray worker imports nothing that the stage needs."""

    name: str
    has_items: bool
    cpus: float
    gpus: float
    memory_gb: float
    timeout_s: float
    content: bytes

    @classmethod
    def of(cls, job: Job) -> PackedJob:
        return cls(
            name=job.name,
            has_items=job.has_items,
            cpus=job.resources.cpus,
            gpus=job.resources.gpus,
            memory_gb=job.resources.memory_gb,
            timeout_s=job.resources.timeout_s,
            content=pickle.dumps(job),
        )
