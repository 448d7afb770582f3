"""Devices, dtypes, and batches that do not fit."""

from __future__ import annotations

import logging

import pytest

torch = pytest.importorskip("torch")

from vpdata.errors import BackendError, Reason, RejectItem
from vpdata.models.gpu import halving, torch_device, torch_dtype


class SmallGpu:
    """Squares numbers, at most `capacity` at once and none above 99."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.answered: list[int] = []

    def __call__(self, numbers):
        if len(numbers) > self.capacity or max(numbers, default=0) > 99:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB")
        self.answered += numbers
        return [number * number for number in numbers]


def test_batch_that_fits_is_asked_at_once():
    gpu = SmallGpu(8)
    assert halving(gpu, [1, 2, 3]) == [1, 4, 9]
    assert gpu.answered == [1, 2, 3]


@pytest.mark.parametrize("capacity", [1, 2, 3])
def test_batch_that_does_not_fit_is_halved_until_it_does_and_keeps_its_order(capacity, caplog):
    gpu = SmallGpu(capacity)
    with caplog.at_level(logging.WARNING):
        assert halving(gpu, list(range(7))) == [number**2 for number in range(7)]
    assert gpu.answered == list(range(7))
    assert "batch of 7" in caplog.text


def test_item_that_does_not_fit_alone_is_rejected():
    with pytest.raises(RejectItem, match=r"3\.00 GiB") as caught:
        halving(SmallGpu(4), [1, 2, 100, 4])
    assert caught.value.reason is Reason.GPU_MEMORY


def test_nothing_is_nothing():
    assert halving(SmallGpu(4), []) == []


def test_other_errors_are_not_taken_for_lack_of_memory():
    def broken(numbers):
        raise RuntimeError("CUDA error: an illegal memory access")

    with pytest.raises(RuntimeError, match="illegal"):
        halving(broken, [1, 2])


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpu_that_is_not_there_is_refused():
    with pytest.raises(BackendError, match="device: cpu"):
        torch_device("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_real_lack_of_gpu_memory_is_halved():
    total = torch.cuda.get_device_properties(0).total_memory

    def call(sizes):
        torch.empty(sum(sizes), dtype=torch.uint8, device="cuda")
        return sizes

    assert halving(call, [int(total * 0.4)] * 4) == [int(total * 0.4)] * 4


def test_device_and_dtype_have_their_names():
    assert torch_device("cpu").type == "cpu"
    assert torch_dtype("bfloat16") is torch.bfloat16
