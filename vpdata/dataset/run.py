"""Reading a run folder: its parts, its rejects, its config; and how its Parquet files are made."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from vpdata import codec
from vpdata.dataset import layout
from vpdata.errors import RunError
from vpdata.records import SCHEMA_VERSION, Record, Reject, Source
from vpdata.storage import Folder

T = TypeVar("T")

_VERSION_KEY = b"vpdata.schema_version"


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder, finished or not. Reads only."""

    folder: Folder

    def stage_folder(self, stage: str) -> Folder:
        """Folder of a stage, or of the frozen source list ("source")."""
        return self.folder.child(layout.STAGE_FOLDERS[stage])

    def config(self) -> dict[str, Any]:
        """What `run.yaml` says; RunError where this is no run, or the file is damaged."""
        if not self.folder.exists(layout.RUN_CONFIG):
            raise RunError(
                f"{self.folder.uri} is not a run: it holds no {layout.RUN_CONFIG}; "
                "give the folder that `vpdata build --output` wrote"
            )
        remedy = "the same `vpdata build` command writes it again"
        try:
            config = yaml.safe_load(self.folder.read(layout.RUN_CONFIG))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunError(f"{self.folder.uri}/{layout.RUN_CONFIG} is no YAML file: {error}; {remedy}") from error
        if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
            raise RunError(f"{self.folder.uri}/{layout.RUN_CONFIG}: got no settings of a build; {remedy}")
        return config

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
        for folder, name in self.reject_files(stage):
            yield from read_rows(folder, name, Reject)

    def reject_files(self, stage: str) -> list[tuple[Folder, str]]:
        """Folder and name of the reject files of a stage that exist; "pack" as in `rejects`."""
        if stage == "pack":
            return [(self.folder, layout.RUNWIDE_REJECTS)] if self.folder.exists(layout.RUNWIDE_REJECTS) else []
        folder = self.stage_folder(stage)
        return [(folder, name) for name in folder.names(".rejects.parquet")]


class RangedFile(io.RawIOBase):
    """A file of a folder for readers that seek, such as Parquet's: each read is one ranged read."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder, self._name = folder, name
        self._num_bytes = folder.size(name)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._num_bytes}[whence]
        self._position = origin + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._num_bytes - self._position)
        size = left if size is None or size < 0 else min(size, left)
        data = self._folder.read_range(self._name, self._position, size) if size else b""
        self._position += len(data)
        return data


def read_table(
    folder: Folder, name: str, *, columns: Sequence[str] | None = None, filters: pc.Expression | None = None
) -> pa.Table:
    """One of our Parquet files by ranged reads; row groups in which no row passes the filters are not fetched."""
    # With its own pool of threads pyarrow holds a file of ours for a moment longer than the call lasts. A process that
    # ends meanwhile is aborted, or hangs (apache/arrow, issues 33975 and 50482).
    columns = None if columns is None else list(columns)
    return pq.read_table(RangedFile(folder, name), columns=columns, filters=filters, use_threads=False)


def read_rows(
    folder: Folder, name: str, kind: type[T], *, ids: Collection[str] | None = None, id_column: str = "id"
) -> Iterator[T]:
    """The rows of one of our Parquet files as instances of `kind`.

    With `ids` only those rows; row groups that hold none of them are not fetched.
    """
    filters = None if ids is None else pc.field(id_column).isin(pa.array(sorted(ids), pa.string()))
    table = read_table(folder, name, filters=filters)
    check_version(table.schema, where=f"{folder.uri}/{name}")
    yield from codec.from_table(table, kind)


def parquet_bytes(table: pa.Table, *, rows_per_group: int = 64, metadata: Mapping[bytes, bytes] | None = None) -> bytes:
    """A Parquet file that carries the schema version and `metadata`; equal tables give equal bytes, by one pyarrow.

    Row groups are small, so that packing fetches a few records of a part without reading all its masks.
    """
    sink = io.BytesIO()
    table = table.replace_schema_metadata({_VERSION_KEY: str(SCHEMA_VERSION).encode(), **(metadata or {})})
    pq.write_table(table, sink, compression="zstd", row_group_size=rows_per_group)
    return sink.getvalue()


def check_version(schema: pa.Schema, *, where: str) -> None:
    """RunError where a Parquet file has another schema version than this code reads."""
    found = (schema.metadata or {}).get(_VERSION_KEY, b"none").decode("ascii", "replace")
    if found != str(SCHEMA_VERSION):
        raise RunError(
            f"{where}: got schema version {found}, wanted {SCHEMA_VERSION}; docs/format.md says how to convert"
        )
