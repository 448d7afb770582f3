"""The parts of an import or an export, side by side: each has a process of its own, and none outlives the command."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol, TypeVar

from vpdata.dataset.lease import LeaseProof
from vpdata.errors import ConfigError, RunError, VpdataError

_log = logging.getLogger(__name__)
_LOG_EVERY_S = 30.0


class Part(Protocol):
    """What one process writes; picklable."""

    @property
    def name(self) -> str:
        """Its process's name too."""
        ...

    def __str__(self) -> str:
        """What messages call it: its name, and what it holds."""
        ...


P = TypeVar("P", bound=Part)


def write_parts(
    write: Callable[[P], None], parts: Iterable[P], *, num_parts: int, processes: int, proof: LeaseProof
) -> None:
    """Write all parts, at most `processes` at a time, each of which is asked for when a process is free for it.

    `write` must be picklable. The first error stops the others at once; RunError names the part whose process died.
    """
    progress = _Progress(proof.folder.uri, num_parts)
    if min(processes, num_parts) <= 1:
        for part in parts:
            proof.check()
            write(part)
            progress.advance()
        return
    running: dict[Connection, tuple[P, BaseProcess]] = {}
    waiting = iter(parts)
    try:
        while True:
            while len(running) < processes and (part := next(waiting, None)) is not None:
                proof.check()
                connection, process = _started(write, part)
                running[connection] = part, process
            if not running:
                return
            for connection in wait(running):
                assert isinstance(connection, Connection)
                _finish(proof, connection, *running[connection])
                del running[connection]
                progress.advance()
    finally:
        for _, process in running.values():
            process.kill()
        for connection, (_, process) in running.items():
            process.join()
            connection.close()


def refuse_no_process(processes: int) -> None:
    """ConfigError for a number of processes below 1."""
    if processes < 1:
        raise ConfigError(f"got {processes} processes, wanted at least 1")


class _Progress:
    """Says how many parts are done, now and then."""

    def __init__(self, uri: str, num_parts: int) -> None:
        self._uri, self._num_parts, self._num_done = uri, num_parts, 0
        self._next_s = time.monotonic() + _LOG_EVERY_S

    def advance(self) -> None:
        self._num_done += 1
        if time.monotonic() >= self._next_s:
            _log.info("%s: %d of %d parts are done", self._uri, self._num_done, self._num_parts)
            self._next_s = time.monotonic() + _LOG_EVERY_S


def _started(write: Callable[[P], None], part: P) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    connection, of_child = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(write, part, of_child), name=part.name, daemon=True)
    process.start()
    # The child has a copy: when that is closed the pipe is at its end, however the child died.
    of_child.close()
    return connection, process


def _finish(proof: LeaseProof, connection: Connection, part: Part, process: BaseProcess) -> None:
    """Take what a process says at its end; raises what went wrong."""
    try:
        error: VpdataError | None = connection.recv()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        how = f"signal {-code}" if code < 0 else f"status {code}"
        raise RunError(
            f"{proof.folder.uri}: the process that wrote {part} ended with {how}; it has said why, unless it was "
            "killed, as where memory is short. Run the same command again to go on, with fewer --processes if so"
        ) from None
    if error is not None:
        raise error
    process.join()
    connection.close()


def _work(write: Callable[[P], None], part: P, connection: Connection) -> None:
    # Ctrl-C reaches all processes of a terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, name="parent", daemon=True).start()
    try:
        write(part)
    except VpdataError as error:
        connection.send(error)
    else:
        connection.send(None)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
