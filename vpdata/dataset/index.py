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
from vpdata.dataset.run import check_version, in_order, read_table
from vpdata.errors import RunError
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
    """The index files `names` of an index folder, one below the other; only `columns` are fetched.

    Those may be parts of others (`tracks.list.element.label`). A score that a file is older than is null; RunError
    where one of `columns` is missing otherwise, or repeated.
    """
    tables = list(in_order(lambda name: _read(folder, name, columns), names))
    kept = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in _wholes(columns)])
    return pa.concat_tables(tables).replace_schema_metadata() if tables else kept.empty_table()


def _read(folder: Folder, name: str, columns: Sequence[str] | None) -> pa.Table:
    try:
        table = read_table(folder, name, columns=columns)
    except RunError:
        if columns is None:
            raise
        # It lacks a column, or else this raises the same again.
        found = read_table(folder, name).column_names
        table = read_table(folder, name, columns=[one for one in columns if one.partition(".")[0] in found])
    check_version(table.schema, where=f"{folder.uri}/{name}")
    for score in SCORE_NAMES:
        if score not in table.column_names and (columns is None or score in columns):
            table = table.append_column(SCHEMA.field(score), pa.nulls(table.num_rows, pa.float64()))
    if columns is None:
        return table
    for column in _wholes(columns):
        if (count := table.column_names.count(column)) != 1:
            what = "repeats" if count else "lacks"
            raise RunError(f"{folder.uri}/{name} {what} the column {column}; `--redo pack` makes the index anew")
    return table.select(_wholes(columns))


def _wholes(columns: Sequence[str]) -> list[str]:
    """The columns that these are, or are parts of."""
    return list(dict.fromkeys(column.partition(".")[0] for column in columns))
