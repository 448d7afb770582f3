"""Tars with fixed bytes, and the packing of kept clips into shards."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from typing import BinaryIO


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
