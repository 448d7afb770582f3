"""Runs a command that dies with its parent: `python guarded.py PROGRAM ARGUMENT...`.

Whoever starts this holds its standard input. When that closes, which it does too when its holder is killed, the command
and all that it has started are killed. Exits with the command's status, or with 128 and the number of its signal.
Needs nothing but Python.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    # A session of its own, so that its processes can be killed as one.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def kill_when_closed() -> None:
        sys.stdin.buffer.read()
        _kill_group(process.pid)

    threading.Thread(target=kill_when_closed, daemon=True).start()
    status = process.wait()
    _kill_group(process.pid)
    return status if status >= 0 else 128 - status


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    # Not by sys.exit, which would wait for the thread that reads.
    sys.stdout.flush()
    os._exit(status)
