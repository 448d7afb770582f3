"""The GPUs of this machine, by the names that `CUDA_VISIBLE_DEVICES` gives them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CUDA_VARIABLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable with the GPUs that a process and its children see; unset: all."""
_MIG = "MIG-"
"""What the name of a slice of a GPU begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """Those that may be used."""

    names: tuple[str, ...] = ()
    """Indices, or what the variable holds."""
    memory_gb: float = 0.0
    """Of the smallest, in 10^9 bytes; 0: unknown."""


def gpus_here() -> Gpus:
    """The NVIDIA GPUs that this process sees; none without a driver."""
    if shutil.which("nvidia-smi") is None:
        return Gpus()
    command = ["nvidia-smi", "--query-gpu=uuid,memory.total", "--format=csv,noheader,nounits"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    # A driver that fails says so on the same stream.
    rows = [line.split(", ") for line in answer.splitlines() if line.startswith("GPU-")]
    uuids, sizes_mib = [row[0] for row in rows], [row[1] for row in rows]
    names = tuple(
        _chosen(os.environ[CUDA_VARIABLE], uuids) if CUDA_VARIABLE in os.environ else map(str, range(len(uuids)))
    )
    # All sizes, since CUDA counts the fastest GPU first and nvidia-smi the first on the bus. A slice has less than any.
    is_known = all(size.isdigit() for size in sizes_mib) and not any(name.startswith(_MIG) for name in names)
    memory_gb = min(map(int, sizes_mib)) * 2**20 / 1e9 if names and is_known else 0.0
    return Gpus(names=names, memory_gb=memory_gb)


def _chosen(visible: str, uuids: Sequence[str]) -> Iterator[str]:
    """The entries of the variable up to the first that names no GPU, where CUDA stops reading too."""
    for name in dict.fromkeys(entry.strip() for entry in visible.split(",")):
        is_index = name.isdigit() and int(name) < len(uuids)
        is_uuid = name.startswith("GPU-") and any(uuid.startswith(name) for uuid in uuids)
        if not (is_index or is_uuid or name.startswith(_MIG)):
            return
        yield name
