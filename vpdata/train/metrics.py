"""What is watched: one JSON line per logged step in `metrics.jsonl`, and TensorBoard if asked."""

from __future__ import annotations

import json
import math
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vpdata.errors import ConfigError, StorageError
from vpdata.train.loss import sums_by_bin
from vpdata.train.step import NUM_BINS, StepLoss
from vpdata.train.world import World

_FILE = "metrics.jsonl"
_PEAK_FLOPS = {
    "H200 NVL": 835e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H800": 989e12,
    "A100": 312e12,
    "A800": 312e12,
    "V100": 125e12,
}
"""Dense half-precision FLOP/s by a part of the device's name, the first that fits, from the makers' data sheets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """What is logged, and how often the held-out loss is taken."""

    log_every_steps: int = 10
    validate_every_steps: int = 500
    validation_steps: int = 8
    """Batches of the validation; 0: none."""
    tensorboard: bool = False
    """Also write TensorBoard events; needs the package `tensorboard`."""

    def __post_init__(self) -> None:
        if min(self.log_every_steps, self.validate_every_steps) < 1 or self.validation_steps < 0:
            raise ValueError("got log_every_steps, validate_every_steps or validation_steps below 1, 1 and 0")


def last_step(folder: Path) -> int:
    """The last step that the metrics of a training tell of; 0 where there are none."""
    path = folder / _FILE
    lines = path.read_text().splitlines() if path.exists() else []
    return max((step for line in lines if (step := _step_of(line)) is not None), default=0)


class MetricsLog:
    """Lines that only the main process writes."""

    def __init__(self, folder: Path, *, settings: WatchSettings, world: World) -> None:
        self._path = folder / _FILE
        self._is_main = world.is_main
        self._board = _board(folder) if settings.tensorboard and world.is_main else None

    def rewind(self, step: int | None) -> None:
        """Drop the lines behind a step that training goes back to, so that no step is told of twice; None: all."""
        if not self._is_main or not self._path.exists():
            return
        written = self._path.read_text().splitlines(keepends=True)
        lines = (
            [] if step is None else [line for line in written if (told := _step_of(line)) is not None and told <= step]
        )
        aside = self._path.with_name(".aside-metrics")
        aside.write_text("".join(lines))
        aside.replace(self._path)

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append a line `{"kind": ..., "step": ..., **values}`; numbers that are none become null.

        StorageError where it cannot be written.
        """
        if not self._is_main:
            return
        plain = {key: _plain(value) for key, value in values.items()}
        try:
            with self._path.open("a") as file:
                file.write(json.dumps({"kind": kind, "step": step, **plain}) + "\n")
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror or error}") from error
        if self._board is not None:
            for key, value in plain.items():
                if isinstance(value, float):
                    self._board.add_scalar(f"{kind}/{key}", value, step)
            self._board.flush()


@dataclass(slots=True)
class LogInterval:
    """What was measured since the last logged line."""

    device: torch.device
    losses: list[tuple[float, float, float, float]] = field(default_factory=list)
    """Of each step, over all ranks: total, everywhere, hole, norm of the gradient."""
    bin_sums: Tensor = field(init=False)
    bin_counts: Tensor = field(init=False)
    num_steps: int = 0
    """Those that were left out too: they take time as well."""
    num_samples: int = 0
    """Of this rank."""
    flops: float = 0.0
    """Of this rank."""
    data_wait_s: float = 0.0
    started_s: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.bin_sums = torch.zeros(NUM_BINS, device=self.device)
        self.bin_counts = torch.zeros(NUM_BINS, device=self.device)

    def count(self, *, num_samples: int, flops: float) -> None:
        """Take in the work of an optimizer step, also of one that is left out."""
        self.num_steps += 1
        self.num_samples += num_samples
        self.flops += flops

    def add(self, values: Sequence[float], steps: Sequence[StepLoss]) -> None:
        """Take in what an optimizer step came to: its losses and norm as in `losses`, and this rank's micro-batches."""
        total, everywhere, hole, norm = values
        self.losses.append((total, everywhere, hole, norm))
        for step in steps:
            sums, counts = sums_by_bin(step.loss.total.detach(), step.bins, num_bins=NUM_BINS)
            self.bin_sums += sums
            self.bin_counts += counts

    def summary(self, world: World) -> dict[str, Any]:
        """The values of a logged line. Called by all ranks together."""
        took_s = time.perf_counter() - self.started_s
        sums, counts = world.sum_of(torch.stack([self.bin_sums, self.bin_counts])).tolist()
        columns = zip(*self.losses, strict=True)
        total, everywhere, hole, norm = (math.fsum(column) / len(self.losses) for column in columns)
        peak_flops = _peak_flops(world.device)
        return {
            "loss": total,
            "loss_everywhere": everywhere,
            "loss_hole": hole,
            "grad_norm": norm,
            "loss_by_timestep": [value / count if count else None for value, count in zip(sums, counts, strict=True)],
            "step_s": took_s / self.num_steps,
            "samples_per_s": self.num_samples * world.size / took_s,
            "data_wait_frac": self.data_wait_s / took_s,
            "peak_memory_gb": _peak_memory_gb(world.device),
            "mfu": self.flops / took_s / peak_flops if peak_flops else None,
        }


def _board(folder: Path) -> Any:  # the package is optional and unknown to the type checker
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise ConfigError("watch.tensorboard needs a package that is not installed: pip install tensorboard") from error
    return SummaryWriter(str(folder / "tensorboard"))


def _step_of(line: str) -> int | None:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):  # the last line of a run that was killed
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _peak_flops(device: torch.device) -> float | None:
    """None for a device whose figure is not known: better no utilisation than a wrong one."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((flops for part, flops in _PEAK_FLOPS.items() if part in name), None)


def _peak_memory_gb(device: torch.device) -> float:
    """Of the device, or of this process where it computes on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
