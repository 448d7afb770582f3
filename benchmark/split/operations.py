"""Edits: which operation on which clip, and its words by templates where no model follows instructions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmark.bench import Operation
from benchmark.split.cases import MadeCase, Material, text_of
from benchmark.split.categories import Offer, kind_of, offers_of
from benchmark.split.draw import place
from benchmark.split.unusable import UnusableError
from vpdata import codec
from vpdata.codec import to_builtins
from vpdata.config import read_yaml
from vpdata.inpaint.edit import NEUTRAL
from vpdata.records import Record

OPERATIONS: tuple[Operation, ...] = ("add", "remove", "swap", "change")
_SETTING = re.compile(r"(?<!\S)(The (camera|surroundings|picture) |Brightness ).*", re.DOTALL)
"""What the embedded captioner says of camera, surroundings and light comes last, after all objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditWords:
    """What an edit asks for."""

    instruction: str
    target_object: str
    """What should be under the mask."""
    target_caption: str
    """Of the whole video as it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Things:
    """Content of `things.yaml`."""

    add: tuple[str, ...]
    swap: Mapping[str, tuple[str, ...]]
    """Kind of the old object to new ones."""
    change: tuple[str, ...]
    """Adjectives."""


def offer_for(operation: Operation, record: Record) -> Offer:
    """The region that an operation is about: of the background to add something, else of one object."""
    if operation == "add":
        return Offer(category="landscape", tracks=())
    for offer in offers_of(to_builtins(record.tracks or ())):
        if len(offer.tracks) == 1:
            return offer
    raise UnusableError("not_tracked", f"there is no object to {operation}")


def template_words(made: MadeCase, operation: Operation, material: Material, *, seed: int) -> EditWords:
    """Words of a template: what is drawn follows from seed, case and operation."""
    case, record = made.case, material.record
    tracks = [track for track in record.tracks or () if track.id in case.tracks]
    label = tracks[0].label if tracks else ""
    if operation == "add":
        thing = _pick(_things().add, seed, case.id)
        instruction, target = f"Add {thing} to the video.", thing
    elif operation == "remove":
        instruction, target = f"Remove the {label} from the video.", NEUTRAL
    elif operation == "swap":
        kind = kind_of(label, mean_area_frac=tracks[0].mean_area_frac, border_frac=tracks[0].border_frac)
        target = _pick(_things().swap[kind], seed, case.id)
        instruction = f"Replace the {label} with {target}."
    else:
        adjective = _pick(_things().change, seed, case.id)
        instruction, target = f"Make the {label} {adjective}.", f"{_article(adjective)} {adjective} {label}"
    others = [text_of(record, track.id) for track in record.tracks or () if track.id not in case.tracks]
    setting = _SETTING.search(text_of(record, None))
    sentences = [_sentence(target), *map(_sentence, others), setting.group() if setting else ""]
    return EditWords(instruction=instruction, target_object=target, target_caption=" ".join(filter(None, sentences)))


@cache
def _things() -> _Things:
    return codec.from_builtins(read_yaml(Path(__file__).with_name("things.yaml")), _Things)


def _pick(choices: Sequence[str], *key: object) -> str:
    return min(choices, key=lambda choice: place(*key, choice))


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
