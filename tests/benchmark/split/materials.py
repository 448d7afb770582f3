"""Clips with records, made from footage whose masks are known."""

from __future__ import annotations

from dataclasses import replace

from benchmark.split.cases import Material
from tests.runs import encode_clip, make_footage, make_record


def make_material(seed: int = 0, **labels: str) -> tuple[Material, dict]:
    """The clip of `tests.runs` and its true masks by label; `labels` (red=, blue=) rename its two objects."""
    footage = make_footage(seed)
    mp4 = encode_clip(footage.frames)
    record = make_record(seed, mp4=mp4, footage=footage)
    new = {f"{colour} square": label for colour, label in labels.items()}
    tracks = tuple(replace(track, label=new.get(track.label, track.label)) for track in record.tracks or ())
    masks = {new.get(label, label): mask for label, mask in footage.masks.items()}
    return Material(record=replace(record, tracks=tracks), mp4=mp4), masks
