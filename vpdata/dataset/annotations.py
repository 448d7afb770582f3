"""The two JSON members of a sample: the record without its masks, and the masks as COCO run lengths."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from pycocotools import mask as coco

from vpdata import codec
from vpdata.errors import RunError
from vpdata.records import SCHEMA_VERSION, Record, ScoreName

RECORD, MASKS, VIDEO = "json", "masks.json", "mp4"
"""Suffixes of a sample's members, in the order they have in a shard."""
_SCORE_NAMES = typing.get_args(ScoreName)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rle:
    size: tuple[int, int]
    counts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _TrackMasks:
    id: int
    masks: tuple[_Rle, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _MaskFile:
    tracks: tuple[_TrackMasks, ...]


def encode(record: Record) -> dict[str, bytes]:
    """Contents of the members `json` and `masks.json`.

    Every frame has an RLE, an empty one where the object is absent, so that `pycocotools.mask.decode(track["masks"])`
    gives a whole track as uint8 [H, W, T].
    """
    tracks = record.tracks or ()
    bare = tuple(dataclasses.replace(track, masks=()) for track in tracks)
    plain = codec.to_builtins(dataclasses.replace(record, tracks=None if record.tracks is None else bare))
    for track in plain["tracks"] or ():
        del track["masks"]
    masks = [{"id": track.id, "masks": rle} for track, rle in zip(tracks, rles(record), strict=True)]
    return {RECORD: codec.to_json({"schema_version": SCHEMA_VERSION, **plain}), MASKS: codec.to_json({"tracks": masks})}


def rles(record: Record) -> list[list[dict[str, Any]]]:
    """Per track and frame its COCO RLE, `{"size": [height, width], "counts": text}`, empty where it is absent."""
    size = (record.clip.height_px, record.clip.width_px)
    empty = _empty_counts(size)
    return [
        [{"size": list(size), "counts": counts or empty} for counts in track.masks] for track in record.tracks or ()
    ]


def decode(record_json: bytes, masks_json: bytes, *, where: str) -> Record:
    """Inverse of `encode`; what a later release adds, be it a key or a score, is passed over.

    RunError that begins with `where` for anything that does not fit together.
    """
    try:
        plain = msgspec.json.decode(record_json)
        version = plain.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise RunError(
                f"{where}: got schema version {version}, wanted {SCHEMA_VERSION}; docs/format.md says how to convert"
            )
        plain["scores"] = [score for score in plain.get("scores", ()) if score["name"] in _SCORE_NAMES]
        masks = codec.from_json(masks_json, _MaskFile).tracks
        tracks = plain["tracks"] or ()
        if [track["id"] for track in tracks] != [one.id for one in masks]:
            raise RunError(f"{where}: got masks of the tracks {[one.id for one in masks]}, wanted those of the record")
        size = (plain["clip"]["height_px"], plain["clip"]["width_px"])
        for track, one in zip(tracks, masks, strict=True):
            track["masks"] = _counts(one.masks, size, where)
        return codec.from_builtins(plain, Record)
    except (msgspec.MsgspecError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{where}: the JSON is not that of a sample: {error}; run `vpdata check` on the run") from error


def _counts(masks: tuple[_Rle, ...], size: tuple[int, int], where: str) -> list[str | None]:
    if wrong := next((mask.size for mask in masks if mask.size != size), None):
        raise RunError(f"{where}: got a mask of {wrong[1]}x{wrong[0]}, wanted the clip's {size[1]}x{size[0]}")
    empty = _empty_counts(size)
    return [None if mask.counts == empty else mask.counts for mask in masks]


def _empty_counts(size: tuple[int, int]) -> str:
    counts = coco.encode(np.zeros(size, dtype=np.uint8, order="F"))["counts"]
    return counts.decode("ascii") if isinstance(counts, bytes) else counts
