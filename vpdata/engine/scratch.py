"""Folders for files in the making, one for each child process: what a killed one leaves there goes with it."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

from vpdata.dataset.lease import pid_namespace

_PREFIX = f"vpdata-scratch-{socket.gethostname()}-{pid_namespace()}-"
"""Containers may share a host's name and TMPDIR, and then each leaves the folders of the others alone."""


def make_scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder in TMPDIR that names this machine, PID namespace and process, which is to remove it."""
    return tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True)


def sweep_scratch() -> None:
    """Remove the folders of processes that were killed on this machine, in this PID namespace."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not _is_alive(int(pid)):
            # Another user's stays, and another worker may be faster.
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
