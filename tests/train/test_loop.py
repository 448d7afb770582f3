"""Training, stopping, and going on, in one process and in several."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.train.fixtures import RandomBatches, backbone, settings_for
from tests.train.processes import FINGERPRINT, exit_codes, train_here, train_in_processes, training
from vpdata.backbones.saving import load_context_encoder
from vpdata.backbones.settings import BackboneSettings
from vpdata.errors import RunError, StorageError
from vpdata.train.batch import Batch
from vpdata.train.metrics import WatchSettings
from vpdata.train.parallel import ParallelSettings
from vpdata.train.schedule import OptimizerSettings
from vpdata.train.train import fit
from vpdata.train.world import joined_world


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def curve(output: Path, kind: str = "train") -> dict[int, float]:
    """Loss by step."""
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    of_kind = [line for line in lines if line["kind"] == kind]
    assert len({line["step"] for line in of_kind}) == len(of_kind), "a step is told of twice"
    return {line["step"]: line["loss"] for line in of_kind}


def skips(output: Path) -> list[int]:
    """Steps that were left out."""
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if line["kind"] == "skip"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A training of 12 steps that nothing interrupted."""
    torch.set_num_threads(1)
    output = tmp_path_factory.mktemp("whole")
    train_here(settings_for(output))
    return output


def test_loss_on_held_out_samples_goes_down(whole):
    losses = curve(whole, "validation")
    assert losses[12] < losses[6]


def test_training_that_is_stopped_and_goes_on_repeats_the_curve_bit_by_bit(whole, tmp_path):
    # 6 is no step at which a checkpoint is due, and is in the middle of the second epoch.
    assert train_here(settings_for(tmp_path, stop_at_step=6)) == "stopped"
    assert train_here(settings_for(tmp_path)) == "finished"
    assert curve(tmp_path) == curve(whole)
    assert curve(tmp_path, "validation") == curve(whole, "validation")


def test_step_to_stop_at_that_is_behind_stops_at_once(tmp_path):
    assert train_here(settings_for(tmp_path, stop_at_step=6)) == "stopped"
    assert train_here(settings_for(tmp_path, stop_at_step=5)) == "stopped"
    assert max(curve(tmp_path)) == 6


@pytest.mark.parametrize("warmup_steps", [3, 4])
def test_warm_up_that_never_ends_is_told(tmp_path, caplog, warmup_steps):
    optimizer = OptimizerSettings(learning_rate=1e-3, warmup_steps=warmup_steps)
    train_here(settings_for(tmp_path, num_steps=4, optimizer=optimizer))
    assert ("optimizer.warmup_steps 4 of num_steps 4" in caplog.text) == (warmup_steps == 4)


def test_each_logged_line_is_told(tmp_path, caplog):
    with caplog.at_level("INFO"):
        train_here(settings_for(tmp_path, num_steps=4))
    told = [line for line in caplog.messages if line.startswith("step 3 of 4: loss ")]
    assert len(told) == 1
    assert f"loss {curve(tmp_path)[3]:.4f}," in told[0]


def test_training_that_is_killed_again_and_again_repeats_the_curve_bit_by_bit(whole, tmp_path):
    # Checkpoints are due at 4 and 8: drawn steps lie before the first, while one is written, and between them.
    steps = sorted(random.Random(7).sample(range(1, 12), 3))
    for step in steps:
        # Two samples a step.
        assert train_in_processes(settings_for(tmp_path), num_processes=1, kills_at=2 * step) == [-signal.SIGKILL]
        assert max(curve(tmp_path)) <= step
    train_here(settings_for(tmp_path))
    assert curve(tmp_path) == curve(whole)
    assert curve(tmp_path, "validation") == curve(whole, "validation")


def test_two_processes_train_on_the_global_batches_of_one(whole, tmp_path):
    assert train_in_processes(settings_for(tmp_path), num_processes=2, micro=1) == [0, 0]
    assert curve(tmp_path) == pytest.approx(curve(whole), rel=1e-5)
    assert curve(tmp_path, "validation") == pytest.approx(curve(whole, "validation"), rel=1e-5)


def test_two_sharded_processes_learn_what_one_learns(whole, tmp_path):
    parallel = ParallelSettings(mode="fsdp", checkpoint_every=1)
    assert train_in_processes(settings_for(tmp_path, parallel=parallel), num_processes=2, micro=1) == [0, 0]
    assert curve(tmp_path) == pytest.approx(curve(whole), rel=1e-5)
    assert curve(tmp_path, "validation") == pytest.approx(curve(whole, "validation"), rel=1e-5)


@pytest.mark.slow
def test_two_sharded_processes_go_on_where_one_stopped(whole, tmp_path):
    train_here(settings_for(tmp_path, stop_at_step=6))
    sharded = settings_for(tmp_path, parallel=ParallelSettings(mode="fsdp"))
    assert train_in_processes(sharded, num_processes=2, micro=1) == [0, 0]
    assert curve(tmp_path) == pytest.approx(curve(whole), rel=1e-5)


def test_micro_batches_make_the_same_step_as_one_batch(whole, tmp_path):
    train_here(settings_for(tmp_path), micro=1, accumulate=2)
    assert curve(tmp_path) == pytest.approx(curve(whole), rel=1e-5)


def test_signal_to_one_process_saves_and_stops_all(whole, tmp_path):
    with training(settings_for(tmp_path), num_processes=2, micro=1) as started:
        wait_for_step(tmp_path, 2)
        os.kill(started[1].pid, signal.SIGTERM)
        assert exit_codes(started) == [75, 75]
    assert max(curve(tmp_path)) < 12
    train_here(settings_for(tmp_path))
    assert curve(tmp_path) == pytest.approx(curve(whole), rel=1e-5)


class Slow(RandomBatches):
    """A validation that takes a second and more."""

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[list[Batch]]:
        time.sleep(1.5)
        yield from super().epoch(epoch, start=start)


def test_validation_before_the_first_step_is_no_part_of_it(tmp_path):
    net = backbone()
    with joined_world("cpu") as world:
        fit(
            settings_for(tmp_path, num_steps=1),
            backbone=net,
            fingerprint=FINGERPRINT,
            batches=RandomBatches(net),
            validation=Slow(net),
            world=world,
            stop=threading.Event(),
        )
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    (step_s,) = [line["step_s"] for line in lines if line["kind"] == "train"]
    assert step_s < 1.5


class StopsAt(RandomBatches):
    """A wish to stop comes with the second of five validation batches, the second time that there is a validation."""

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[list[Batch]]:
        self.times += 1
        for number, batches in enumerate(super().epoch(epoch, start=start)):
            if self.times == 2:
                self.taken = number + 1
                if number == 1:
                    self.stop.set()
            yield batches


def test_wish_to_stop_ends_a_validation(tmp_path):
    watch = WatchSettings(log_every_steps=1, validate_every_steps=6, validation_steps=5)
    settings = settings_for(tmp_path, watch=watch)
    net, validation = backbone(), StopsAt(backbone())
    validation.times, validation.taken, validation.stop = 0, 0, threading.Event()
    with joined_world("cpu") as world:
        outcome = fit(
            settings,
            backbone=net,
            fingerprint=FINGERPRINT,
            batches=RandomBatches(net),
            validation=validation,
            world=world,
            stop=validation.stop,
        )
    assert outcome == "stopped"
    assert validation.taken == 2
    assert list(curve(tmp_path, "validation")) == [0]
    assert max(curve(tmp_path)) == 6


def test_step_with_a_broken_sample_is_left_out(tmp_path, caplog):
    train_here(settings_for(tmp_path), broken=frozenset({5}))
    assert "step 3: the loss is no number on the clips clip-4, clip-5" in caplog.messages
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["skipped_steps"] for line in lines if line["kind"] == "skip"] == [1]
    losses = curve(tmp_path)
    assert list(losses) == [step for step in range(1, 13) if step != 3]
    assert all(loss is not None for loss in losses.values())


def test_checkpoint_that_is_being_written_when_training_gives_up_is_kept(tmp_path):
    # The step behind the checkpoint is the bad one: nothing else waits for the write to end.
    with pytest.raises(RunError, match="no number for 1 steps in a row"):
        train_here(settings_for(tmp_path, max_bad_steps=1), broken=frozenset({8}))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"]


def test_training_that_gave_up_goes_on_with_more_patience(tmp_path):
    broken = frozenset({8})
    with pytest.raises(RunError):
        train_here(settings_for(tmp_path, max_bad_steps=1), broken=broken)
    train_here(settings_for(tmp_path, max_bad_steps=2), broken=broken)
    assert skips(tmp_path) == [5]
    assert list(curve(tmp_path)) == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]


def test_training_goes_on_with_the_optimizer_that_it_is_given(tmp_path):
    train_here(settings_for(tmp_path, stop_at_step=6))
    # A decay this large shrinks all weights by several percent in one step.
    strong = OptimizerSettings(learning_rate=1e-3, warmup_steps=2, weight_decay=900.0)
    train_here(settings_for(tmp_path, num_steps=7, optimizer=strong))
    trained = load_context_encoder(tmp_path / "context_encoder", backbone(), fingerprint=FINGERPRINT).encoder
    untouched = settings_for(tmp_path / "other", num_steps=7)
    train_here(untouched)
    other = load_context_encoder(tmp_path / "other" / "context_encoder", backbone(), fingerprint=FINGERPRINT).encoder
    assert _norm(trained) < 0.95 * _norm(other)


def _norm(module: torch.nn.Module) -> float:
    return float(torch.nn.utils.get_total_norm(module.parameters()))


def test_float16_scales_its_loss_and_leaves_out_what_overflows(tmp_path):
    half = BackboneSettings(tiny="wan", device="cpu", dtype="float16")
    train_here(settings_for(tmp_path / "whole", num_steps=6, backbone=half, max_bad_steps=1))
    overflows = skips(tmp_path / "whole")
    # The scale that training begins with is found to be too large, and halved each time.
    assert overflows[0] == 1
    facts = json.loads((tmp_path / "whole" / "checkpoints" / "step-00000006" / "checkpoint.json").read_text())
    assert facts["position"]["scaler"]["scale"] == 2.0 ** (16 - len(overflows))
    losses = curve(tmp_path / "whole", "validation")
    assert losses[6] < losses[0]

    train_here(settings_for(tmp_path / "stopped", num_steps=6, backbone=half, stop_at_step=3))
    train_here(settings_for(tmp_path / "stopped", num_steps=6, backbone=half))
    assert curve(tmp_path / "stopped") == curve(tmp_path / "whole")
    assert skips(tmp_path / "stopped") == overflows


class LosesItsLog(RandomBatches):
    """After two steps a folder lies where the log was."""

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[list[Batch]]:
        for step, batches in enumerate(super().epoch(epoch, start=start)):
            if step == 2:
                self.log.unlink()
                self.log.mkdir()
            yield batches


def test_log_that_cannot_be_written_stops_the_training(tmp_path):
    LosesItsLog.log = tmp_path / "metrics.jsonl"
    with pytest.raises(StorageError, match=r"cannot write .*metrics\.jsonl"):
        train_here(settings_for(tmp_path), kind=LosesItsLog)


def test_broken_samples_of_one_process_stop_all_after_some_steps(tmp_path):
    settings = settings_for(tmp_path, max_bad_steps=3)
    # Of ranks [0::2] and [1::2], only the second ever sees a broken sample.
    broken = frozenset(range(9, 24, 2))
    assert train_in_processes(settings, num_processes=2, micro=1, broken=broken) == [1, 1]
    assert max(curve(tmp_path)) == 4
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"]


def wait_for_step(output: Path, step: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (output / "metrics.jsonl").exists() and max(curve(output), default=0) >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} was not reached in a minute")
