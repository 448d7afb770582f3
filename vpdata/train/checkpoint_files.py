"""The files of a checkpoint, written and found whole: their sizes and checksums are in its `checkpoint.json`."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from vpdata.errors import RunError

FACTS = "checkpoint.json"
WAY_OUT = "remove this folder to go on from the checkpoint before it"
_METADATA = ".metadata"
_CHUNK_BYTES = 4 << 20


class CheckedWriter(FileSystemWriter):
    """Takes the CRC-32 of each file that it writes, on the rank and thread that wrote it.

    It reads them again from the system's cache: 0.3 s a GB. SHA-256 would take 0.8 s and tell no more of damage.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._into = folder
        self.crc32: dict[str, str] = {}
        """Of the files of all ranks, by name, on the main one, once all is written."""

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        written = super().write_data(plan, planner).wait()
        names = sorted({one.storage_data.relative_path for one in written})
        sums = [WriteResult(MetadataIndex(name), 0, _crc32(self._into / name)) for name in names]
        future = Future[list[WriteResult]]()
        future.set_result([*written, *sums])
        return future

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Only on the main rank, with what `write_data` gave on each."""
        for written in results:
            self.crc32 |= {one.index.fqn: one.storage_data for one in written if isinstance(one.storage_data, str)}
        tensors = [[one for one in written if not isinstance(one.storage_data, str)] for written in results]
        super().finish(metadata, tensors)
        self.crc32[_METADATA] = _crc32(self._into / _METADATA)


def read_facts(folder: Path) -> dict[str, Any]:
    """What `checkpoint.json` says; RunError if it cannot be read, lacks sizes or sums, or a file is cut short."""
    try:
        facts = json.loads((folder / FACTS).read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{folder / FACTS} cannot be read: {error}; {WAY_OUT}") from error
    if missing := [key for key in ("files", "crc32") if key not in facts]:
        raise RunError(f"{folder / FACTS} has no {' and no '.join(missing)}, so its files cannot be checked; {WAY_OUT}")
    for name, wanted in facts["files"].items():
        path = folder / name
        got = path.stat().st_size if path.exists() else 0
        if got != wanted:
            raise RunError(f"{path} is cut short: got {got} bytes, wanted {wanted}; {WAY_OUT}")
    return facts


def check_sums(folder: Path, facts: Mapping[str, Any], *, rank: int = 0, world_size: int = 1) -> None:
    """Read one rank's share of the files; RunError if one has other bytes than were written."""
    for name, wanted in list(facts["crc32"].items())[rank::world_size]:
        try:
            got = _crc32(folder / name)
        except OSError as error:
            raise RunError(f"{folder / name} cannot be read: {error}; {WAY_OUT}") from error
        if got != wanted:
            raise RunError(f"{folder / name} is damaged: got the CRC-32 {got}, wanted {wanted}; {WAY_OUT}")


def _crc32(path: Path) -> str:
    """8 hex. Neither reading nor the sum holds the interpreter: a training goes on meanwhile."""
    value, buffer = 0, memoryview(bytearray(_CHUNK_BYTES))
    with path.open("rb", buffering=0) as file:
        while num_bytes := file.readinto(buffer):
            value = zlib.crc32(buffer[:num_bytes], value)
    return f"{value:08x}"
