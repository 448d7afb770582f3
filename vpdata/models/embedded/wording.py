"""Words for measured numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vpdata.models.embedded.observations import ObjectCourse

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_PLACES = (
    ("the upper left", "the top", "the upper right"),
    ("the left", "the centre", "the right"),
    ("the lower left", "the bottom", "the lower right"),
)
_DIRECTIONS = (
    "to the right",
    "down and to the right",
    "down",
    "down and to the left",
    "to the left",
    "up and to the left",
    "up",
    "up and to the right",
)


def noun_phrase(course: ObjectCourse) -> str:
    """Label and colours. People get the colours as clothes have them, and a face gets none."""
    # Whether it moves is said by its verb.
    label = "object" if course.label == "moving object" else course.label
    colours = and_list(course.colours)
    if not colours or label == "face":
        return label
    if label in ("person", "man", "woman", "child"):
        return f"{label} in {colours}"
    return f"{colours} {label}"


def with_article(phrase: str) -> str:
    """ "a" or "an" by the first letter's sound, as far as the letter tells it."""
    return f"{'an' if phrase[:1].lower() in 'aeiou' else 'a'} {phrase}"


def place(centre: tuple[float, float]) -> str:
    """The third of the frame, such as "the upper left"; (0, 0) is the upper left corner and (1, 1) the lower right."""
    x, y = (min(int(3 * value), 2) for value in centre)
    return _PLACES[y][x]


def at(place: str) -> str:
    """The place with its preposition."""
    return f"{ {'the top': 'at', 'the bottom': 'at', 'the left': 'on', 'the right': 'on'}.get(place, 'in') } {place}"


def direction(shift: tuple[float, float]) -> str:
    """One of eight directions for a displacement to the right and down."""
    eighth = round(float(np.arctan2(shift[1], shift[0])) / (np.pi / 4))
    return _DIRECTIONS[eighth % 8]


def speed(diagonals_per_s: float) -> str:
    """Slowly, steadily or quickly."""
    return "slowly" if diagonals_per_s < 0.04 else "steadily" if diagonals_per_s < 0.15 else "quickly"


def share(fraction: float) -> str:
    """ "12 percent"."""
    return f"{max(1, round(100 * fraction))} percent"


def number_word(number: int) -> str:
    """Words up to ten, digits above."""
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)


def and_list(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def capitalised(sentence: str) -> str:
    """The first letter made large, the others left alone."""
    return sentence[:1].upper() + sentence[1:]
