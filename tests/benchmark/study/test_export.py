"""Shares, intervals and exclusions on answers whose result is known by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmark.metrics.intervals import crossed_bootstrap
from benchmark.study.ballots import BROKEN, ORIGINAL, QUESTIONS
from benchmark.study.export import StudyResults, analyse, markdown
from benchmark.study.published import published_study
from benchmark.study.store import Answer, Facts

CASES = ("s-0", "s-1", "s-2", "s-3")
FACTS = Facts(
    bench="drawn", subsets=(), seed=0, num_cases=4, num_checks=3, methods=("a", "b"), short_side_px=480,
    case_ids=CASES, check_ids=("c-0", "c-1", "c-2"), left_out={"s-9": "b: out of memory"},
)  # fmt: skip


def answers(participant: int, chosen: str, *, num_passed: int, num_checks: int = 3) -> list[Answer]:
    """One letter a case; the three questions alike. A check is missed by one question alone."""
    rows = []
    pages = [(case_id, name, name) for case_id, name in zip(CASES, chosen, strict=False)]
    pages += [(f"c-{number}", ORIGINAL, ORIGINAL if number < num_passed else BROKEN) for number in range(num_checks)]
    for ballot, (case_id, name, of_quality) in enumerate(pages, start=1):
        shown = ("a", "b") if case_id in CASES else (BROKEN, ORIGINAL)
        for question in QUESTIONS:
            picked = of_quality if question == "quality" else name
            rows.append(
                Answer(participant=participant, ballot=ballot, case_id=case_id, is_check=case_id not in CASES,
                       question=question, place=shown.index(picked), chosen=picked, shown=shown, unix_s=1.0)
            )  # fmt: skip
    return rows


def results(*people: list[Answer]) -> StudyResults:
    return analyse(FACTS, [answer for rows in people for answer in rows], dict.fromkeys(range(1, 6), 7))


def test_shares_are_over_all_answers_of_those_who_count():
    found = results(
        answers(1, "aaab", num_passed=3), answers(2, "aabb", num_passed=2), answers(3, "bbbb", num_passed=1)
    )
    for outcome in found.outcomes:
        assert outcome.shares["a"].mean == pytest.approx(5 / 8)
        assert outcome.shares["b"].mean == pytest.approx(3 / 8)
        assert outcome.num_answers == 8
        # By hand: units aa aa ab bb; D_o = 2/8, D_e = 2*5*3/(8*7): alpha = 1 - 7/15.
        assert outcome.agreement == pytest.approx(1 - 7 / 15)
    assert [one.excluded for one in found.turnout] == [None, None, "missed 2 of 3 checks", None, None]


@pytest.mark.parametrize(
    ("num_passed", "num_checks", "excluded"),
    [(3, 3, None), (2, 3, None), (1, 3, "missed 2 of 3 checks"), (0, 1, "missed 1 of 1 checks"),
     (1, 2, "missed 1 of 2 checks"), (0, 0, "answered no check")],
)  # fmt: skip
def test_who_is_excluded(num_passed: int, num_checks: int, excluded: str | None):
    found = results(answers(1, "abab", num_passed=num_passed, num_checks=num_checks))
    assert found.turnout[0].excluded == excluded
    assert found.turnout[0].num_passed == num_passed


def test_an_unfinished_participant_counts_with_what_there_is():
    found = results(answers(1, "a", num_passed=1, num_checks=1), answers(2, "bbbb", num_passed=3))
    assert found.outcomes[0].shares["a"].mean == pytest.approx(1 / 5)
    assert [one.num_answered for one in found.turnout] == [2, 7, 0, 0, 0]


def test_the_table_says_how_many_were_counted_and_who_was_not():
    text = markdown(results(answers(1, "aaab", num_passed=3), answers(3, "bbbb", num_passed=0)))
    assert "Of 5 participants 2 began, 2 finished and 1 are counted" in text
    assert "Excluded: participant 3: missed 3 of 3 checks" in text
    assert "Left out: s-9: b: out of memory" in text
    assert "| a | 75.0 [" in text
    assert "more than a third" in text


def test_the_paper_s_own_shares_stand_below_marked_and_of_the_same_task():
    rows = [(row.task, row.method) for row in published_study().rows]
    assert len(set(rows)) == len(rows) == 8
    for task in ("inpainting", "editing"):
        of_task = [row for row in published_study().rows if row.task == task]
        for question in QUESTIONS:
            assert sum(getattr(row, question) for row in of_task) == pytest.approx(100), "each answer names one of four"
    found = results(answers(1, "aaab", num_passed=3))
    text = markdown(replace(found, facts=replace(FACTS, subsets=("S", "L"))))
    assert "| *quoted, inpainting: VideoPainter* | 74.2 | 82.5 | 87.4 |" in text
    assert "quoted, editing" not in text
    assert "arXiv:2503.05639v3" in text
    text = markdown(replace(found, facts=replace(FACTS, subsets=("edit-S",))))
    assert "| *quoted, editing: ReVideo* | 12.5 | 14.1 | 11.3 |" in text
    assert "quoted, inpainting" not in text
    assert markdown(found).count("| *quoted, ") == 8, "a study of all subsets asks for both"


def test_nobody_has_answered_yet():
    text = markdown(results())
    assert "| a | n/a | n/a | n/a |" in text
    assert "Of 5 participants 0 began" in text


def test_the_crossed_interval_is_that_of_drawing_people_and_cases_one_by_one():
    rng = np.random.default_rng(5)
    values = (rng.random((12, 9)) < 0.6).astype(float)
    values[3, 4:] = np.nan
    means = []
    for _ in range(4000):
        drawn = values[rng.integers(12, size=12)][:, rng.integers(9, size=9)]
        means.append(np.nanmean(drawn))
    found = crossed_bootstrap(values)
    low, high = np.percentile(means, (2.5, 97.5))
    assert (found.low, found.high) == (pytest.approx(low, abs=0.015), pytest.approx(high, abs=0.015))
    assert found.mean == pytest.approx(np.nanmean(values))
    assert found.num_clips == 9


def test_the_crossed_interval_knows_that_few_people_are_less_sure_than_many_answers_suggest():
    """Two people who each always pick their own: 100 answers, but nothing is known of a third person."""
    values = np.array([[1.0] * 50, [0.0] * 50])
    found = crossed_bootstrap(values)
    assert (found.low, found.high) == (0.0, 1.0)
    with pytest.raises(ValueError, match="no judgement"):
        crossed_bootstrap(np.full((2, 2), np.nan))
