"""The most memory that a process, its programs, and torch on its GPU have held since it was last asked to forget."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"
_program_kib = [0]
"""Peaks of the programs that were waited for; RUSAGE_CHILDREN would never forget the largest that there ever was."""


def forget_peaks() -> None:
    """Begin anew; where the system cannot, the peak of the process stays that since its start."""
    if _CLEAR.exists():
        _CLEAR.write_text(_FORGET_PEAK)
    _program_kib[:] = [0]
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def wait_for(process: subprocess.Popen[bytes]) -> int:
    """Exit status of a program; what it held, and what the programs held that it waited for, counts from now on."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    _program_kib.append(usage.ru_maxrss)
    return process.returncode


def peak_memory_mb() -> float:
    """Of this process since `forget_peaks`, or of the largest program waited for since then, in 10**6 bytes."""
    own_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if _STATUS.exists():
        (line,) = [line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
        own_kib = int(line.split()[1])
    return max(own_kib, *_program_kib) * 1024 / 1e6


def peak_gpu_memory_mb() -> float | None:
    """Of torch in this process; None where it has no GPU in use."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return torch.cuda.max_memory_allocated() / 1e6
