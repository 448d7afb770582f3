"""Whether a model's answer is a caption: it may be a refusal, a list, a loop, or about something else."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from vpdata.stages.caption_measures import caption_measures
from vpdata.stages.caption_talk import talk_in, unquoted
from vpdata.stages.caption_words import english_words, is_called

_MARKUP = re.compile(
    r"^\s*(?:#{1,6} |[-*+•] |\d+[.)] |> |\|)|```|\*\*|__|\]\(|\A\s*[{[<]|</[a-z]|<br\b|<\|",
    re.MULTILINE | re.IGNORECASE,
)
"""Of Markdown and JSON, and the tags that a text is wrapped in; a text may name a tag."""
_ENDS = tuple(".!?…。！？")
_CLOSING = "\"'”’»)"
_MIN_LANGUAGE_WORDS = 10
"""Shorter texts have too few words to tell their language by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionChecks:
    """What a text must be like."""

    min_latin_frac: float = 0.9
    """Smallest share in [0, 1] of Latin ones among its letters; 0 for captions in other scripts."""
    min_english_frac: float = 0.1
    """Smallest share in [0, 1] of English function words ("the", "of", "with") among its words, rounded down to whole
    words, in texts of ten words or more; 0 for captions in other languages."""
    clip_words: tuple[int, int] = (20, 300)
    """Fewest and most words about a whole clip. Its text must also end where a sentence ends."""
    track_words: tuple[int, int] = (3, 60)
    """Fewest and most words about an object."""
    max_repetition_frac: float = 0.5
    """Largest share in [0, 1] of three-word phrases that repeat an earlier one."""
    mentions_label: bool = True
    """An object must be called by a noun of its label, by a compound with it, a kind of it, or a synonym
    (`caption_words.py`). Where model and detector cannot agree what it is, the mask is as doubtful as the text."""
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Label, or its last word, to further words for it."""

    def __post_init__(self) -> None:
        for name in ("min_latin_frac", "min_english_frac", "max_repetition_frac"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted a number from 0 to 1")
        for name in ("clip_words", "track_words"):
            fewest, most = getattr(self, name)
            if not 1 <= fewest <= most:
                raise ValueError(f"{name}: got {fewest} to {most}, wanted at least 1, and the smaller number first")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a text is no caption."""

    check: str
    """Which check it failed."""
    got: str
    wanted: str
    """For people, and for the model that is asked again."""


def problem_of(
    text: str, *, label: str | None, checks: CaptionChecks | None, may_be_on_black: Callable[[], bool] = lambda: False
) -> Problem | None:
    """The first problem of a text about a whole clip (`label` None) or an object; without checks only an empty one."""
    if not text.strip():
        return Problem(check="empty", got="an empty answer", wanted="a description")
    if checks is None:
        return None
    talk = partial(_talk, may_be_on_black=may_be_on_black)
    found = (check(text, label, checks) for check in (_markup, talk, *_FURTHER_CHECKS))
    return next((problem for problem in found if problem is not None), None)


def _markup(text: str, label: str | None, checks: CaptionChecks) -> Problem | None:
    found = _MARKUP.search(text)
    if found is None:
        return None
    return Problem(
        check="markup", got=f"the mark-up {found[0].strip()[:20]!r}", wanted="plain sentences, no lists or headings"
    )


def _talk(
    text: str, label: str | None, checks: CaptionChecks, *, may_be_on_black: Callable[[], bool]
) -> Problem | None:
    found = talk_in(unquoted(text), label=label, may_be_on_black=may_be_on_black)
    if found is None:
        return None
    words, what = found
    return Problem(check="refusal", got=f"{what} ({words!r})", wanted="a description and nothing else")


def _script(text: str, label: str | None, checks: CaptionChecks) -> Problem | None:
    letters = [one for one in unquoted(text) if one.isalpha()]
    num_latin = sum(one.isascii() or "LATIN" in unicodedata.name(one, "") for one in letters)
    if letters and num_latin >= checks.min_latin_frac * len(letters):
        return None
    return Problem(
        check="language",
        got=f"{num_latin} Latin letters of {len(letters)}",
        wanted=f"at least {checks.min_latin_frac:.0%} Latin letters: the language of the request",
    )


def _length(text: str, label: str | None, checks: CaptionChecks) -> Problem | None:
    fewest, most = checks.clip_words if label is None else checks.track_words
    num_words, _ = caption_measures(text)
    if fewest <= num_words <= most:
        return None
    return Problem(check="length", got=f"{num_words} words", wanted=f"{fewest} to {most} words")


def _repetition(text: str, label: str | None, checks: CaptionChecks) -> Problem | None:
    _, repetition_frac = caption_measures(text)
    if repetition_frac <= checks.max_repetition_frac:
        return None
    return Problem(
        check="repetition",
        got=f"{repetition_frac:.0%} of its phrases said before",
        wanted=f"at most {checks.max_repetition_frac:.0%}",
    )


def _language(text: str, label: str | None, checks: CaptionChecks) -> Problem | None:
    num_english, num_words = english_words(unquoted(text))
    if num_words < _MIN_LANGUAGE_WORDS or num_english >= int(checks.min_english_frac * num_words):
        return None
    return Problem(
        check="language",
        got=f"{num_english} English function words of {num_words}",
        wanted="plain English, the language of the request",
    )


def _ending(text: str, label: str | None, checks: CaptionChecks) -> Problem | None:
    if label is not None or text.rstrip().rstrip(_CLOSING).endswith(_ENDS):
        return None
    return Problem(check="ending", got=f"the end {text.rstrip()[-20:]!r}", wanted="a text that ends with its sentence")


def _label(text: str, label: str | None, checks: CaptionChecks) -> Problem | None:
    if not label or not checks.mentions_label or is_called(text, label, synonyms=checks.synonyms):
        return None
    return Problem(check="label", got=f"no word for {label!r}", wanted=f"the object to be called {label!r}")


_FURTHER_CHECKS: tuple[Callable[[str, str | None, CaptionChecks], Problem | None], ...] = (
    *(_script, _length, _repetition, _language, _ending, _label),
)
"""In the order in which a problem is named: a refusal is short, and called a refusal; a loop speaks no language."""
