"""The child process that runs a job's work: a worker starts `main` with the fd of its socket and the pid of its parent.

Its parent tells a crash of the stage from everything else by how this process ends. It ends with its parent.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import logging
import os
import pickle
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import dataclass, replace
from importlib.util import find_spec
from multiprocessing.connection import Connection

from vpdata.engine.gpus import CUDA_VARIABLE
from vpdata.engine.work import Counts, Job, OutOfRoomError, UnforeseenError, Work
from vpdata.errors import RejectItem, StorageError, VpdataError
from vpdata.stages.base import Resources

OUT_OF_MEMORY_STATUS = 70
"""Exit status after a MemoryError."""
AT_HAND = "at-hand"
"""File in the scratch folder: id of the item that was begun last. What is killed cannot send it any more."""
_PR_SET_PDEATHSIG = 1
"""Of <linux/prctl.h>."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_NOBODYS_FAULT = (errno.EIO, errno.EMFILE, errno.ENFILE)
_SIGN_OF_LIFE_S = 0.25


@dataclass(frozen=True, slots=True)
class Failed:
    """An error that no item is to blame for."""

    error: VpdataError
    trace: str


class _Notes(logging.Handler):
    """Keeps the last line of each module."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._last: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self._last[record.name] = " ".join(record.getMessage().split())

    def take(self) -> tuple[str, ...]:
        """What was kept since the last call."""
        taken, self._last = self._last, {}
        return tuple(taken.values())


READY = "ready"
Message = Counts | Failed | int | str
"""What a child says: its results, READY, or as a sign of life the number of durable items."""


def main() -> None:
    """Work until the parent is gone; `sys.argv` holds the fd and the pid."""
    _die_with(int(sys.argv[2]))
    notes = _listen()
    connection = Connection(int(sys.argv[1]))
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, inbox), name="inbox", daemon=True).start()
    job = None
    where = "worker"
    try:
        job = pickle.loads(inbox.get())
        where = f"stage {job.name}"
        _keep_to_share(job.resources)
        job.setup()
        # What was loaded for good is left out of every later collection: it would be walked again and again.
        gc.freeze()
        connection.send(READY)
        _work(job, connection, inbox, notes)
    except MemoryError:
        os._exit(OUT_OF_MEMORY_STATUS)
    except Exception as error:  # noqa: BLE001  the driver decides what becomes of it
        connection.send(Failed(_explained(error, where), traceback.format_exc()))


def _die_with(parent: int) -> None:
    """End with the thread that started this process, a worker's own, even while native code lets no Python run.

    Elsewhere than on Linux the thread that listens to the parent sees its end, but not before such code is done.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _keep_to_share(resources: Resources) -> None:
    """Where workers share a GPU, bound what this one takes: else one has no room because of what another has taken.

    A worker that has a GPU for itself may use all of it.
    """
    if 0 < resources.gpus < 1 and resources.gpu_memory_gb > 0 and find_spec("torch") is not None:
        from vpdata.models.gpu import bound_memory

        bound_memory(resources.gpu_memory_gb)


def _work(job: Job, connection: Connection, inbox: queue.SimpleQueue[bytes], notes: _Notes) -> None:
    said_at, said, speaking = 0.0, -1, threading.Lock()

    def alive(num_durable: int) -> None:
        nonlocal said_at, said
        with speaking:
            if num_durable != said or time.monotonic() - said_at >= _SIGN_OF_LIFE_S:
                said_at, said = time.monotonic(), num_durable
                connection.send(num_durable)

    while True:
        work: Work = pickle.loads(inbox.get())
        try:
            message: Message = replace(job.run(work, alive), notes=notes.take())
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  the driver decides what becomes of it
            where = f"stage {job.name}, {work.name}"
            message = Failed(_explained(error, where), traceback.format_exc())
        connection.send(message)


def _listen() -> _Notes:
    # To the output that a dead worker's last words are read from.
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    notes = _Notes()
    logging.getLogger("vpdata.models").setLevel(logging.INFO)
    for name in ("vpdata.models", "vpdata.stages"):
        logging.getLogger(name).addHandler(notes)
    return notes


def _receive(connection: Connection, inbox: queue.SimpleQueue[bytes]) -> None:
    while True:
        try:
            inbox.put(connection.recv_bytes())
        except (EOFError, OSError):
            # The parent is gone: whoever takes over must find nobody still writing.
            os._exit(0)


def _explained(error: Exception, where: str) -> VpdataError:
    # With the machine, and the GPUs, so that a sick one is known among a hundred.
    gpus = os.environ.get(CUDA_VARIABLE)
    place = f"on {socket.gethostname()}" + (f" with GPU {gpus}" if gpus else "")
    where = ", ".join([where, *getattr(error, "__notes__", ()), place])
    if isinstance(error, (StorageError, OSError)) and _errno_of(error) in _NO_ROOM:
        hint = "" if isinstance(error, StorageError) else "; free some space and run the same command again"
        return OutOfRoomError(f"{where}: {error}{hint}")
    if isinstance(error, VpdataError) and not isinstance(error, RejectItem):
        return type(error)(f"{where}: {error}")
    if isinstance(error, OSError) and error.errno in _NOBODYS_FAULT:
        return StorageError(f"{where}: {error}")
    return UnforeseenError(f"{where}: {type(error).__name__}: {error}")


def _errno_of(error: BaseException | None) -> int | None:
    """Of the OSError that an error is or was raised from."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    return error.errno if error else None
