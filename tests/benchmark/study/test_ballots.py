"""Who is asked what: drawn evenly, shuffled for each, the same at every call."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmark.study.ballots import BROKEN, ORIGINAL, Ballot, Plan, ballots_of, draw_checks, draw_order

CASES = tuple(f"s-{number:02}" for number in range(60))
PLAN = Plan(seed=7, methods=("a", "b", "c", "d"), case_ids=CASES[:50], check_ids=CASES[50:55])


def names(ballot: Ballot) -> list[str]:
    return [shown.name for shown in ballot.shown]


def test_a_draw_holds_each_case_once_and_does_not_depend_on_the_order_given():
    drawn = draw_order(CASES, seed=1)
    assert sorted(drawn) == list(CASES)
    assert drawn == draw_order(tuple(reversed(CASES)), seed=1)
    assert drawn != draw_order(CASES, seed=2)


def test_each_case_is_drawn_about_equally_often():
    times = Counter(case for seed in range(1000) for case in draw_order(CASES[:10], seed=seed)[:3])
    # 300 expected, standard deviation 14.5.
    assert all(240 < times[case] < 360 for case in CASES[:10])


def test_checks_show_other_cases_where_there_are_any():
    assert set(draw_checks(CASES, taken=CASES[:50], num=5, seed=0)) <= set(CASES[50:])
    assert draw_checks(CASES[:2], taken=CASES[:2], num=1, seed=0)[0] in CASES[:2]


def test_a_participant_sees_every_case_and_check_once_with_all_methods():
    ballots = ballots_of(PLAN, 3)
    assert sorted(one.case_id for one in ballots if not one.is_check) == list(PLAN.case_ids)
    assert sorted(one.case_id for one in ballots if one.is_check) == list(PLAN.check_ids)
    for ballot in ballots:
        wanted = [BROKEN] * 3 + [ORIGINAL] if ballot.is_check else list(PLAN.methods)
        assert sorted(names(ballot)) == wanted
        assert len(set(ballot.shown)) == 4


def test_orders_differ_between_participants_and_stay_the_same_for_one():
    assert ballots_of(PLAN, 1) == ballots_of(PLAN, 1)
    first, second = ballots_of(PLAN, 1), ballots_of(PLAN, 2)
    assert [one.case_id for one in first] != [one.case_id for one in second]
    places = Counter(
        (name, place)
        for participant in range(1, 31)
        for ballot in ballots_of(PLAN, participant)
        if not ballot.is_check
        for place, name in enumerate(names(ballot))
    )
    # 1500 pages, so 375 of each method at each place, standard deviation 17.
    assert all(300 < times < 450 for times in places.values())
    assert len(places) == 16


def test_checks_lie_in_equal_shares_of_the_pages():
    for participant in range(1, 20):
        found = [index for index, one in enumerate(ballots_of(PLAN, participant)) if one.is_check]
        assert [index // 11 for index in found] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("num_checks", [0, 1])
def test_a_study_may_have_one_case_and_no_check(num_checks):
    plan = Plan(seed=0, methods=("a", "b"), case_ids=("s-0",), check_ids=("s-0",)[:num_checks])
    assert len(ballots_of(plan, 1)) == 1 + num_checks
