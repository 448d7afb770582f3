"""A run as a Hugging Face data set: Parquet files that hold the videos, and a card by which `datasets` loads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vpdata import codec
from vpdata.dataset import annotations, index, layout
from vpdata.dataset.card import Packaging, card_text
from vpdata.dataset.export_part import Exported, ExportPart, PartRows
from vpdata.dataset.features import MASKS_TYPE, features_of
from vpdata.dataset.reader import Dataset, Sample
from vpdata.dataset.run import Run
from vpdata.dataset.stats import collect
from vpdata.records import Record
from vpdata.storage import Folder

_ROWS_PER_GROUP = 16
"""A row holds a video: with more of them, fetching one row would fetch hundreds of megabytes."""
_LOADING = """\
## How to load it

Run this in this folder (decoding the videos needs torchcodec; without it take the bytes):

```python
from pathlib import Path

from datasets import Video, load_dataset
from pycocotools import mask

clips = load_dataset(str(Path.cwd()), split="train").cast_column("video", Video(decode=False))
for track in clips[0]["tracks"]:
    print(track["label"], track["caption"], mask.decode(track["masks"]).shape)  # uint8 [H, W, T]
```
"""


def _schema() -> pa.Schema:
    """The index's columns, with video, masks and embedding in the place of what tells where they lie in a shard."""
    members = {f"{prefix}_{what}" for prefix in index.MEMBER_COLUMNS.values() for what in index.MEMBER_FACTS}
    unwanted = {"shard", *members} - {"mp4_sha256"}
    track = pa.struct([*index.SCHEMA.field("tracks").type.value_type, pa.field("masks", MASKS_TYPE)])
    fields = {field.name: field for field in index.SCHEMA if field.name not in unwanted}
    fields["tracks"] = pa.field("tracks", pa.list_(track))
    fields["embedding"] = codec.schema_of(Record).field("embedding")
    fields["video"] = pa.field("video", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())]))
    return pa.schema(list(fields.values()))


_SCHEMA = _schema()


def write_part(part: ExportPart) -> PartRows:
    """Write a Parquet file with the clips of a shard, and one with those that are held out.

    RunError names a clip that is damaged.
    """
    table = part.table()
    clips = zip(table["id"].to_pylist(), table["video_id"].to_pylist(), strict=True)
    is_held_out = np.array([part.held_out.holds_out(clip, video_id=video) for clip, video in clips], dtype=bool)
    for split, rows in (("train", table.filter(~is_held_out)), ("test", table.filter(is_held_out))):
        if rows.num_rows:
            with part.output.writing(f"data/{split}-{part.number:05d}-of-{part.num_parts:05d}.parquet") as path:
                _write_rows(path, rows, part.samples(rows))
    return PartRows(num_clips=table.num_rows, num_held_out=int(is_held_out.sum()))


def finish(run: Run, folder: Folder, parts: Sequence[PartRows]) -> Exported:
    """Write the card; RunError where the run has no `run.yaml`, which it is made from."""
    exported = Exported.of(parts)
    counts = {"train": exported.num_clips - exported.num_held_out, "test": exported.num_held_out}
    files = {split: f"data/{split}-*.parquet" for split, count in counts.items() if count}
    features = [*features_of(field for field in _SCHEMA if field.name != "video"), {"name": "video", "dtype": "video"}]
    packaging = Packaging(files=files, features=features, loading=_LOADING)
    folder.write(layout.CARD, card_text(run.config(), collect(run), packaging=packaging).encode("utf-8"))
    return replace(exported, num_rows=exported.num_clips)


def _write_rows(path: Path, table: pa.Table, samples: Dataset) -> None:
    with pq.ParquetWriter(path, _SCHEMA, compression="zstd", use_dictionary=False) as writer:
        for start in range(0, table.num_rows, _ROWS_PER_GROUP):
            span = slice(start, start + _ROWS_PER_GROUP)
            rows = [_row(row, sample) for row, sample in zip(table[span].to_pylist(), samples[span], strict=True)]
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))


def _row(row: dict[str, Any], sample: Sample) -> dict[str, Any]:
    tracks = [
        track | {"masks": masks} for track, masks in zip(row["tracks"], annotations.rles(sample.record), strict=True)
    ]
    video = {"bytes": sample.checked_mp4, "path": f"{sample.id}.mp4"}
    return row | {"tracks": tracks, "embedding": codec.to_builtins(sample.record.embedding), "video": video}
