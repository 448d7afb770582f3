"""Warm-up and cosine, by hand computation."""

import pytest

from vpdata.train.schedule import OptimizerSettings, learning_rate

SETTINGS = OptimizerSettings(learning_rate=2.0, warmup_steps=4)


@pytest.mark.parametrize(("step", "wanted"), [(0, 0.5), (3, 2.0), (4, 2.0), (8, 1.0), (12, 0.0)])
def test_rate_rises_over_the_warmup_and_falls_by_a_cosine(step, wanted):
    assert learning_rate(step, num_steps=12, settings=SETTINGS) == pytest.approx(wanted)


def test_training_shorter_than_the_warmup_has_a_rate_all_the_way():
    rates = [learning_rate(step, num_steps=2, settings=SETTINGS) for step in range(2)]
    assert rates == [0.5, 1.0]


@pytest.mark.parametrize("wrong", [{"betas": (1.5, 2.0)}, {"betas": (0.9, -0.1)}, {"weight_decay": -1.0}])
def test_optimizer_that_torch_would_refuse_is_refused_at_once(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"got {name} .*wanted"):
        OptimizerSettings(**wrong)
