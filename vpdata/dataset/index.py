"""The index: one Parquet file per shard, one row per clip with every scalar and where its members lie."""

from __future__ import annotations

import dataclasses
import hashlib
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from vpdata import codec
from vpdata.dataset import annotations, layout
from vpdata.dataset.run import check_version, read_table
from vpdata.records import Clip, Record, ScoreName, Track, Video
from vpdata.storage import Folder

SCORE_NAMES: tuple[ScoreName, ...] = typing.get_args(ScoreName)
MEMBER_COLUMNS = {annotations.RECORD: "json", annotations.MASKS: "masks", annotations.VIDEO: "mp4"}
"""Suffix of a member to the prefix of its columns."""
MEMBER_FACTS = {"offset": pa.int64(), "num_bytes": pa.int64(), "sha256": pa.string()}
"""What the columns of a member say, and their types."""
_TRACK_FIELDS = tuple(field.name for field in dataclasses.fields(Track) if field.name not in ("masks", "area_frac"))


def _schema() -> pa.Schema:
    video = [field.with_name(f"video_{field.name}") for field in codec.schema_of(Video)]
    clip = [field for field in codec.schema_of(Clip) if field.name not in ("id", "video", "sha256")]
    scores = [pa.field(name, pa.float64()) for name in SCORE_NAMES]
    track = pa.struct(
        [codec.schema_of(Track).field(name) for name in _TRACK_FIELDS] + [pa.field("caption", pa.string())]
    )
    members = [
        pa.field(f"{prefix}_{what}", kind, nullable=False)
        for prefix in MEMBER_COLUMNS.values()
        for what, kind in MEMBER_FACTS.items()
    ]
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("shard", pa.string(), nullable=False),
            *clip,
            pa.field("duration_s", pa.float64(), nullable=False),
            *video,
            *scores,
            pa.field("tags", codec.schema_of(Record).field("tags").type),
            pa.field("caption", pa.string()),
            pa.field("tracks", pa.list_(pa.field("item", track, nullable=False)), nullable=False),
            *members,
        ]
    )


SCHEMA = _schema()
"""Columns of the index; `docs/format.md` explains each."""


def row_of(record: Record, *, shard: int, offsets: Mapping[str, int], contents: Mapping[str, bytes]) -> dict[str, Any]:
    """One row. `offsets` and `contents` are keyed by a member's suffix."""
    clip = codec.to_builtins(record.clip)
    row: dict[str, Any] = {"id": record.id, "shard": layout.shard_file(shard), "duration_s": record.clip.duration_s}
    row |= {f"video_{name}": value for name, value in clip.pop("video").items()}
    row |= {name: value for name, value in clip.items() if name not in ("id", "sha256")}
    row |= {score.name: score.value for score in record.scores}
    row["tags"] = record.tags
    # Backwards, so that the first caption of a scope wins: a list's own caption comes after ours.
    texts = {caption.scope: caption.text for caption in reversed(record.captions or ())}
    row["caption"] = texts.get(None)
    row["tracks"] = [
        {name: getattr(track, name) for name in _TRACK_FIELDS} | {"caption": texts.get(track.id)}
        for track in record.tracks or ()
    ]
    for suffix, prefix in MEMBER_COLUMNS.items():
        row[f"{prefix}_offset"] = offsets[suffix]
        row[f"{prefix}_num_bytes"] = len(contents[suffix])
        row[f"{prefix}_sha256"] = hashlib.sha256(contents[suffix]).hexdigest()
    return row


def read_index(folder: Folder, names: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
    """The index files `names` of an index folder, one below the other; only `columns` are fetched."""
    tables = []
    for name in names:
        table = read_table(folder, name, columns=columns)
        check_version(table.schema, where=f"{folder.uri}/{name}")
        tables.append(table)
    kept = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
    return pa.concat_tables(tables).replace_schema_metadata() if tables else kept.empty_table()
