"""The files of one part while they are being made, so that a retry goes on where a dead worker stopped.

Finished items are flushed in pieces to `<stage folder>/progress/`; a piece whose `.json` exists is whole. The part's
own files are published at the end, the records last: that file says that the part is done.

A node that was taken for dead may come back and still write beside the worker that took over. So a piece says in its
name `<part>.<first item>-<stop item>.<attempt>` which items it holds and who wrote it, no writer touches another's, and
a retry takes pieces that join on, whoever wrote them.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, BinaryIO, Generic, TypeVar

from vpdata import codec
from vpdata.dataset import layout
from vpdata.dataset.lease import LeaseProof
from vpdata.dataset.run import RangedFile, parquet_bytes
from vpdata.dataset.shards import Member, TarWriter
from vpdata.engine.work import Counts
from vpdata.errors import StorageError
from vpdata.records import Record, Reject
from vpdata.stages.base import Row
from vpdata.storage import Folder

_COPY_BYTES = 1 << 20


T = TypeVar("T")

WriteIndex = Callable[[str, list[Any], list[Member]], None]
"""Writes what a part's tar holds where readers look for it, from the part's name, its rows and its members."""


@dataclass(slots=True, kw_only=True)
class Piece(Generic[T]):
    """What became of some consecutive items of a part."""

    num_items: int = 0
    records: list[T] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    """On disk with offsets in the piece's own tar, in memory in the part's."""


class PartOutput:
    """A context manager: left without `commit`, it publishes nothing but the pieces that were flushed."""

    def __init__(
        self,
        folder: Folder,
        part: str,
        lease: LeaseProof,
        *,
        row: type = Record,
        tars: Folder | None = None,
        index: WriteIndex | None = None,
    ) -> None:
        """`row` is the type of the records; the tar goes to `tars` and not to `folder`, and gets an `index` of its own,
        for a stage whose tars are shards.
        """
        self._folder, self._part, self._lease = folder, part, lease
        self._row, self._tars, self._index = row, tars or folder, index
        self._progress = folder.child(layout.PROGRESS)
        self._stack = ExitStack()
        self._file: BinaryIO | None = None
        self._tar: TarWriter | None = None
        self._flushed_bytes = 0
        self._done: Piece[Any] = Piece()
        self._new: Piece[Any] = Piece()
        self._attempt = uuid.uuid4().hex

    def __enter__(self) -> PartOutput:
        for name in _joined(self._progress.names(".json"), self._part)[1]:
            self._load(name.removesuffix(".json"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(_Dropped):
            self._stack.__exit__(_Dropped, _Dropped(), None)

    @property
    def num_items(self) -> int:
        """Items that are finished, from the part's first one."""
        return self._done.num_items + self._new.num_items

    @property
    def num_durable(self) -> int:
        """Items that a retry will find finished."""
        return self._done.num_items

    def add(self, record: Row, members: Mapping[str, bytes]) -> None:
        """Append one record, and its members to the tar."""
        if members:
            tar = self._open_tar()
            with self._disk_errors():
                self._new.members += [tar.add(record.id, suffix, members[suffix]) for suffix in sorted(members)]
        self._new.records.append(record)

    def add_reject(self, reject: Reject) -> None:
        """Append one reject."""
        self._new.rejects.append(reject)

    def finish_items(self, num_items: int) -> None:
        """All outcomes of the part's first `num_items` items have been added, and none of a later item."""
        self._new.num_items = num_items - self._done.num_items

    def flush(self) -> None:
        """Make the finished items durable. Only right after `finish_items`."""
        if not self._new.num_items:
            return
        self._lease.check()
        name = f"{self._part}.{self._done.num_items:07d}-{self.num_items:07d}.{self._attempt}"
        start = self._flushed_bytes
        if self._file is not None and self._tar is not None and self._tar.num_bytes > start:
            self._file.seek(start)
            with self._progress.writing(f"{name}.tar") as path, path.open("wb") as piece:
                shutil.copyfileobj(self._file, piece, _COPY_BYTES)
            self._flushed_bytes = self._tar.num_bytes
        self._progress.write(f"{name}.json", codec.to_json(_moved(self._new, -start)))
        self._keep_new()

    def commit(self) -> Counts:
        """Publish the part; its records file comes last."""
        self._keep_new()
        self._lease.check()
        if self._tar is not None and self._file is not None:
            with self._disk_errors():
                self._tar.finish()
                self._file.close()
            self._stack.close()
            self._write(layout.members_file(self._part), self._done.members, Member)
        if self._index is not None:
            self._index(self._part, self._done.records, self._done.members)
        if self._done.rejects:
            self._write(layout.rejects_file(self._part), self._done.rejects, Reject)
        self._write(layout.records_file(self._part), self._done.records, self._row)
        remove_pieces(self._folder, self._part)
        return Counts(
            name=self._part,
            num_items=self._done.num_items,
            num_records=len(self._done.records),
            num_rejects=len(self._done.rejects),
        )

    def _keep_new(self) -> None:
        self._done.num_items += self._new.num_items
        self._done.records += self._new.records
        self._done.rejects += self._new.rejects
        self._done.members += self._new.members
        self._new = Piece()

    def _load(self, name: str) -> None:
        self._new = codec.from_json(self._progress.read(f"{name}.json"), Piece[self._row])
        if self._new.members:
            self._new = _moved(self._new, self._open_tar().num_bytes)
            assert self._file is not None
            with self._disk_errors():
                shutil.copyfileobj(RangedFile(self._progress, f"{name}.tar"), self._file, _COPY_BYTES)
            self._tar = TarWriter(self._file)
            self._flushed_bytes = self._tar.num_bytes
        self._keep_new()

    def _open_tar(self) -> TarWriter:
        if self._tar is None:
            path = self._stack.enter_context(self._tars.writing(layout.tar_file(self._part)))
            self._file = self._stack.enter_context(path.open("w+b"))
            self._tar = TarWriter(self._file)
        return self._tar

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = f"{self._tars.uri}/{layout.tar_file(self._part)}"
            raise StorageError(f"cannot write {where}: {error.strerror or error}") from error

    def _write(self, name: str, rows: list, kind: type) -> None:
        self._folder.write(name, parquet_bytes(codec.to_table(rows, kind)))


class _Dropped(Exception):  # noqa: N818  it is no error
    """Leaves `Folder.writing` without publishing the half-written tar."""


def num_durable(folder: Folder, part: str) -> int:
    """Items of a part, from its first one, that are flushed."""
    return _joined(folder.child(layout.PROGRESS).names(".json"), part)[0]


def remove_pieces(folder: Folder, part: str) -> None:
    """Remove what was flushed for a part."""
    progress = folder.child(layout.PROGRESS)
    for name in progress.names():
        if name.startswith(f"{part}."):
            progress.remove(name)


def _moved(piece: Piece[T], num_bytes: int) -> Piece[T]:
    """The piece with its members so much further on in their tar."""
    return replace(piece, members=[replace(member, offset=member.offset + num_bytes) for member in piece.members])


def _joined(names: Sequence[str], part: str) -> tuple[int, list[str]]:
    """Of the pieces of a part those that lead from its first item the furthest, each where the one before it stops.

    With the number of items that they hold.
    """
    pattern = re.compile(rf"{re.escape(part)}\.(\d+)-(\d+)\.[0-9a-f]+\.json")
    pieces = sorted((int(found[1]), int(found[2]), name) for name in names if (found := pattern.fullmatch(name)))
    ways: dict[int, list[str]] = {0: []}
    for first, stop, name in pieces:
        if first in ways:
            ways.setdefault(stop, [*ways[first], name])
    return max(ways), ways[max(ways)]
