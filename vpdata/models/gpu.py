"""Device, dtype and memory of models that run on torch."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import zip_longest
from typing import TypeVar

import torch

from vpdata.errors import BackendError, Reason, RejectItem
from vpdata.models.torch_settings import Device, Dtype
from vpdata.models.turns import Turns

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Answer = TypeVar("Answer")
Network = TypeVar("Network", bound="torch.nn.Module")

_USE_CPU = "give it `device: cpu`, a model among its options"

_TURNS = Turns()
"""Of all calls that `halving` makes in this process."""

_log = logging.getLogger(__name__)


def torch_device(name: Device) -> torch.device:
    """The device of that name; BackendError for "cuda" where no GPU can be used."""
    if name == "cuda" and not torch.cuda.is_available():
        if torch.version.cuda is None:
            reason, way_out = "is a build without CUDA", _USE_CPU
        elif os.environ.get("CUDA_VISIBLE_DEVICES") == "":
            # As the engine sets it for the workers of a stage that holds no GPU.
            reason = "is shown no GPU (CUDA_VISIBLE_DEVICES is empty)"
            way_out = f"give the stage `resources.gpus`, or {_USE_CPU}"
        else:
            reason, way_out = "finds no GPU", _USE_CPU
        raise BackendError(f"got device 'cuda', but torch {torch.__version__} {reason}; {way_out}")
    return torch.device(name)


def torch_dtype(name: Dtype) -> torch.dtype:
    """The dtype of that name."""
    return getattr(torch, name)


def moved(network: Network, device: torch.device, *, where: object) -> Network:
    """The network on the device, ready for inference; BackendError where the GPU has no room for it.

    `where` its weights are from, for the message.
    """
    try:
        return network.to(device).eval()
    except torch.OutOfMemoryError as error:
        raise no_room(where, error) from error


def no_room(where: object, error: torch.OutOfMemoryError) -> BackendError:
    """What to say of a GPU that cannot hold the weights."""
    return BackendError(
        f"{where}: the weights do not fit into the GPU's memory: {error}. Raise the stage's resources.gpu_memory_gb, "
        "free the GPU, or name a smaller model"
    )


def bound_memory(gpu_memory_gb: float) -> None:
    """Let torch take at most so much (10^9 bytes) of each visible GPU's memory in this process.

    More is `torch.OutOfMemoryError`, whatever is free. CUDA itself, about 0.5 GB a process, comes on top. Does nothing
    where torch finds no GPU.
    """
    if not torch.cuda.is_available():
        return
    for device in range(torch.cuda.device_count()):
        total_bytes = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, gpu_memory_gb * 1e9 / total_bytes), device)


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device; from pinned memory, so that the caller does not wait for the GPU's earlier work."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def in_batches(
    items: Sequence[Item],
    *,
    batch_size: int,
    ready: Callable[[Sequence[Item]], Ready],
    ask: Callable[[Ready], Sequence[Answer]],
) -> list[Answer]:
    """`ask(ready(batch))` for every batch; while one is asked, the next is made ready on a thread.

    Batches are made ready one after another, never two at once. One that the GPU's memory does not hold is let go, then
    made ready and asked anew in halves, as `halving` does it.
    """
    if not items:
        return []
    batches = [items[start : start + batch_size] for start in range(0, len(items), batch_size)]
    answers: list[Answer] = []
    with ThreadPoolExecutor(1, thread_name_prefix="ready") as thread:
        # Lists to take batches out of: a name that stays on its future holds its memory while its halves are asked.
        made_ready: list[Future[Ready]] = []
        coming = [thread.submit(ready, batches[0])]

        def call(some: Sequence[Item]) -> Sequence[Answer]:
            return ask((made_ready.pop() if made_ready else thread.submit(ready, some)).result())

        for batch, following in zip_longest(batches, batches[1:]):
            made_ready.append(coming.pop())
            if following is not None:
                coming.append(thread.submit(ready, following))
            answers += halving(call, batch)
    return answers


def halving(call: Callable[[Sequence[Item]], Sequence[Answer]], items: Sequence[Item]) -> list[Answer]:
    """`call(items)`, asked in halves where the GPU's memory does not hold them all.

    RejectItem(gpu_memory) where one item does not fit even while no other thread of the process makes such a call. No
    item is asked for twice that fitted once. Threads may call this at once; a call must not wait for another thread's.
    """
    try:
        with _TURNS.beside():
            return list(call(items))
    except torch.OutOfMemoryError as error:
        # As text: a log that keeps its records would keep the error, and with its traceback the failed call's tensors.
        what_next = "it is halved" if len(items) > 1 else "it is asked again while nothing else is"
        _log.warning("a batch of %d does not fit into the GPU's memory: %s; %s", len(items), str(error), what_next)
    # Only here, below the handler: while it runs, the traceback keeps the tensors of the failed call alive.
    if len(items) < 2:
        return _alone(call, items)
    torch.cuda.empty_cache()
    middle = len(items) // 2
    return halving(call, items[:middle]) + halving(call, items[middle:])


def _alone(call: Callable[[Sequence[Item]], Sequence[Answer]], items: Sequence[Item]) -> list[Answer]:
    """`call` of the one item, when other threads have let go of the memory that may be all that it lacked."""
    with _TURNS.alone():
        torch.cuda.empty_cache()
        try:
            return list(call(items))
        except torch.OutOfMemoryError as error:
            detail = f"one item does not fit into the GPU's memory: {error}"
            raise RejectItem(Reason.GPU_MEMORY, detail, wanted="a smaller item, or a GPU with more memory") from error
