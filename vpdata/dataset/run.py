"""Reading a run folder: its parts, its rejects, its config; and how its Parquet files are made."""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from vpdata import codec
from vpdata.dataset import layout
from vpdata.errors import RunError
from vpdata.records import SCHEMA_VERSION, Record, Reject, Source
from vpdata.storage import Folder

K = TypeVar("K")
T = TypeVar("T")

_VERSION_KEY = b"vpdata.schema_version"
_NUM_READERS, _MAX_AHEAD = 16, 64
"""Files that are read at once, and that are read before the first of them is used."""
_MAX_HOLE_BYTES = 8192
"""Columns that lie at most so far apart are fetched at once."""
_REMEDY = (
    "put back a good copy of it, or let --redo of its stage make it anew (of pack: the plan and the index); "
    "a list of sources is not made anew"
)


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
        if stage == layout.PACK:
            return [(self.folder, layout.RUNWIDE_REJECTS)] if self.folder.exists(layout.RUNWIDE_REJECTS) else []
        folder = self.stage_folder(stage)
        return [(folder, name) for name in folder.names(".rejects.parquet")]


def in_order(read: Callable[[K], T], files: Sequence[K]) -> Iterator[T]:
    """`read` of each file, in their order, many at once: a small file in a bucket is little more than waiting."""
    with ThreadPoolExecutor(_NUM_READERS) as pool:
        for first in range(0, len(files), _MAX_AHEAD):
            yield from pool.map(read, files[first : first + _MAX_AHEAD])


class RangedFile(io.RawIOBase):
    """A file of a folder for readers that seek, such as Parquet's: a read of what is not held is one ranged read."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder, self._name = folder, name
        self._num_bytes = folder.size(name)
        self._position = 0
        self._held_starts: list[int] = []
        self._held: list[bytes] = []

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
        data = self._read(self._position, size) if size else b""
        self._position += len(data)
        return data

    def hold(self, spans: Iterable[tuple[int, int]]) -> None:
        """Fetch spans of bytes (start, stop) for the reads to come, near ones at once; nothing past the end."""
        whole: list[tuple[int, int]] = []
        for start, stop in sorted((start, min(stop, self._num_bytes)) for start, stop in spans if start >= 0):
            if whole and start - whole[-1][1] <= _MAX_HOLE_BYTES:
                start, stop = whole[-1][0], max(stop, whole.pop()[1])
            whole.append((start, stop))
        whole = [(start, stop) for start, stop in whole if start < stop]
        self._held = [self._folder.read_range(self._name, start, stop - start) for start, stop in whole]
        self._held_starts = [start for start, _ in whole]

    def _read(self, start: int, size: int) -> bytes:
        at = bisect_right(self._held_starts, start) - 1
        if at >= 0 and start + size <= self._held_starts[at] + len(self._held[at]):
            offset = start - self._held_starts[at]
            return self._held[at][offset : offset + size]
        return self._folder.read_range(self._name, start, size)


def read_table(
    folder: Folder,
    name: str,
    *,
    columns: Sequence[str] | None = None,
    where: tuple[str, Collection[Any]] | None = None,
    remedy: str = _REMEDY,
) -> pa.Table:
    """One of our Parquet files by ranged reads; RunError where it is damaged or lacks a column.

    The message ends with the remedy. RunError, too, where the file states another schema version than this code reads.
    `columns` may be parts of others (`tracks.list.element.label`). `where` is a column, among those, and the values
    that it may have; row groups that hold none of them are not fetched.
    """
    with _named_damage(folder, name, remedy):
        # What pyarrow reads on a thread of its own, it holds for a moment longer than the call lasts, be it a buffer
        # made ahead (pre_buffer) or a data set (pq.read_table). A process that ends meanwhile is aborted, or hangs
        # (apache/arrow, issues 33975 and 50482). So it reads on this thread only, from what was fetched before.
        file = RangedFile(folder, name)
        parquet = pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True)
        metadata = parquet.metadata
        if _VERSION_KEY in (metadata.metadata or {}):
            check_version(parquet.schema_arrow, where=f"{folder.uri}/{name}")
        places = _places(metadata, columns)
        groups = list(range(metadata.num_row_groups))
        if where is not None:
            (place,), values = _places(metadata, [where[0]]), sorted(where[1])
            groups = [at for at in groups if _may_hold(metadata.row_group(at), place, values)]
        file.hold(_span(metadata.row_group(group).column(place)) for group in groups for place in places)
        table = parquet.read_row_groups(groups, None if columns is None else list(columns), use_threads=False)
        # Else text that is not UTF-8 would be found only where it is used.
        table.validate(full=True)
    if where is None:
        return table
    column, values = where
    return table.filter(pc.field(column).isin(pa.array(sorted(values), table[column].type)))


def num_rows(folder: Folder, name: str) -> int:
    """Rows of one of our Parquet files, told by its end; RunError where it is damaged."""
    with _named_damage(folder, name, _REMEDY):
        return pq.read_metadata(RangedFile(folder, name)).num_rows


def read_rows(
    folder: Folder, name: str, kind: type[T], *, ids: Collection[str] | None = None, id_column: str = "id"
) -> Iterator[T]:
    """The rows of one of our Parquet files as instances of `kind`; RunError where it is damaged.

    With `ids` only those rows; row groups that hold none of them are not fetched.
    """
    table = read_table(folder, name, where=None if ids is None else (id_column, ids))
    check_version(table.schema, where=f"{folder.uri}/{name}")
    with _named_damage(folder, name, _REMEDY):
        yield from codec.from_table(table, kind)


@contextmanager
def _named_damage(folder: Folder, name: str, remedy: str) -> Iterator[None]:
    try:
        yield
    # pyarrow raises OSError too, for bad pages. A disk or a store that fails is a StorageError, which goes through.
    except (pa.ArrowException, OSError, UnicodeDecodeError, msgspec.ValidationError) as error:
        text = " ".join(str(error).split())
        raise RunError(f"{folder.uri}/{name} is damaged: {text}; {remedy}") from error


def _places(metadata: pq.FileMetaData, columns: Sequence[str] | None) -> list[int]:
    """Where the columns, or all, lie in each row group; pa.ArrowKeyError for one that is not there."""
    paths = [metadata.schema.column(at).path for at in range(metadata.num_columns)]
    if columns is None:
        return list(range(len(paths)))
    found = {column: [at for at, path in enumerate(paths) if f"{path}.".startswith(f"{column}.")] for column in columns}
    if missing := [column for column, places in found.items() if not places]:
        raise pa.ArrowKeyError(f"it lacks the column {missing[0]}")
    return sorted({at for places in found.values() for at in places})


def _may_hold(group: pq.RowGroupMetaData, place: int, values: Sequence[Any]) -> bool:
    """Whether one of the sorted values lies between the least and the largest of a column."""
    facts = group.column(place).statistics
    if facts is None or not facts.has_min_max:
        return True
    after = bisect_left(values, facts.min)
    return after < len(values) and values[after] <= facts.max


def _span(chunk: pq.ColumnChunkMetaData) -> tuple[int, int]:
    """Bytes (start, stop) of a column in a row group."""
    start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    return start, start + chunk.total_compressed_size


def parquet_bytes(table: pa.Table, *, rows_per_group: int = 64, metadata: Mapping[bytes, bytes] | None = None) -> bytes:
    """A Parquet file that carries the schema version and `metadata`; equal tables give equal bytes, by one pyarrow.

    Row groups are small, so that packing fetches a few records of a part without reading all its masks.
    Pages carry checksums: without them most single bits that flip would go unnoticed.
    """
    sink = io.BytesIO()
    table = table.replace_schema_metadata({_VERSION_KEY: str(SCHEMA_VERSION).encode(), **(metadata or {})})
    pq.write_table(table, sink, compression="zstd", row_group_size=rows_per_group, write_page_checksum=True)
    return sink.getvalue()


def check_version(schema: pa.Schema, *, where: str) -> None:
    """RunError where a Parquet file has another schema version than this code reads."""
    found = (schema.metadata or {}).get(_VERSION_KEY, b"none").decode("ascii", "replace")
    if found != str(SCHEMA_VERSION):
        raise RunError(
            f"{where}: got schema version {found}, wanted {SCHEMA_VERSION}; docs/format.md says how to convert"
        )
