"""A worker and where it comes from, as the dispatcher sees them."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from vpdata.engine.work import Counts, Job


class WorkerLost(Exception):  # noqa: N818  nobody's error
    """A worker vanished with its node or was killed from outside; raised by the futures of a `Hand`."""

    def __init__(self, why: str, *, had_begun: bool) -> None:
        """`had_begun`: it vanished at the piece of work that it was handed, not while it had nothing to do."""
        super().__init__(why)
        self.had_begun = had_begun


class Hand(Protocol):
    """One worker, wherever it runs."""

    def is_placed(self) -> bool:
        """Whether it has got what it holds; False while it waits for room."""
        ...

    def ready(self) -> Future[None]: ...

    def run(self, name: str) -> Future[Counts]: ...

    def stop(self) -> None: ...


class Crew(Protocol):
    """Where workers come from."""

    def start(self, job: Job) -> Hand: ...
