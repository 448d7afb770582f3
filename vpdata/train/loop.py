"""The training loop: the same for both stages, for one process and for many."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from vpdata.errors import RunError, VpdataError
from vpdata.train.batch import Batch, Batches
from vpdata.train.checkpoints import Checkpoints, Position
from vpdata.train.metrics import LogInterval, MetricsLog
from vpdata.train.schedule import learning_rate
from vpdata.train.settings import TrainSettings
from vpdata.train.step import VALIDATION_DRAWS, StepLoss, training_loss, validation_loss
from vpdata.train.trainee import Trainee
from vpdata.train.world import World

_log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """How a call of the loop ended."""

    FINISHED = "finished"
    """All steps are done."""
    STOPPED = "stopped"
    """Stopped on demand after saving: the same call goes on."""

    @property
    def exit_code(self) -> int:
        """0, or EX_TEMPFAIL of sysexits.h, by which a queue may know that the same command goes on."""
        return 0 if self is Outcome.FINISHED else 75


@dataclass(slots=True, kw_only=True)
class Loop:
    """One training. All ranks call the same methods in the same order."""

    trainee: Trainee
    model: nn.Module
    """The trainee's model as it was laid out for these processes."""
    batches: Batches
    validation: Batches | None
    settings: TrainSettings
    dtype: torch.dtype
    """Of latents, text and the backbone's computation."""
    world: World
    checkpoints: Checkpoints
    log: MetricsLog
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler  # pyright: ignore[reportPrivateImportUsage]
    position: Position = field(default_factory=Position)
    interval: LogInterval = field(init=False)
    bad_in_a_row: int = 0

    def __post_init__(self) -> None:
        self.interval = LogInterval(device=self.world.device)

    def run(self, stop: threading.Event) -> Outcome:
        """Train to the last step or until `stop` is set on any rank, from the newest checkpoint on.

        RunError after too many steps in a row whose loss is no number; the errors of data and checkpoints as they are.
        """
        self._resume(stop)
        try:
            while self.position.step < self.settings.num_steps:
                if self._train_epoch(stop) is Outcome.STOPPED:
                    return Outcome.STOPPED
                self.position = replace(self.position, epoch=self.position.epoch + 1, epoch_step=0)
        except VpdataError:
            # All ranks raise together, and can finish the checkpoint under way together: it is still a good one.
            self.checkpoints.finish()
            raise
        self.checkpoints.finish()
        return Outcome.FINISHED

    def _train_epoch(self, stop: threading.Event) -> Outcome:
        """The remaining steps of an epoch, or of the training if they are fewer."""
        epoch, start = self.position.epoch, self.position.epoch_step
        num_steps = min(self.batches.num_steps(epoch), start + self.settings.num_steps - self.position.step)
        remaining = iter(self.batches.epoch(epoch, start=start))
        for _ in range(start, num_steps):
            (stops,) = self.world.any_of(stop.is_set() or self._is_to_stop())
            if stops:
                if self.position.step:
                    self._log()
                    self.checkpoints.start_saving(self.trainee, self.optimizer, self.position)
                self.checkpoints.finish()
                return Outcome.STOPPED
            waits_from_s = time.perf_counter()
            micro_batches = self._next_of(remaining)
            self.interval.data_wait_s += time.perf_counter() - waits_from_s
            self._step(micro_batches)
            self._after_step(stop)
        return Outcome.FINISHED

    def _is_to_stop(self) -> bool:
        """Whether `stop_at_step` is reached, or was set to one that is behind."""
        stop_at_step = self.settings.stop_at_step
        return stop_at_step is not None and self.position.step >= stop_at_step

    def _next_of(self, remaining: Iterator[list[Batch]]) -> list[Batch]:
        """The next batches, unless reading them, or writing a checkpoint meanwhile, has failed on any rank."""
        with self.world.together("reading a batch, or writing a checkpoint,"):
            self.checkpoints.publish_finished()
            return next(remaining)

    def _resume(self, stop: threading.Event) -> None:
        self.checkpoints.prepare()
        restored = self.checkpoints.load_newest(self.trainee, self.optimizer)
        self.position = restored or Position()
        # A checkpoint brings its own, but they may have been changed since.
        options = self.settings.optimizer
        for group in self.optimizer.param_groups:
            group.update(betas=options.betas, weight_decay=options.weight_decay)
        self.log.rewind(restored and restored.step)
        if self.position.scaler:
            self.scaler.load_state_dict(self.position.scaler)
        if self.position.step:
            _log.info("going on from step %d", self.position.step)
        elif self.validation is not None:
            self._validate(self.validation, stop)  # where training starts: a new encoder changes nothing
        # Its clock runs from here: neither the start nor the validation is part of a step.
        self.interval = LogInterval(device=self.world.device)

    def _step(self, micro_batches: list[Batch]) -> None:
        """One optimizer step, left out on all ranks alike where its loss or gradient is no number."""
        rate = learning_rate(self.position.step, num_steps=self.settings.num_steps, settings=self.settings.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses, steps = torch.zeros(3, device=self.world.device), list[StepLoss]()
        for index, batch in enumerate(micro_batches):
            with self._reducing_gradients(index == len(micro_batches) - 1):
                step = training_loss(
                    self.trainee,
                    self.model,
                    batch,
                    seed=self.settings.seed,
                    dtype=self.dtype,
                    settings=self.settings.loss,
                )
                total = step.loss.total.mean() / len(micro_batches)
                self.scaler.scale(total).backward()
            steps.append(step)
            parts = (step.loss.total, step.loss.everywhere, step.loss.hole)
            losses += torch.stack([part.detach().mean() for part in parts]) / len(micro_batches)
        self.scaler.unscale_(self.optimizer)
        norm = _whole(clip_grad_norm_(self.trainee.parameters().values(), self.settings.optimizer.max_grad_norm))
        # The only wait for the device in a step. Loss and norm are the same on all ranks, and so is what is decided.
        values = torch.cat([self.world.sum_of(losses) / self.world.size, norm.reshape(1)]).tolist()
        flops = sum(len(batch) * self.trainee.sample_flops(tuple(batch.video.shape[1:])) for batch in micro_batches)
        self.interval.count(num_samples=sum(map(len, micro_batches)), flops=flops)
        is_good = all(map(math.isfinite, values))
        if is_good:
            self.optimizer.step()
            self.bad_in_a_row = 0
            self.interval.add(values, steps)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.position = replace(
            self.position,
            step=self.position.step + 1,
            epoch_step=self.position.epoch_step + 1,
            scaler=self.scaler.state_dict(),
        )
        if not is_good:
            self._skip(values, micro_batches, steps)

    def _skip(self, values: list[float], micro_batches: list[Batch], losses: list[StepLoss]) -> None:
        """Count a step that is left out; RunError if there were too many in a row."""
        is_overflow = self.scaler.is_enabled() and math.isfinite(values[0])
        self.bad_in_a_row += not is_overflow  # a loss scale that is too large is found out by overflowing
        self.position = replace(self.position, skipped_steps=self.position.skipped_steps + 1)
        step, norm = self.position.step, values[-1]
        _log.warning("step %d is left out: loss %s, norm of the gradient %s", step, values[0], norm)
        for batch, loss in zip(micro_batches, losses, strict=True):
            if not bool(loss.loss.total.isfinite().all()):
                _log.warning("step %d: the loss is no number on the clips %s", step, ", ".join(batch.clip_ids))
        self._write("skip", {"loss": values[0], "grad_norm": norm, "skipped_steps": self.position.skipped_steps})
        if self.bad_in_a_row >= self.settings.max_bad_steps:
            raise RunError(
                f"the loss was no number for {self.bad_in_a_row} steps in a row, the last of which was {step}; lower "
                "optimizer.learning_rate and run again: that goes on from the newest checkpoint, which is from before"
            )

    def _after_step(self, stop: threading.Event) -> None:
        """Log, validate and save where they are due."""
        step, watch = self.position.step, self.settings.watch
        is_last = step == self.settings.num_steps
        saves = is_last or step % self.settings.checkpoints.every_steps == 0
        validates = is_last or step % watch.validate_every_steps == 0
        # A line before each checkpoint: a training that goes on from it then logs the same windows.
        if not (saves or validates or step % watch.log_every_steps == 0):
            return
        self._log()
        if validates and self.validation is not None:
            self._validate(self.validation, stop)
        if saves:
            self.checkpoints.start_saving(self.trainee, self.optimizer, self.position)
        self.interval = LogInterval(device=self.world.device)

    def _log(self) -> None:
        if self.interval.losses:  # the same on all ranks
            replaced = torch.tensor(float(self.batches.skipped.total()), device=self.world.device)
            values = {
                **self.interval.summary(self.world),
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "replaced_samples": int(self.world.sum_of(replaced)),
            }
            self._write("train", values)
            if self.world.is_main:
                _log.info(
                    "step %d of %d: loss %.4f, %.2f s a step, %.0f %% of it waiting for data",
                    *(self.position.step, self.settings.num_steps, values["loss"], values["step_s"]),
                    100 * values["data_wait_frac"],
                )

    def _validate(self, validation: Batches, stop: threading.Event) -> None:
        """Loss at fixed timesteps, over the same held-out samples each time; no line where `stop` is set meanwhile."""
        num_steps = min(self.settings.watch.validation_steps, validation.num_steps(0))
        remaining = iter(validation.epoch(0))
        sums, count = torch.zeros(len(VALIDATION_DRAWS), device=self.world.device), 0
        for _ in range(num_steps):
            (stops,) = self.world.any_of(stop.is_set())
            if stops:  # a machine that is taken back may not wait for minutes of validation
                return
            for batch in self._next_of(remaining):
                losses = validation_loss(
                    self.trainee,
                    self.trainee.model,
                    batch,
                    seed=self.settings.seed,
                    dtype=self.dtype,
                    settings=self.settings.loss,
                )
                sums += losses.sum(dim=0)
                count += len(batch)
        if count:
            losses = (self.world.sum_of(sums) / (count * self.world.size)).tolist()
            self._write("validation", {"loss": math.fsum(losses) / len(losses), "loss_by_timestep": losses})

    def _write(self, kind: str, values: Mapping[str, Any]) -> None:
        with self.world.together("writing metrics.jsonl"):
            self.log.write(kind, self.position.step, values)

    def _reducing_gradients(self, is_last: bool) -> AbstractContextManager[None]:
        """Gradients are averaged over the ranks once a step, behind its last micro-batch."""
        if isinstance(self.model, FSDPModule):
            self.model.set_requires_gradient_sync(is_last)
        elif isinstance(self.model, DistributedDataParallel) and not is_last:
            return self.model.no_sync()
        return nullcontext()


def _whole(norm: Tensor) -> Tensor:
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
