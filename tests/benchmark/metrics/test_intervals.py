from __future__ import annotations

import numpy as np
import pytest

from benchmark.metrics.intervals import bootstrap, crossed_bootstrap, pooled_bootstrap
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
    assert pooled_bootstrap(clips).mean == pytest.approx(5)
    assert bootstrap([clip.sum / clip.count for clip in clips]).mean == pytest.approx(20 / 3)
    equal = [Sums(4.0, 2), Sums(6.0, 2)]
    assert pooled_bootstrap(equal) == bootstrap([2.0, 3.0])


def test_no_clip_is_an_error():
    for call in (
        lambda: bootstrap([]),
        lambda: pooled_bootstrap([]),
    ):
        with pytest.raises(ValueError, match="got no clip"):
            call()


def test_one_clip_has_a_mean_and_no_interval():
    for found in (bootstrap([3.0]), pooled_bootstrap([Sums(6.0, 2)]), crossed_bootstrap(np.full((4, 1), 3.0))):
        assert (found.low, found.mean, found.high) == (None, 3.0, None)
        assert str(found) == "3.00"
    assert str(bootstrap([3.0, 3.0])) == "3.00 [3.00, 3.00]"


def test_another_unit_is_another_scale():
    found = bootstrap([1.0, 2.0, 3.0])
    assert f"{found.scaled(100):.0f}" == "200 [100, 300]"
    assert bootstrap([3.0]).scaled(100) == bootstrap([300.0])
