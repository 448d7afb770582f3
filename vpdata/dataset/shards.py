"""Tars with fixed bytes, and the packing of kept clips into shards."""

from __future__ import annotations

import hashlib
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from vpdata.dataset import annotations, index, layout
from vpdata.dataset.run import Run, parquet_bytes, read_rows
from vpdata.errors import RunError
from vpdata.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Where one file of a clip lies in a tar; a row of `part-NNNNN.members.parquet`."""

    clip_id: str
    suffix: str
    """Name in the tar without `<clip_id>.`, such as "mp4" or "masks.json"."""
    offset: int
    """Byte offset of the content (not of its header) in the tar."""
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PackEntry:
    """Which shard a kept clip goes to; a row of `pack-plan.parquet`."""

    clip_id: str
    part: str
    """Part or sub-part of the filter stage that holds the record; the mp4 is in the tar of its whole part."""
    shard: int


class TarWriter:
    """Appends members to a tar at the file's position; equal members give equal bytes.

    POSIX pax headers, mtime 0, owner and group 0, mode 0644.
    To go on with a tar that was left unfinished, hand over the file positioned behind its last whole member.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.num_bytes = file.tell()
        """Where the next header goes; without the end mark that `finish` writes."""

    def add(self, clip_id: str, suffix: str, content: bytes) -> Member:
        """Append `<clip_id>.<suffix>` and tell where its content lies."""
        info = tarfile.TarInfo(f"{clip_id}.{suffix}")
        info.size, info.mode = len(content), 0o644
        header = info.tobuf(tarfile.PAX_FORMAT)
        self._file.write(header)
        self._file.write(content)
        self._file.write(bytes(-len(content) % tarfile.BLOCKSIZE))
        offset = self.num_bytes + len(header)
        self.num_bytes = padded(offset + len(content))
        return Member(clip_id=clip_id, suffix=suffix, offset=offset, num_bytes=len(content))

    def finish(self) -> None:
        """Write the two empty blocks that end a tar. The file stays open."""
        self._file.write(END_OF_TAR)


END_OF_TAR = bytes(2 * tarfile.BLOCKSIZE)
"""What ends every tar of ours: two empty blocks and no further padding."""


def padded(num_bytes: int) -> int:
    """`num_bytes` rounded up to a whole tar block."""
    return num_bytes + -num_bytes % tarfile.BLOCKSIZE


def write_shard(run: Run, entries: Sequence[PackEntry], *, shard: int) -> None:
    """Write one shard and then its index; the index file says that the shard is whole.

    Samples stand in the order of their ids. RunError names a clip that the parts do not hold as planned.
    """
    records = _records(run, entries)
    rows = []
    with run.folder.child(layout.SHARDS).writing(layout.shard_file(shard)) as path, path.open("wb") as file:
        tar = TarWriter(file)
        for record, mp4 in _with_clips(run, sorted(entries, key=lambda entry: entry.clip_id), records):
            contents = {**annotations.encode(record), annotations.VIDEO: mp4}
            offsets = {suffix: tar.add(record.id, suffix, content).offset for suffix, content in contents.items()}
            rows.append(index.row_of(record, shard=shard, offsets=offsets, contents=contents))
        tar.finish()
    table = pa.Table.from_pylist(rows, schema=index.SCHEMA)
    run.folder.child(layout.INDEX).write(layout.index_file(shard), parquet_bytes(table, rows_per_group=4096))


def _records(run: Run, entries: Iterable[PackEntry]) -> dict[str, Record]:
    ids_by_part: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        ids_by_part[entry.part].add(entry.clip_id)
    folder = run.stage_folder("filter")
    return {
        record.id: record
        for part, ids in sorted(ids_by_part.items())
        for record in read_rows(folder, layout.records_file(part), Record, ids=ids)
    }


def _with_clips(
    run: Run, entries: Iterable[PackEntry], records: Mapping[str, Record]
) -> Iterator[tuple[Record, bytes]]:
    folder = run.stage_folder("cut")
    members: dict[str, dict[str, Member]] = {}
    for entry in entries:
        whole = layout.whole_part_of(entry.part)
        if whole not in members:
            rows = read_rows(folder, layout.members_file(whole), Member, ids=records.keys(), id_column="clip_id")
            members[whole] = {row.clip_id: row for row in rows if row.suffix == annotations.VIDEO}
        if entry.clip_id not in records or entry.clip_id not in members[whole]:
            raise RunError(
                f"{entry.clip_id}: the pack plan expects it in {entry.part}, which does not hold it; "
                "run `vpdata build --redo filter`"
            )
        record, member = records[entry.clip_id], members[whole][entry.clip_id]
        mp4 = folder.read_range(layout.tar_file(whole), member.offset, member.num_bytes)
        if hashlib.sha256(mp4).hexdigest() != record.clip.sha256:
            raise RunError(
                f"{record.id}: the clip in {folder.uri}/{layout.tar_file(whole)} has another hash than its record; "
                "run `vpdata build --redo cut`"
            )
        yield record, mp4
