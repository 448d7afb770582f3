"""Whether a model's answer is a caption: it may be a refusal, a list, a loop, or about something else."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vpdata.stages.text import caption_measures

_WORD = re.compile(r"[^\W_]+")
_MARKUP = re.compile(
    r"^\s*(?:#{1,6} |[-*+•] |\d+[.)] |> |\|)|```|\*\*|__|\]\(|</?[a-z][^<>]*>", re.MULTILINE | re.IGNORECASE
)
_TALK = re.compile(
    r"\bi(?:'m| am) (?:sorry|unable|not able|an ai)\b|\bi (?:can't|cannot|can not|won't)\b|\bas an ai\b"
    r"|\b(?:unable|not possible) to (?:assist|help|identify|determine|describe|provide)\b"
    r"|^(?:sure|certainly|of course|here(?:'s| is| are))\b",
    re.IGNORECASE,
)
_ENDS = tuple(".!?…。！？")
_CLOSING = "\"'”’»)"
_PERSON = (
    *(
        "man",
        "men",
        "woman",
        "women",
        "boy",
        "girl",
        "child",
        "children",
        "kid",
        "baby",
        "toddler",
        "teenager",
        "adult",
    ),
    *("lady", "gentleman", "guy", "people", "human", "player", "dancer", "rider", "runner", "worker", "pedestrian"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionChecks:
    """What a text must be like."""

    min_latin_frac: float = 0.95
    """Smallest share in [0, 1] of Latin ones among its letters; 0 for captions in other scripts. Which of the languages
    in Latin letters it is, is not looked at."""
    clip_words: tuple[int, int] = (20, 300)
    """Fewest and most words about a whole clip. Its text must also end where a sentence ends."""
    track_words: tuple[int, int] = (3, 60)
    """Fewest and most words about an object."""
    max_repetition_frac: float = 0.5
    """Largest share in [0, 1] of three-word phrases that repeat an earlier one."""
    mentions_label: bool = True
    """An object must be called by the last word of its label (the noun, in English), by a word that ends in it, or by a
    synonym. Where model and detector cannot agree what it is, the mask is as doubtful as the text."""
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"person": _PERSON})
    """Label, or its last word, to other words for it."""

    def __post_init__(self) -> None:
        for name in ("min_latin_frac", "max_repetition_frac"):
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


def problem_of(text: str, *, label: str | None, checks: CaptionChecks | None) -> Problem | None:
    """The first problem of a text about a whole clip (`label` None) or an object; without checks only an empty one."""
    if not text.strip():
        return Problem(check="empty", got="an empty answer", wanted="a description")
    if checks is None:
        return None
    return next((problem for check in _CHECKS if (problem := check(text, label, checks)) is not None), None)


def _markup(text: str, label: str | None, checks: CaptionChecks) -> Problem | None:
    found = _MARKUP.search(text)
    if found is None:
        return None
    return Problem(
        check="markup", got=f"the mark-up {found[0].strip()[:20]!r}", wanted="plain sentences, no lists or headings"
    )


def _talk(text: str, label: str | None, checks: CaptionChecks) -> Problem | None:
    found = _TALK.search(text.replace("’", "'"))
    if found is None:
        return None
    return Problem(check="refusal", got=f"the words {found[0]!r}", wanted="a description and nothing else")


def _language(text: str, label: str | None, checks: CaptionChecks) -> Problem | None:
    letters = [one for one in text if one.isalpha()]
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


def _ending(text: str, label: str | None, checks: CaptionChecks) -> Problem | None:
    if label is not None or text.rstrip().rstrip(_CLOSING).endswith(_ENDS):
        return None
    return Problem(check="ending", got=f"the end {text.rstrip()[-20:]!r}", wanted="a text that ends with its sentence")


def _label(text: str, label: str | None, checks: CaptionChecks) -> Problem | None:
    words = _WORD.findall((label or "").casefold())
    if not checks.mentions_label or not words:
        return None
    names = [words[-1], *checks.synonyms.get(" ".join(words), ()), *checks.synonyms.get(words[-1], ())]
    if any(_is_called(word, name.casefold()) for word in _WORD.findall(text.casefold()) for name in names):
        return None
    return Problem(
        check="label", got=f"no word for {label!r}", wanted=f"the object to be called by the word {words[-1]!r}"
    )


def _is_called(word: str, name: str) -> bool:
    """Whether they are one noun, in the singular or the plural, or `word` is a compound with it (a "football")."""
    forms = _singulars(name)
    return any(form in forms or (len(name) > 3 and form.endswith(name)) for form in _singulars(word))


def _singulars(word: str) -> set[str]:
    endings = (("", ""), ("s", ""), ("es", ""), ("ies", "y"))
    return {word.removesuffix(ending) + singular for ending, singular in endings if word.endswith(ending)}


_CHECKS: tuple[Callable[[str, str | None, CaptionChecks], Problem | None], ...] = (
    *(_markup, _talk, _language, _length, _repetition, _ending, _label),
)
"""In the order in which a problem is named: a refusal is short, and called a refusal."""
