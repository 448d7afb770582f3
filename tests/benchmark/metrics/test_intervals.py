from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from benchmark.metrics.intervals import bootstrap, crossed_bootstrap, pooled_interval
from benchmark.metrics.sums import Sums


def test_the_interval_is_that_of_the_normal_approximation_for_many_clips():
    values = np.random.default_rng(1).normal(20, 2, size=400)
    found = bootstrap(values.tolist())
    half = 1.96 * values.std(ddof=1) / np.sqrt(400)
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == (
        pytest.approx(found.mean - half, abs=0.02),
        pytest.approx(found.mean + half, abs=0.02),
    )
    assert found.num_clips == 400


def test_equal_seeds_draw_alike_and_others_do_not():
    values = np.random.default_rng(3).normal(size=20).tolist()
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values, seed=1) != bootstrap(values)


def test_pooled_clips_weigh_by_their_counts():
    clips = [Sums(10.0, 1), Sums(90.0, 9), Sums(0.0, 10)]
    assert pooled_interval(clips, "abc").mean == pytest.approx(5)
    assert bootstrap([clip.sum / clip.count for clip in clips]).mean == pytest.approx(20 / 3)
    # By hand: residuals 5, 45 and -50 off 5 a count, 20 counts, and 4.3027 standard errors for two degrees of freedom.
    half = 4.30265 * np.sqrt((25 + 2025 + 2500) * 3 / 2) / 20
    assert pooled_interval(clips, "abc").high == pytest.approx(5 + half, abs=1e-4)


@pytest.mark.parametrize("num_clips", [2, 3, 9, 100, 2000])
def test_the_pooled_interval_of_equal_counts_is_students(num_clips):
    values = np.random.default_rng(num_clips).normal(20, 2, size=num_clips)
    found = pooled_interval([Sums(3 * value, 3) for value in values], [str(index) for index in range(num_clips)])
    wanted = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(wanted.low, abs=1e-5), pytest.approx(wanted.high, abs=1e-5))
    assert found.num_clips == num_clips


def test_the_pooled_interval_holds_the_mean_of_few_clips_as_often_as_it_says():
    rng = np.random.default_rng(4)
    for num_clips in (2, 4, 9):
        names = [str(index) for index in range(num_clips)]
        found = [pooled_interval([Sums(v, 1) for v in rng.normal(25, 4, num_clips)], names) for _ in range(2000)]
        assert np.mean([one.low <= 25 <= one.high for one in found]) == pytest.approx(0.95, abs=0.02)


def test_clips_of_one_video_are_one():
    clips = [Sums(value, 1) for value in (1.0, 2.0, 3.0, 8.0)]
    pairs, alone = pooled_interval(clips, "aabb"), pooled_interval([Sums(3.0, 2), Sums(11.0, 2)], "ab")
    assert (pairs.mean, pairs.low, pairs.high) == (alone.mean, alone.low, alone.high)
    assert pairs.high > pooled_interval(clips, "abcd").high
    assert pooled_interval(clips, "aaaa").low is None


def test_no_clip_is_an_error():
    for call in (
        lambda: bootstrap([]),
        lambda: pooled_interval([], []),
    ):
        with pytest.raises(ValueError, match="got no clip"):
            call()


def test_one_clip_has_a_mean_and_no_interval():
    for found in (bootstrap([3.0]), pooled_interval([Sums(6.0, 2)], "a"), crossed_bootstrap(np.full((4, 1), 3.0))):
        assert (found.low, found.mean, found.high) == (None, 3.0, None)
        assert str(found) == "3.00"
    assert str(bootstrap([3.0, 3.0])) == "3.00 [3.00, 3.00]"


def test_another_unit_is_another_scale():
    found = bootstrap([1.0, 2.0, 3.0])
    assert f"{found.scaled(100):.0f}" == "200 [100, 300]"
    assert bootstrap([3.0]).scaled(100) == bootstrap([300.0])
