"""Processes that train together on the CPU, started like torchrun starts them."""

import logging
import multiprocessing
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import torch

from tests.backbones.small import small_backbone
from tests.train.fixtures import RandomBatches, backbone
from vpdata.errors import VpdataError
from vpdata.models.gpu import torch_dtype
from vpdata.train.settings import TrainSettings
from vpdata.train.stopping import stop_requests
from vpdata.train.train import fit
from vpdata.train.world import joined_world

FAILED = 1
FINGERPRINT = "0123456789abcdef"
_TIMEOUT_S = 120

_context = multiprocessing.get_context("forkserver")
# Imports torch and diffusers once, in a process without threads that the others are forked from.
_context.set_forkserver_preload([__name__])


def train_here(
    settings: TrainSettings,
    *,
    kind: type[RandomBatches] = RandomBatches,
    backbone_name: str = "wan",
    **batches: object,
) -> str:
    """Train in this process; how it ended."""
    with joined_world(settings.backbone.device) as world:
        net = small_backbone(backbone_name)
        if settings.backbone.dtype != "float32":
            net.transformer.to(torch_dtype(settings.backbone.dtype))
        return fit(
            settings,
            backbone=net,
            fingerprint=FINGERPRINT,
            batches=kind(net, **batches),
            validation=RandomBatches(net, pairs=settings.stage == "id_adapter"),
            world=world,
            stop=threading.Event(),
        )


@contextmanager
def training(settings: TrainSettings, *, num_processes: int = 1, **batches: object) -> Iterator[list[BaseProcess]]:
    """Processes that train; killed at the end of the block where they still run."""
    port = free_port()
    started = [
        _context.Process(target=_train_as, args=(rank, num_processes, port, settings, batches))
        for rank in range(num_processes)
    ]
    for process in started:
        process.start()
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.join()


def exit_codes(processes: list[BaseProcess]) -> list[int | None]:
    """Of all, once they have ended; None for one that still runs after two minutes."""
    for process in processes:
        process.join(_TIMEOUT_S)
    return [process.exitcode for process in processes]


def train_in_processes(settings: TrainSettings, *, num_processes: int, **batches: object) -> list[int | None]:
    """Train to the end; the exit codes: 0 finished, 75 stopped on demand, 1 for an error of ours."""
    with training(settings, num_processes=num_processes, **batches) as started:
        return exit_codes(started)


def answers_of(task: Callable[..., list[str]], arguments: Sequence[tuple[object, ...]]) -> list[list[str]]:
    """What each rank answers: `task`, a function of a module, is called with its world and its arguments."""
    port, pipes = free_port(), [_context.Pipe(duplex=False) for _ in arguments]
    started = [
        _context.Process(target=_do_as, args=(rank, len(arguments), port, pipes[rank][1], task, arguments[rank]))
        for rank in range(len(arguments))
    ]
    for process in started:
        process.start()
    try:
        return [receives.recv() if receives.poll(_TIMEOUT_S) else ["no answer"] for receives, _ in pipes]
    finally:
        for process in started:
            process.kill()
            process.join()


def _do_as(rank: int, num_processes: int, port: int, sends: Connection, task: Callable, arguments: tuple) -> None:
    torch.set_num_threads(1)
    os.environ |= _environment(rank, num_processes, port)
    with joined_world("cpu") as world:
        sends.send(task(world, *arguments))


@contextmanager
def alone_of_two() -> Iterator[tuple[BaseProcess, int]]:
    """The first of two processes of a training, and the port at which it waits for the second."""
    port = free_port()
    process = _context.Process(target=_wait_as_first, args=(port,))
    process.start()
    try:
        yield process, port
    finally:
        process.kill()
        process.join()


def _wait_as_first(port: int) -> None:
    os.environ |= _environment(0, 2, port)
    with stop_requests(), joined_world("cpu"):
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _environment(rank: int, num_processes: int, port: int) -> dict[str, str]:
    """That which torchrun sets."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(num_processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _train_as(rank: int, num_processes: int, port: int, settings: TrainSettings, batches: dict[str, object]) -> None:
    logging.basicConfig(level=logging.INFO)
    torch.set_num_threads(1)
    os.environ |= _environment(rank, num_processes, port)
    net = backbone()
    data = RandomBatches(net, rank=rank, world_size=num_processes, **batches)  # type: ignore[arg-type]
    validation = RandomBatches(net, rank=rank, world_size=num_processes, micro=2 // num_processes, pairs=data.pairs)
    try:
        with stop_requests() as stop, joined_world(settings.backbone.device) as world:
            outcome = fit(
                settings,
                backbone=net,
                fingerprint=FINGERPRINT,
                batches=data,
                validation=validation,
                world=world,
                stop=stop,
            )
    except VpdataError as error:
        print(f"rank {rank}: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(FAILED)
    sys.exit(outcome.exit_code)
