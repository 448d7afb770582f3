"""Our columns as Hugging Face `datasets` features: declared, since it guesses no type for a column of nulls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from vpdata import codec
from vpdata.records import Record

_RLE = pa.struct([pa.field("size", pa.list_(pa.int64())), pa.field("counts", pa.string())])
MASKS_TYPE = pa.list_(_RLE)
"""One COCO RLE per frame."""


def features_of(fields: Iterable[pa.Field]) -> list[dict[str, Any]]:
    """What `dataset_info.features` of a data set card says of some Arrow fields."""
    return [{"name": field.name, **_feature(field.type)} for field in fields]


def shard_features() -> list[dict[str, Any]]:
    """The features of our shards as the `webdataset` loader of `datasets` reads them."""
    record = [pa.field("schema_version", pa.int64()), *map(_without_masks, codec.schema_of(Record))]
    tracks = pa.list_(pa.struct([pa.field("id", pa.int64()), pa.field("masks", MASKS_TYPE)]))
    fields = [pa.field("json", pa.struct(record)), pa.field("masks.json", pa.struct([pa.field("tracks", tracks)]))]
    keys = [pa.field("__key__", pa.string()), pa.field("__url__", pa.string())]
    return [*features_of(fields), {"name": "mp4", "dtype": "video"}, *features_of(keys)]


def _without_masks(field: pa.Field) -> pa.Field:
    if field.name != "tracks":
        return field
    return pa.field("tracks", pa.list_(pa.struct([one for one in field.type.value_type if one.name != "masks"])))


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {"struct": features_of(kind)}
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        (inner,) = _feature(kind.value_type).values()
        return {"list": inner}
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind))}
