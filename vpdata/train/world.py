"""The processes of one training: who they are, on which device, and how they decide together.

Every decision that one process takes alone would leave the others waiting in a collective for ever; so whatever may
differ between them (a failed read, a signal, a broken number) is agreed on before anybody acts on it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import HashStore, PrefixStore
from torch.distributed.rendezvous import rendezvous

from vpdata.errors import ConfigError, RunError, VpdataError
from vpdata.models.gpu import torch_device
from vpdata.models.torch_settings import Device
from vpdata.train.stopping import deadly_signals

_TIMEOUT = timedelta(minutes=30)
"""Of one collective; loading a large backbone from a slow disk may keep one rank that long."""
_SLURM_PORTS = range(20_000, 30_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One process among those of a training."""

    rank: int
    size: int
    device: torch.device
    control: dist.ProcessGroup
    """Gloo, for decisions: they must not wait for the device."""
    saving: dist.ProcessGroup
    """Gloo, for the thread that writes checkpoints: two threads must not share a group."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def any_of(self, *facts: bool) -> list[bool]:
        """For each fact, whether it holds on any rank; the same answer everywhere."""
        flags = torch.tensor(facts, dtype=torch.int32)
        dist.all_reduce(flags, dist.ReduceOp.MAX, group=self.control)
        return [bool(flag) for flag in flags]

    def of_all(self, value: Any) -> list[Any]:
        """What each rank gave, by rank; small things that pickle takes."""
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.control)
        return values

    def sum_of(self, values: Tensor) -> Tensor:
        """Sum over the ranks, on the device of `values`; the same bits everywhere."""
        total = values.detach().clone()
        dist.all_reduce(total)
        return total

    @contextmanager
    def together(self, what: str) -> Iterator[None]:
        """A block that must go well on all ranks: where it fails on one, all raise, that rank its own error.

        There must be no collective inside.
        """
        failure = None
        try:
            yield
        except VpdataError as error:
            failure = error
        (failed,) = self.any_of(failure is not None)
        if failure is not None:
            raise failure
        if failed:
            raise RunError(f"{what} failed on another rank, whose log says why")


@contextmanager
def joined_world(device: Device) -> Iterator[World]:
    """This process's place among the others, from torchrun's or Slurm's environment, or alone.

    A process group that exists already (Ray Train makes one) is used and left as it was found.
    """
    was_initialised = dist.is_initialized()
    local_rank = _local_rank(os.environ)
    place = torch_device(device)
    if place.type == "cuda":
        place = torch.device("cuda", local_rank % torch.cuda.device_count())
        torch.cuda.set_device(place)
    if not was_initialised:
        with deadly_signals():
            _initialise(place, os.environ)
    try:
        yield World(
            rank=dist.get_rank(),
            size=dist.get_world_size(),
            device=place,
            control=_gloo_group(),
            saving=_gloo_group(),
        )
    finally:
        if not was_initialised:
            dist.destroy_process_group()


def _gloo_group() -> dist.ProcessGroup:
    group = dist.new_group(backend="gloo", timeout=_TIMEOUT)
    assert isinstance(group, dist.ProcessGroup)
    return group


def _initialise(device: torch.device, environ: Mapping[str, str]) -> None:
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if "RANK" in environ:
        store, rank, size = next(rendezvous("env://", timeout=_TIMEOUT))
        # torchrun keeps its store when it starts all anew: under one name, the addresses of the dead would be found.
        attempt = PrefixStore(f"attempt-{environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        dist.init_process_group(backend, store=attempt, rank=rank, world_size=size, timeout=_TIMEOUT)
    elif int(environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:  # set by srun, not in the batch script itself
        dist.init_process_group(
            backend,
            init_method=_slurm_address(environ),
            rank=int(environ["SLURM_PROCID"]),
            world_size=int(environ["SLURM_STEP_NUM_TASKS"]),
            timeout=_TIMEOUT,
        )
    else:
        dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1, timeout=_TIMEOUT)


def _local_rank(environ: Mapping[str, str]) -> int:
    return int(environ.get("LOCAL_RANK", environ.get("SLURM_LOCALID", "0")))


def _slurm_address(environ: Mapping[str, str]) -> str:
    """Where the first node of a job step listens, on a port that derives from the job's id."""
    nodes = environ["SLURM_STEP_NODELIST"]
    try:
        done = subprocess.run(
            ["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"cannot expand the Slurm node list {nodes!r} with scontrol: {error}; start with torchrun instead"
        ) from error
    port = _SLURM_PORTS[int(environ["SLURM_JOB_ID"]) % len(_SLURM_PORTS)]
    return f"tcp://{done.stdout.split()[0]}:{port}"
