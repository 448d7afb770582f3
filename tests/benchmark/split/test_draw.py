"""The draw is fair to the categories, spares small runs, and depends on seed and ids alone."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from benchmark.split.categories import Offer
from benchmark.split.draw import Budget, Candidate, draw

FULL = {"object": (1,), "human": (1,), "animal": (1,), "landscape": (1,), "multi": (1, 2)}


def candidate(name, *categories, video=None, drawn=()):
    offers = [Offer(category=one, tracks=FULL[one]) for one in categories]
    offers += [Offer(category=one, tracks=()) for one in drawn]
    return Candidate(id=name, video_id=video or f"v-{name}", offers=tuple(offers))


def drawn(candidates, num, *, seed=0, max_frac=1.0, held_out=()):
    num_clips_of = Counter(one.video_id for one in candidates)
    budget = Budget(num_clips_of, max_frac=max_frac)
    found = draw(candidates, num=num, budget=budget, held_out=held_out, seed=seed, salt="S")
    return [(one.candidate.id, one.offer.category) for one in found]


def test_categories_get_equal_shares_though_one_is_rare():
    candidates = [candidate(f"o{n}", "object", "human") for n in range(200)]
    candidates += [candidate(f"a{n}", "animal", "object") for n in range(10)]
    candidates += [candidate(f"m{n}", "multi", "animal", "landscape") for n in range(40)]
    shares = Counter(category for _, category in drawn(candidates, 50))
    assert shares == dict.fromkeys(FULL, 10)


def test_what_a_category_lacks_goes_to_the_others():
    candidates = [candidate("a", "animal"), *(candidate(f"o{n}", "object") for n in range(9))]
    assert Counter(category for _, category in drawn(candidates, 6)) == {"animal": 1, "object": 5}
    assert len(drawn(candidates, 100)) == 10


def test_order_of_the_run_changes_nothing_and_the_seed_does():
    candidates = [candidate(f"c{n}", "object", "human") for n in range(60)]
    shuffled = random.Random(3).sample(candidates, len(candidates))
    assert drawn(candidates, 10) == drawn(shuffled, 10)
    assert drawn(candidates, 10) != drawn(candidates, 10, seed=1)


def test_clip_is_drawn_once_and_videos_are_spread():
    candidates = [candidate(f"c{n}", *FULL, video=f"v{n % 4}") for n in range(40)]
    found = drawn(candidates, 20)
    assert len({name for name, _ in found}) == 20
    assert set(Counter(f"v{int(name[1:]) % 4}" for name, _ in found).values()) == {5}


def test_found_regions_come_before_drawn_ones():
    candidates = [candidate(f"d{n}", drawn=["landscape"]) for n in range(50)] + [candidate("t", "landscape")]
    assert drawn(candidates, 1) == [("t", "landscape")]
    assert len(drawn(candidates, 3)) == 3


def test_only_so_many_clips_are_held_out():
    candidates = [
        candidate(f"{v}-{n}", "object", video=v) for v, num in (("big", 60), ("b", 20), ("c", 20)) for n in range(num)
    ]
    for seed in range(10):
        videos = {name.partition("-")[0] for name, _ in drawn(candidates, 99, seed=seed, max_frac=0.4)}
        # The first video may have more than the share; none is added beside it then.
        assert videos in ({"big"}, {"b", "c"})
    assert {name.partition("-")[0] for name, _ in drawn(candidates, 99, max_frac=0.4, held_out=["c"])} == {"b", "c"}


@pytest.mark.parametrize("num", [0, 3])
def test_no_candidates_give_no_cases(num):
    assert drawn([], num) == []
