"""How the clips of a data set look, and which videos they are of."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from vpdata.dataset import index, layout
from vpdata.dataset.look_alikes import Looks
from vpdata.dataset.reader import index_files, open_dataset
from vpdata.dataset.run import Run
from vpdata.records import Embedding

_COLUMNS = ("id", "phash", "video_id", "video_content_hash")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipLooks:
    """One clip of the index."""

    looks: Looks
    video_id: str
    content_hash: str
    """Of the video's file."""
    embedder: str | None
    """What made the embedding; None without one."""


def clip_looks(run: Run, *, with_embeddings: bool) -> list[ClipLooks]:
    """All clips of a data set, in the order of the index; embeddings are in no index, so each record is read for them.

    RunError where the folder holds no whole index.
    """
    root, names = index_files(run.folder.uri)
    table: pa.Table = index.read_index(root.child(layout.INDEX), names, _COLUMNS)
    embeddings: dict[str, Embedding] = {}
    if with_embeddings:
        records = (sample.record for sample in open_dataset(run.folder.uri))
        embeddings = {record.id: record.embedding for record in records if record.embedding}
    return [_looks(row, embeddings.get(row["id"])) for row in table.to_pylist()]


def _looks(row: dict[str, str], embedding: Embedding | None) -> ClipLooks:
    return ClipLooks(
        looks=Looks(id=row["id"], phash=row["phash"], embedding=embedding.values if embedding else None),
        video_id=row["video_id"],
        content_hash=row["video_content_hash"],
        embedder=embedding.model if embedding else None,
    )
