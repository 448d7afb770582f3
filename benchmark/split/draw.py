"""The draw: seeded, stratified over the categories, from few videos of a small run and many of a large one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.bench import Category
from benchmark.split.categories import CATEGORIES, Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A clip, or a shot, that may become a case."""

    id: str
    video_id: str
    offers: tuple[Offer, ...]

    def without(self, categories: Collection[Category]) -> Candidate:
        """The same with fewer offers."""
        left = tuple(offer for offer in self.offers if offer.category not in categories)
        return self if left == self.offers else replace(self, offers=left)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A candidate, and what it was drawn for."""

    candidate: Candidate
    offer: Offer


class Budget:
    """How much of a run its benchmark may hold out."""

    def __init__(self, num_clips_of: Mapping[str, int], *, max_frac: float) -> None:
        """`num_clips_of`: video to how many clips of the run it has; `max_frac`: largest share of all of them."""
        self._num_clips_of = num_clips_of
        self._max_clips = max_frac * sum(num_clips_of.values())

    def beside(self, videos: Collection[str]) -> Callable[[str], bool]:
        """Whether a video may be held out beside those; the first always may."""
        num_clips = sum(self._num_clips_of[video] for video in videos)
        return lambda more: more in videos or not videos or num_clips + self._num_clips_of[more] <= self._max_clips


def draw(
    candidates: Sequence[Candidate], *, num: int, budget: Budget, held_out: Collection[str], seed: int, salt: str
) -> list[Drawn]:
    """At most `num` candidates, each once, of the videos `held_out` and of others that the budget allows.

    The categories take turns, the scarcest first, so that each gets an equal share as far as there are clips of it. A
    turn goes to a found region before a drawn one, then to the video with the fewest cases, then by a hash of seed,
    category and id: the order of the candidates changes nothing.
    """
    of_category = {category: _ordered(candidates, category, seed=seed, salt=salt) for category in CATEGORIES}
    turns = sorted(CATEGORIES, key=lambda category: (len(of_category[category]), category))
    chosen: dict[str, Drawn] = {}
    num_cases = dict.fromkeys(held_out, 0)
    while turns and len(chosen) < num:
        category = turns.pop(0)
        found = _next(of_category[category], chosen, num_cases, budget)
        if found is not None:
            video_id = found.candidate.video_id
            chosen[found.candidate.id] = found
            num_cases[video_id] = num_cases.get(video_id, 0) + 1
            turns.append(category)
    return list(chosen.values())


def _ordered(candidates: Sequence[Candidate], category: Category, *, seed: int, salt: str) -> list[Drawn]:
    drawn = [
        Drawn(candidate=one, offer=offer) for one in candidates for offer in one.offers if offer.category == category
    ]
    return sorted(drawn, key=lambda one: (one.offer.is_drawn, place(seed, salt, category, one.candidate.id)))


def _next(
    ordered: Sequence[Drawn], chosen: Collection[str], num_cases: Mapping[str, int], budget: Budget
) -> Drawn | None:
    may_be_held_out = budget.beside(num_cases.keys())
    best: tuple[tuple[bool, int], Drawn] | None = None
    for one in ordered:
        video_id = one.candidate.video_id
        if one.candidate.id in chosen or not may_be_held_out(video_id):
            continue
        rank = one.offer.is_drawn, num_cases.get(video_id, 0)
        if rank == (False, 0):
            return one
        if best is None or rank < best[0]:
            best = rank, one
    return best and best[1]


def place(*key: object) -> bytes:
    """Where something stands in a random order that depends on the key alone."""
    return hashlib.sha256("\0".join(map(str, key)).encode("utf-8")).digest()
