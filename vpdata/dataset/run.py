"""Reading a run folder: its parts, its rejects, its config."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from vpdata import codec
from vpdata.dataset import layout
from vpdata.errors import RunError
from vpdata.records import Record, Reject, Source
from vpdata.storage import Folder

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder, finished or not. Reads only."""

    folder: Folder

    def stage_folder(self, stage: str) -> Folder:
        """Folder of a stage, or of the frozen source list ("source")."""
        return self.folder.child(layout.STAGE_FOLDERS[stage])

    def config(self) -> dict[str, Any]:
        """What `run.yaml` says; RunError where this is no run."""
        if not self.folder.exists(layout.RUN_CONFIG):
            raise RunError(
                f"{self.folder.uri} is not a run: it holds no {layout.RUN_CONFIG}; "
                "give the folder that `vpdata build --output` wrote"
            )
        return yaml.safe_load(self.folder.read(layout.RUN_CONFIG))

    def parts(self, stage: str) -> list[str]:
        """Names of the finished parts of a stage, sorted."""
        names = self.stage_folder(stage).names(".parquet")
        return [name.removesuffix(".parquet") for name in names if name.count(".") == 1]

    def sources(self) -> Iterator[Source]:
        """The frozen source list in part order."""
        for part in self.parts("source"):
            yield from read_rows(self.stage_folder("source"), layout.records_file(part), Source)

    def records(self, stage: str) -> Iterator[Record]:
        """All records that a stage let through, in part order and id order within a part."""
        for part in self.parts(stage):
            yield from read_rows(self.stage_folder(stage), layout.records_file(part), Record)

    def rejects(self, stage: str) -> Iterator[Reject]:
        """All rejects of a stage; "pack" gives those of the run-wide pass."""
        if stage == "pack":
            if self.folder.exists(layout.RUNWIDE_REJECTS):
                yield from read_rows(self.folder, layout.RUNWIDE_REJECTS, Reject)
            return
        for part in self.parts(stage):
            name = layout.rejects_file(part)
            if self.stage_folder(stage).exists(name):
                yield from read_rows(self.stage_folder(stage), name, Reject)


def read_rows(folder: Folder, name: str, kind: type[T]) -> Iterator[T]:
    """The rows of a Parquet file as instances of `kind`."""
    yield from codec.from_table(pq.read_table(io.BytesIO(folder.read(name))), kind)


def parquet_bytes(table: pa.Table) -> bytes:
    """A Parquet file; equal tables give equal bytes with the same pyarrow."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()
