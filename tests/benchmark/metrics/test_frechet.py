from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from benchmark.metrics.frechet import frechet_distance


def by_scipy(first, second):
    """Heusel et al. 2017, equation 6, with SciPy's root of the product of the covariances."""
    covariances = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = sqrtm(covariances[0] @ covariances[1])
    distance = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    return float(distance + np.trace(covariances[0] + covariances[1] - 2 * np.real(root)))


def features(num, size, seed):
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99 + seed).normal(size=(size, size))
    return rng.normal(size=(num, size)) @ mixing / np.sqrt(size) + rng.normal(size=size)


@pytest.mark.parametrize(("num_first", "num_second", "size"), [(60, 60, 8), (200, 70, 32), (40, 500, 24)])
def test_it_is_that_of_scipys_sqrtm(num_first, num_second, size):
    first, second = features(num_first, size, 1), features(num_second, size, 2)
    found = frechet_distance(first, second)
    assert found.value == pytest.approx(by_scipy(first, second), rel=1e-6)
    assert found.num_videos == (num_first, num_second)
    assert found.warning is None


def test_of_known_gaussians():
    """Covariances that commute: the sum of (s1 - s2)^2 over the axes, with exact sample statistics."""
    axes = np.eye(3) * np.sqrt(3)
    first = np.concatenate([axes, -axes]) * np.sqrt(5 / 6)
    second = first * [2.0, 1.0, 0.5] + [1.0, 0.0, 0.0]
    assert frechet_distance(first, second).value == pytest.approx(1 + 1 + 0 + 0.25)


def test_with_fewer_videos_than_features_it_stays_exact_and_warns():
    """The covariance has rank 15 in 400 dimensions; a rotation into 15 of them gives SciPy a regular problem."""
    small = features(40, 15, 3), features(40, 15, 4)
    rotation, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(400, 15)))
    found = frechet_distance(small[0] @ rotation.T, small[1] @ rotation.T)
    assert found.value == pytest.approx(by_scipy(*small), rel=1e-9)
    assert found.warning is not None
    assert "40 videos for 400 features" in found.warning


def test_of_equal_sets_it_is_zero_even_where_the_covariance_is_singular():
    few = features(5, 64, 6)
    assert frechet_distance(few, few).value == pytest.approx(0, abs=1e-9)


def test_one_video_has_no_covariance():
    found = frechet_distance(features(1, 4, 7), features(9, 4, 8))
    assert found.value is None
    assert found.warning == "fewer than two videos have no covariance"


@pytest.mark.parametrize(
    ("second", "message"),
    [(np.zeros((3, 5)), "wanted"), (np.zeros(4), "wanted"), (np.full((3, 4), np.nan), "NaN")],
)
def test_bad_features_are_named(second, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(np.zeros((3, 4)), second)
