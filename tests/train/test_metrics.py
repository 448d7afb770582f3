"""The lines that a training leaves."""

import importlib.util
import json

import pytest
import torch

from vpdata.errors import ConfigError
from vpdata.train.loss import Loss
from vpdata.train.metrics import LogInterval, MetricsLog, WatchSettings
from vpdata.train.step import NUM_BINS, StepLoss
from vpdata.train.world import joined_world


def step_of(totals: list[float], bins: list[int]) -> StepLoss:
    total = torch.tensor(totals)
    return StepLoss(loss=Loss(total=total, everywhere=total, hole=total), bins=torch.tensor(bins))


def test_window_tells_means_of_steps_and_of_timesteps():
    with joined_world("cpu") as world:
        interval = LogInterval(device=world.device)
        for _ in range(3):  # one of them is left out
            interval.count(num_samples=2, flops=1e9)
        interval.add([2.0, 1.0, 1.0, 0.5], [step_of([1.0, 3.0], [0, 2])])
        interval.add([4.0, 3.0, 1.0, 1.5], [step_of([5.0, 3.0], [2, 2])])
        summary = interval.summary(world)
    assert (summary["loss"], summary["loss_everywhere"], summary["grad_norm"]) == (3.0, 2.0, 1.0)
    by_bin = summary["loss_by_timestep"]
    assert len(by_bin) == NUM_BINS
    assert by_bin[:3] == [1.0, None, pytest.approx(11 / 3)]
    assert summary["samples_per_s"] == pytest.approx(6 / (3 * summary["step_s"]))
    assert summary["mfu"] is None  # no figure is known for a CPU
    assert summary["peak_memory_gb"] > 0.01


def test_log_goes_back_with_the_training(tmp_path):
    with joined_world("cpu") as world:
        log = MetricsLog(tmp_path, settings=WatchSettings(), world=world)
        for step in (1, 2, 3):
            log.write("train", step, {"loss": float(step)})
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"kind": "train", "st')  # killed while writing
        log.rewind(2)
        log.write("train", 3, {"loss": float("nan")})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 1.0), (2, 2.0), (3, None)]


def test_tensorboard_gets_each_number_of_a_line(tmp_path):
    if importlib.util.find_spec("tensorboard") is None:
        pytest.skip("needs the package tensorboard, which is optional")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with joined_world("cpu") as world:
        log = MetricsLog(tmp_path, settings=WatchSettings(tensorboard=True), world=world)
        log.write("train", 3, {"loss": 0.5, "loss_by_timestep": [0.5, None]})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(3, 0.5)]


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is not None, reason="tensorboard is installed")
def test_tensorboard_that_is_not_installed_is_named(tmp_path):
    with joined_world("cpu") as world, pytest.raises(ConfigError, match="pip install tensorboard"):
        MetricsLog(tmp_path, settings=WatchSettings(tensorboard=True), world=world)
