"""What a participant is asked, in which order: drawn from the study's seed and the participant's number."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Question = Literal["background", "text", "quality"]
QUESTIONS: tuple[Question, ...] = ("background", "text", "quality")
"""The paper's three (Table 4): background preservation, text alignment, video quality."""

ORIGINAL, BROKEN = ":original", ":broken"
"""What the videos of an attention check show; no method can have such a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all participants are asked."""

    seed: int
    methods: tuple[str, ...]
    case_ids: tuple[str, ...]
    check_ids: tuple[str, ...]
    """Cases of which a check shows the original beside broken copies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One of the videos to choose from."""

    name: str
    """A method, `ORIGINAL` or `BROKEN`."""
    variant: int = 0
    """Which of the broken copies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """One page: a case, and the videos in the order in which they are shown."""

    case_id: str
    is_check: bool
    shown: tuple[Shown, ...]


def draw_order(case_ids: Iterable[str], *, seed: int) -> tuple[str, ...]:
    """All cases in the order in which they are drawn; every order is equally likely."""
    given = sorted(case_ids)
    return tuple(given[index] for index in _rng("cases", seed).permutation(len(given)))


def draw_checks(case_ids: Sequence[str], *, taken: Sequence[str], num: int, seed: int) -> tuple[str, ...]:
    """Cases for checks: those not taken first, so that a scene is seen twice only in a small benchmark."""
    given = sorted(case_ids)
    order = [given[index] for index in _rng("checks", seed).permutation(len(given))]
    return tuple(sorted(sorted(order, key=lambda case_id: case_id in taken)[:num]))


def ballots_of(plan: Plan, participant: int) -> tuple[Ballot, ...]:
    """All pages of a participant, numbered from 1: cases and videos shuffled, checks spread evenly among the cases.

    Each check lies at a random place of its own equal share of the pages, so that none can be foreseen and none comes
    only when attention has long gone.
    """
    rng = _rng("participant", plan.seed, participant)
    methods = tuple(Shown(name=name) for name in plan.methods)
    cases = [
        Ballot(case_id=plan.case_ids[index], is_check=False, shown=methods)
        for index in rng.permutation(len(plan.case_ids))
    ]
    broken = [Shown(name=BROKEN, variant=variant) for variant in range(len(plan.methods) - 1)]
    checks = [
        Ballot(case_id=plan.check_ids[index], is_check=True, shown=(Shown(name=ORIGINAL), *broken))
        for index in rng.permutation(len(plan.check_ids))
    ]
    pages: list[Ballot] = []
    for index, share in enumerate(np.array_split(np.arange(len(cases)), max(1, len(checks)))):
        part = [cases[number] for number in share]
        if checks:
            part.insert(int(rng.integers(len(part) + 1)), checks[index])
        pages += part
    return tuple(
        Ballot(
            case_id=page.case_id,
            is_check=page.is_check,
            shown=tuple(page.shown[index] for index in rng.permutation(len(page.shown))),
        )
        for page in pages
    )


def _rng(*key: object) -> np.random.Generator:
    return np.random.default_rng(list(hashlib.sha256(repr(key).encode()).digest()))
