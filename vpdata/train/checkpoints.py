"""Checkpoints of what is trained: written while training goes on, and counted only when they are whole.

A checkpoint is a folder `step-00001000` of torch.distributed.checkpoint with the trained parameters and the optimizer's
state, which any number of processes can open, and `checkpoint.json` with the position in the data. It is written
under another name and renamed when every process has finished; the frozen backbone is never in it.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from vpdata.dataset.lease import LeaseProof
from vpdata.errors import ConfigError, RunError, StorageError
from vpdata.train.checkpoint_files import FACTS, WAY_OUT, CheckedWriter, check_sums, read_facts
from vpdata.train.trainee import Trainee
from vpdata.train.world import World

_ASIDE = ".aside-"
_TRAINED_ONLY = StateDictOptions(ignore_frozen_params=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSettings:
    """When checkpoints are written and how many are kept."""

    every_steps: int = 500
    keep_last: int = 3
    """Older ones are removed; 2 or more, so that a damaged one is never the only one."""
    keep_every_steps: int | None = None
    """Checkpoints at multiples of this are never removed, to compare or to start from later; null: none is kept."""

    def __post_init__(self) -> None:
        if self.every_steps < 1 or self.keep_last < 2:
            raise ValueError(
                f"got every_steps {self.every_steps} and keep_last {self.keep_last}, wanted 1 or more and 2 or more"
            )
        if self.keep_every_steps is not None and (
            self.keep_every_steps < 1 or self.keep_every_steps % self.every_steps
        ):
            raise ValueError(
                f"got keep_every_steps {self.keep_every_steps}, wanted a multiple of every_steps {self.every_steps}"
            )

    def keeps_for_good(self, step: int) -> bool:
        """Whether the checkpoint at a step is never removed."""
        return self.keep_every_steps is not None and step % self.keep_every_steps == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a training stands: everything but parameters and optimizer state."""

    step: int = 0
    """Optimizer steps done, the skipped ones included."""
    epoch: int = 0
    epoch_step: int = 0
    """Steps of this epoch that are done."""
    skipped_steps: int = 0
    """Steps left out so far because their loss or gradient was no number."""
    scaler: dict[str, Any] = field(default_factory=dict)
    """State of the loss scale in float16 training."""


class Checkpoints:
    """The checkpoints of one training, in a folder on a disk that all processes share."""

    def __init__(
        self, folder: Path, *, settings: CheckpointSettings, world: World, lease: LeaseProof | None = None
    ) -> None:
        """`lease`: of the training's output, on the main rank where it is held."""
        self._folder = folder
        self._settings = settings
        self._world = world
        self._lease = lease
        self._pending: tuple[Future[Any], Position, CheckedWriter] | None = None
        self._newest_step: int | None = None

    def prepare(self) -> None:
        """Make the folder and remove what killed runs left half-written; ConfigError if it cannot be written to.

        Called by all ranks together.
        """
        with self._world.together(f"making {self._folder}"):
            if not self._world.is_main:
                return
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                for left in self._folder.glob(f"{_ASIDE}*"):
                    shutil.rmtree(left)
                probe = self._folder / f"{_ASIDE}probe"
                probe.mkdir()
                probe.rmdir()
            except OSError as error:
                raise ConfigError(f"cannot write checkpoints to {self._folder}: {error.strerror or error}") from error

    def steps(self) -> list[int]:
        """Steps of the whole checkpoints, oldest first."""
        return whole_steps(self._folder)

    def load_newest(self, trainee: Trainee, optimizer: torch.optim.Optimizer) -> Position | None:
        """Restore trained parameters and optimizer from the newest checkpoint; None where there is none yet.

        RunError if it is damaged, or not the same on all ranks. Called by all ranks together.
        """
        newest = None
        with self._world.together(f"opening a checkpoint in {self._folder}"):
            if self._world.is_main and (steps := self.steps()):
                newest = steps[-1], read_facts(self._folder / _name(steps[-1]))
        # The main rank alone chooses: another one may be shown an older list of the folder by its network disk.
        newest = self._world.of_all(newest)[0]
        if newest is None:
            return None
        step, facts = newest
        folder = self._folder / _name(step)
        with self._world.together(f"opening {folder}"):
            if not self._world.is_main:
                _refuse_other_view(folder, facts)
            # Each file by one rank: a checkpoint is read once to be checked, however many open it.
            check_sums(folder, facts, rank=self._world.rank, world_size=self._world.size)
        state = _state_of(trainee, optimizer)
        try:
            load(state, checkpoint_id=folder, process_group=self._world.control)
        except (CheckpointException, OSError, RuntimeError) as error:
            raise RunError(f"{folder} cannot be opened: {error}; {WAY_OUT}") from error
        set_state_dict(
            trainee.trainable,
            optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
            options=StateDictOptions(ignore_frozen_params=True, strict=False),
        )
        self._newest_step = step
        return Position(**facts["position"])

    def start_saving(self, trainee: Trainee, optimizer: torch.optim.Optimizer, position: Position) -> None:
        """Copy the state to the CPU and write it on a thread. Waits for the one before, if that is not done yet.

        Nothing for the step that was saved, or opened, last. Called by all ranks together.
        """
        self.finish()
        if position.step == self._newest_step:
            return
        writer = CheckedWriter(self._folder / f"{_ASIDE}{_name(position.step)}")
        future = async_save(_state_of(trainee, optimizer), storage_writer=writer, process_group=self._world.saving)
        assert isinstance(future, Future)
        self._pending = (future, position, writer)
        self._newest_step = position.step

    def publish_finished(self) -> None:
        """Publish the write under way if it has ended, and StorageError if it failed; nothing if it goes on.

        No collective: on each rank it ends at another time.
        """
        if self._pending is None or not self._pending[0].done():
            return
        (future, position, writer), self._pending = self._pending, None
        error = future.exception()
        if error is not None:
            raise StorageError(f"checkpoint {_name(position.step)} could not be written: {error}") from error
        if self._world.is_main:
            try:
                self._publish(position, writer.crc32)
            except OSError as error:
                raise StorageError(f"checkpoint {_name(position.step)} could not be published: {error}") from error

    def finish(self) -> None:
        """Wait for the write under way. StorageError if it failed on any rank. Called by all together."""
        with self._world.together("writing a checkpoint"):
            if self._pending is not None:
                wait([self._pending[0]])
            self.publish_finished()

    def _publish(self, position: Position, crc32: Mapping[str, str]) -> None:
        if self._lease is not None:
            self._lease.check()
        aside, final = self._folder / f"{_ASIDE}{_name(position.step)}", self._folder / _name(position.step)
        sizes = {path.name: path.stat().st_size for path in sorted(aside.iterdir())}
        if missing := sorted(set(crc32) - set(sizes)):
            raise StorageError(f"{aside} lacks {', '.join(missing)}, which another process wrote to another disk")
        facts = {"position": asdict(position), "files": sizes, "crc32": crc32}
        (aside / FACTS).write_text(json.dumps(facts, indent=1) + "\n")
        if final.is_dir():
            self._remove(final)
        os.rename(aside, final)
        for step in self.steps()[: -self._settings.keep_last]:
            if not self._settings.keeps_for_good(step):
                self._remove(self._folder / _name(step))

    def _remove(self, folder: Path) -> None:
        """So that what a kill leaves of it is known for what it is."""
        aside = self._folder / f"{_ASIDE}removed-{folder.name}"
        os.rename(folder, aside)
        shutil.rmtree(aside)


def whole_steps(folder: Path) -> list[int]:
    """Steps of the whole checkpoints in a folder of them, oldest first."""
    return sorted(int(path.parent.name.removeprefix("step-")) for path in folder.glob(f"step-*/{FACTS}"))


def load_trained(folder: Path, step: int, trainee: Trainee) -> bool:
    """Restore the trained parameters alone, for a process that only looks on; False if the training has removed them.

    RunError for a damaged checkpoint.
    """
    checkpoint = folder / _name(step)
    trained: dict[str, Any] = {name: value.detach() for name, value in trainee.parameters().items()}
    try:
        check_sums(checkpoint, read_facts(checkpoint))
        with warnings.catch_warnings():
            # What is meant here: one process reads what several may have written.
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            load({"model": trained}, checkpoint_id=checkpoint)
    except (RunError, CheckpointException, OSError, RuntimeError) as error:
        if not checkpoint.exists():
            return False
        raise RunError(f"{checkpoint} cannot be opened: {error}") from error
    return True


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _refuse_other_view(folder: Path, facts: Mapping[str, Any]) -> None:
    """RunError unless this rank sees the checkpoint that the main one does."""
    try:
        is_same, why = read_facts(folder) == facts, "it says something else"
    except RunError as error:
        is_same, why = False, str(error).removesuffix(f"; {WAY_OUT}")  # rank 0 found it whole
    if not is_same:
        raise RunError(
            f"this machine does not see {folder} as rank 0 does: {why}; output is not on one disk that all processes "
            "share, or what the disk shows here is stale and right in a minute"
        )


def _state_of(trainee: Trainee, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Trained parameters and their optimizer state by parameter name, sharded where they are; no buffers."""
    model, optimizer_state = get_state_dict(trainee.trainable, optimizer, options=_TRAINED_ONLY)
    trained = trainee.parameters()
    return {"model": {name: model[name] for name in trained}, "optimizer": optimizer_state}
