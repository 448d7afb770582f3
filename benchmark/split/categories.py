"""What a clip can show in the benchmark: objects, humans, animals, landscape or several regions, told from its tracks.

A label decides by its head noun ("man" of "man with a dog"), which `kinds.yaml` lists. Where it names no kind of thing,
as the embedded detector's "moving object", a mask as large as a background and tied to the frame's edge is landscape,
and any other an object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.bench import Category
from vpdata import codec
from vpdata.config import read_yaml

CATEGORIES: tuple[Category, ...] = ("object", "human", "animal", "landscape", "multi")

_NO_KIND = frozenset({"object", "thing", "moving object"})
_TAIL = re.compile(r"\b(with|without|in|on|at|of|under|near|behind|beside|and|who|that|wearing|holding|riding)\b.*")
_BACKGROUND_AREA_FRAC, _BACKGROUND_BORDER_FRAC = 0.35, 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One way to use a clip."""

    category: Category
    tracks: tuple[int, ...]
    """Whose union is the mask; () for a drawn region of the background."""

    @property
    def is_drawn(self) -> bool:
        """Whether the region is drawn: taken only where too few clips of the category have one that was found."""
        return not self.tracks


def kind_of(label: str, *, mean_area_frac: float, border_frac: float) -> Category:
    """What one track shows: anything but "multi"."""
    text = " ".join(label.lower().split())
    if text in _NO_KIND:
        is_background = mean_area_frac >= _BACKGROUND_AREA_FRAC and border_frac >= _BACKGROUND_BORDER_FRAC
        return "landscape" if is_background else "object"
    head = (_TAIL.sub("", text).split() or text.split() or [""])[-1]
    singular = (text, head, head.removesuffix("s"), head.removesuffix("es"), re.sub("ies$", "y", head))
    for name in singular:
        if name in _kinds():
            return _kinds()[name]
    return "object"


@cache
def _kinds() -> Mapping[str, Category]:
    """Noun to kind, from the file beside this one."""
    data = read_yaml(Path(__file__).with_name("kinds.yaml"))
    nouns_of = codec.from_builtins(data, dict[Category, tuple[str, ...]])
    return {noun: kind for kind, nouns in nouns_of.items() for noun in nouns}


def offers_of(tracks: Sequence[Mapping[str, Any]]) -> tuple[Offer, ...]:
    """What a clip can be used for, from its tracks as mappings with the fields of `Track` but for the masks.

    Per kind the track that is seen most; all tracks for "multi"; and without a track of the landscape a drawn region of
    it, since detectors of things leave the background out.
    """
    of_kind: dict[Category, list[Mapping[str, Any]]] = {}
    for track in tracks:
        measures = {name: track[name] for name in ("mean_area_frac", "border_frac")}
        of_kind.setdefault(kind_of(track["label"], **measures), []).append(track)
    offers = [
        Offer(category=kind, tracks=(max(of_kind[kind], key=_seen)["id"],)) for kind in CATEGORIES if kind in of_kind
    ]
    if len(tracks) > 1:
        offers.append(Offer(category="multi", tracks=tuple(sorted(track["id"] for track in tracks))))
    if "landscape" not in of_kind:
        offers.append(Offer(category="landscape", tracks=()))
    return tuple(offers)


def _seen(track: Mapping[str, Any]) -> tuple[float, int]:
    """Share of all the clip's pixels; of equal ones the first track."""
    return track["mean_area_frac"] * track["coverage_frac"], -track["id"]
