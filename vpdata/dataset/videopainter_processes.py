"""The parts of an import, side by side: each is written by a process of its own, and none outlives the import."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from vpdata.dataset.lease import LeaseProof
from vpdata.dataset.run import Run
from vpdata.dataset.videopainter_part import Part, write_part
from vpdata.errors import RunError, VpdataError


def write_parts(run: Run, parts: Iterable[Part], *, processes: int, proof: LeaseProof) -> None:
    """Write all parts, at most `processes` at a time, each of which is asked for when a process is free for it.

    The first error stops the others at once; RunError names the part whose process died.
    """
    if processes <= 1:
        for part in parts:
            proof.check()
            write_part(run, part)
        return
    running: dict[Connection, tuple[Part, BaseProcess]] = {}
    waiting = iter(parts)
    try:
        while True:
            while len(running) < processes and (part := next(waiting, None)) is not None:
                proof.check()
                connection, process = _started(run, part)
                running[connection] = part, process
            if not running:
                return
            for connection in wait(running):
                assert isinstance(connection, Connection)
                _finish(run, connection, *running[connection])
                del running[connection]
    finally:
        for _, process in running.values():
            process.kill()
        for connection, (_, process) in running.items():
            process.join()
            connection.close()


def _started(run: Run, part: Part) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    connection, of_child = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(run, part, of_child), name=part.name, daemon=True)
    process.start()
    # The child has a copy: when that is closed the pipe is at its end, however the child died.
    of_child.close()
    return connection, process


def _finish(run: Run, connection: Connection, part: Part, process: BaseProcess) -> None:
    """Take what a process says at its end; raises what went wrong."""
    try:
        error: VpdataError | None = connection.recv()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        how = f"signal {-code}" if code < 0 else f"status {code}"
        raise RunError(
            f"{run.folder.uri}: the process that imported {part.name} (videos {part.videos[0].name} to "
            f"{part.videos[-1].name}) ended with {how}; it has said why, unless it was killed, as where memory is "
            "short. Run the same command again to go on, with fewer --processes if so"
        ) from None
    if error is not None:
        raise error
    process.join()
    connection.close()


def _work(run: Run, part: Part, connection: Connection) -> None:
    # Ctrl-C reaches all processes of a terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, name="parent", daemon=True).start()
    try:
        write_part(run, part)
    except VpdataError as error:
        connection.send(error)
    else:
        connection.send(None)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
