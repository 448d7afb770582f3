"""Krippendorff's alpha against the examples of its author, and against Fleiss' own of his kappa."""

from __future__ import annotations

import pytest

from benchmark.study.agreement import krippendorff_alpha


def units_of(*raters: str) -> dict[str, list[str]]:
    """Of one string a rater, one character a unit, with a dot for no answer."""
    columns = zip(*raters, strict=True)
    return {str(number): [value for value in column if value != "."] for number, column in enumerate(columns)}


def test_two_observers_of_binary_data_as_published():
    # Krippendorff 2011, section A: alpha = 0.095.
    assert krippendorff_alpha(units_of("0100000010", "1110010000")) == pytest.approx(0.095, abs=5e-4)


def test_four_observers_with_missing_answers_as_published():
    # Krippendorff 2011, section C: alpha = 0.743; the last unit has one answer and does not count.
    raters = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    assert krippendorff_alpha(units_of(*raters)) == pytest.approx(0.743, abs=5e-4)


def test_fourteen_raters_of_ten_subjects_as_fleiss_kappa_says():
    # The worked example of Fleiss' kappa: kappa = 0.210 on a table of 10 subjects, 5 categories and 14 raters.
    # Both correct for chance alike, but alpha draws its chance without putting back: alpha = kappa + (1 - kappa) / 140.
    table = ("0,0,0,0,14", "0,2,6,4,2", "0,0,3,5,6", "0,3,9,2,0", "2,2,8,1,1", "7,7,0,0,0", "3,2,6,3,0", "2,5,3,2,2",
             "6,5,2,1,0", "0,2,2,3,7")  # fmt: skip
    units = {
        row: [category for category, count in enumerate(row.split(",")) for _ in range(int(count))] for row in table
    }
    assert krippendorff_alpha(units) == pytest.approx(0.210 + (1 - 0.210) / 140, abs=5e-4)


def test_full_agreement_is_one_and_full_disagreement_of_two_is_below_zero():
    assert krippendorff_alpha(units_of("aabb", "aabb")) == 1.0
    # By hand: all 4 units disagree; of 8 answers 4 are a: alpha = 1 - 7 * (4 * 2) / (2 * 4 * 4).
    assert krippendorff_alpha(units_of("abab", "baba")) == pytest.approx(1 - 7 * 8 / 32)


@pytest.mark.parametrize("units", [{}, {"one": ["a"]}, {"one": ["a", "a"], "two": ["a", "a"]}])
def test_there_is_no_agreement_to_tell_of_too_few_answers_or_of_one_alone(units):
    assert krippendorff_alpha(units) is None
