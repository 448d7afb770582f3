"""A run as a Hugging Face data set: Parquet files that hold the videos, and a card by which `datasets` loads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vpdata import codec
from vpdata.dataset import annotations, index, layout
from vpdata.dataset.card import Packaging, card_text
from vpdata.dataset.features import MASKS_TYPE, features_of
from vpdata.dataset.reader import INDEX_COLUMNS, Dataset, Sample
from vpdata.dataset.run import Run
from vpdata.dataset.split import Split
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


def write_hugging_face(run: Run, folder: Folder, held_out: Split) -> tuple[int, int]:
    """Write a Parquet file per shard and split, and a card; returns the numbers of clips and of held-out ones.

    RunError names a clip that is damaged, or says that no `run.yaml` is there, which the card is made from.
    """
    config, schema, num_clips = run.config(), _schema(), {"train": 0, "test": 0}
    index_folder, shards = run.folder.child(layout.INDEX), run.folder.child(layout.SHARDS)
    names = index_folder.names(".parquet")
    for number, name in enumerate(names):
        table = index.read_index(index_folder, [name])
        clips = zip(table["id"].to_pylist(), table["video_id"].to_pylist(), strict=True)
        is_held_out = np.array([held_out.holds_out(clip, video_id=video) for clip, video in clips], dtype=bool)
        for split, rows in (("train", table.filter(~is_held_out)), ("test", table.filter(is_held_out))):
            if rows.num_rows:
                with folder.writing(f"data/{split}-{number:05d}-of-{len(names):05d}.parquet") as path:
                    _write_rows(path, rows, shards, schema)
            num_clips[split] += rows.num_rows
    features = [*features_of(field for field in schema if field.name != "video"), {"name": "video", "dtype": "video"}]
    files = {split: f"data/{split}-*.parquet" for split, count in num_clips.items() if count}
    card = card_text(config, collect(run), packaging=Packaging(files=files, features=features, loading=_LOADING))
    folder.write(layout.CARD, card.encode("utf-8"))
    return sum(num_clips.values()), num_clips["test"]


def _write_rows(path: Path, table: pa.Table, shards: Folder, schema: pa.Schema) -> None:
    samples = Dataset(shards, table.select(INDEX_COLUMNS))
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer:
        for start in range(0, table.num_rows, _ROWS_PER_GROUP):
            span = slice(start, start + _ROWS_PER_GROUP)
            rows = [_row(row, sample) for row, sample in zip(table[span].to_pylist(), samples[span], strict=True)]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _row(row: dict[str, Any], sample: Sample) -> dict[str, Any]:
    tracks = [
        track | {"masks": masks} for track, masks in zip(row["tracks"], annotations.rles(sample.record), strict=True)
    ]
    video = {"bytes": sample.checked_mp4, "path": f"{sample.id}.mp4"}
    return row | {"tracks": tracks, "embedding": codec.to_builtins(sample.record.embedding), "video": video}
