"""The lease of a folder: one build or training at a time, and a dead one never stands in the way.

The file holds host, PID namespace, pid, a random id and a heartbeat. Hosts that share a folder keep their clocks within
a minute.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from vpdata.dataset import layout
from vpdata.errors import RunError, StorageError
from vpdata.storage import Folder

_log = logging.getLogger(__name__)

HEARTBEAT_S = 10.0
DEAD_AFTER_S = 60.0
"""A holder on another host, or in another container, that has not renewed its lease for this long is taken for dead."""
_POLL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holder:
    host: str
    pid: int
    started: str
    """When that pid was started, so that a pid used again is not mistaken for the holder."""
    id: str
    beat_unix_s: float
    pid_namespace: int = 0
    """As `pid_namespace` has it: in another one, such as a container's, the pid says nothing."""
    since_unix_s: float = 0.0
    """When the lease was taken; 0 in leases of older versions."""

    @property
    def since(self) -> str:
        text = time.strftime(" since %Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since_unix_s))
        return text if self.since_unix_s else ""

    def is_alive(self) -> bool:
        if (self.host, self.pid_namespace) == (socket.gethostname(), pid_namespace()):
            return _start_of(self.pid) == self.started
        return time.time() - self.beat_unix_s < DEAD_AFTER_S


@dataclass(frozen=True, slots=True)
class LeaseProof:
    """Goes to the workers of the build that holds the lease."""

    folder: Folder
    id: str
    since_unix_s: float

    def check(self) -> None:
        """RunError if another has taken over; call it before each write."""
        holder = _read(self.folder)
        if holder is None or holder.id != self.id:
            now = f"{holder.host}, pid {holder.pid}" if holder else "nobody"
            raise RunError(f"{self.folder.uri}: this process has lost its lease (held by {now} now) and stops")


@contextlib.contextmanager
def hold(folder: Folder, *, waits: bool = False) -> Iterator[LeaseProof]:
    """Hold the lease of a folder while the block runs; RunError where a live process holds it.

    With `waits` a holder is watched until it renews its lease, ends, or is taken for dead: what is started again right
    behind a crash, here or on another host, then goes on by itself.
    """
    proof = LeaseProof(folder, uuid.uuid4().hex, time.time())
    _take(proof, waits=waits)
    stop = threading.Event()
    beating = threading.Thread(target=_beat, args=(proof, stop), name="lease", daemon=True)
    beating.start()
    try:
        yield proof
    finally:
        stop.set()
        beating.join()
        with contextlib.suppress(StorageError, RunError):
            proof.check()
            folder.remove(layout.LEASE)


def _take(proof: LeaseProof, *, waits: bool) -> None:
    # Twice: as much again as the clocks of two hosts may differ.
    folder, seen, wait_until_s = proof.folder, None, time.monotonic() + 2 * DEAD_AFTER_S
    is_replacing = False
    while not folder.create(layout.LEASE, _content(proof)):
        holder = _read(folder)
        if holder is not None and holder.id == proof.id:
            # A client that got no answer from the store has asked again.
            return
        if holder is not None and holder.is_alive():
            if waits and seen in (None, holder) and time.monotonic() < wait_until_s:
                if seen is None:
                    what = "%s is in use by pid %d on %s; waiting for its next sign of life, or at most %.0f s"
                    _log.warning(what, folder.uri, holder.pid, holder.host, 2 * DEAD_AFTER_S)
                seen = holder
                time.sleep(_POLL_S)
                continue
            raise RunError(
                f"{folder.uri} is in use by pid {holder.pid} on {holder.host}{holder.since}; "
                "wait for it, or stop it and run the same command again (a process that died elsewhere is replaced "
                f"after {DEAD_AFTER_S:.0f} s)"
            )
        folder.remove(layout.LEASE)
        is_replacing = True
    if is_replacing:
        # Another that found the same dead holder may have removed this lease for that one's, and has its own by now.
        time.sleep(_POLL_S)
        proof.check()


def _beat(proof: LeaseProof, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_S):
        # A server that is down for a moment costs a heartbeat, not the build.
        with contextlib.suppress(StorageError):
            try:
                proof.check()
            except RunError:
                return
            proof.folder.write(layout.LEASE, _content(proof))


def _read(folder: Folder) -> _Holder | None:
    try:
        return _Holder(**json.loads(folder.read(layout.LEASE)))
    except StorageError:
        if folder.exists(layout.LEASE):
            raise
        return None
    except (ValueError, TypeError):
        # Not written by us, and whoever did cannot be asked whether he lives.
        return None


def _content(proof: LeaseProof) -> bytes:
    pid = os.getpid()
    holder = _Holder(
        host=socket.gethostname(),
        pid=pid,
        pid_namespace=pid_namespace(),
        started=_start_of(pid) or "",
        id=proof.id,
        beat_unix_s=time.time(),
        since_unix_s=proof.since_unix_s,
    )
    return json.dumps(asdict(holder)).encode()


def pid_namespace() -> int:
    """Inode of this process's PID namespace, which a container has of its own even where it has its host's name.

    0 off Linux.
    """
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _start_of(pid: int) -> str | None:
    """Start of a live process in clock ticks since boot, "" off Linux; None if it is dead or a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    try:
        # Behind the command name, which may hold blanks and brackets.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return None if fields[0] in "ZX" else fields[19]
