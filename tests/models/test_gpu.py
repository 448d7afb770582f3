"""Devices, dtypes, and batches that do not fit."""

from __future__ import annotations

import logging
import threading
import weakref

import pytest

torch = pytest.importorskip("torch")

from torch.overrides import TorchFunctionMode

from vpdata.errors import BackendError, Reason, RejectItem
from vpdata.models.gpu import bound_memory, halving, in_batches, to_device, torch_device, torch_dtype


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


def squared_in_batches(numbers, *, gpu, batch_size=3, ready=list):
    return in_batches(numbers, batch_size=batch_size, ready=ready, ask=gpu)


@pytest.mark.parametrize("capacity", [1, 2, 8])
def test_batches_keep_their_order_whether_they_fit_or_not(capacity):
    gpu = SmallGpu(capacity)
    assert squared_in_batches(list(range(8)), gpu=gpu) == [number**2 for number in range(8)]
    assert gpu.answered == list(range(8))
    assert squared_in_batches([], gpu=gpu) == []


def test_next_batch_is_made_ready_while_one_is_asked():
    is_ready = {first: threading.Event() for first in (0, 2, 4)}

    def ready(numbers):
        is_ready[numbers[0]].set()
        return numbers

    def ask(numbers):
        following = is_ready.get(numbers[0] + 2)
        assert following is None or following.wait(timeout=10)
        # No further ahead, since what is ready holds memory.
        assert numbers[0] != 0 or not is_ready[4].is_set()
        return numbers

    assert squared_in_batches([0, 1, 2, 3, 4], gpu=ask, batch_size=2, ready=ready) == [0, 1, 2, 3, 4]


class Pixels(list):
    """What a batch is once it is ready; unlike a list it can be watched."""


@pytest.mark.parametrize("num_items", [4, 8], ids=["last batch", "batch before another"])
def test_batch_that_does_not_fit_is_let_go_before_its_halves_are_asked(num_items):
    made = []

    def ready(numbers):
        pixels = Pixels(numbers)
        made.append(weakref.ref(pixels))
        return pixels

    def ask(pixels):
        if len(pixels) == 4 and pixels[0] == 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        asked.append(list(pixels))
        if len(pixels) == 2:
            assert made[0]() is None
        return pixels

    asked = []
    assert squared_in_batches(list(range(num_items)), gpu=ask, batch_size=4, ready=ready) == list(range(num_items))
    assert asked[:2] == [[0, 1], [2, 3]]


def test_no_two_batches_are_made_ready_at_once_even_after_a_lack_of_memory():
    in_hand, follower_begins, another_begins = [], threading.Event(), threading.Event()

    def ready(numbers):
        in_hand.append(numbers)
        if len(in_hand) > 1:
            another_begins.set()
        if numbers == [2, 3]:
            follower_begins.set()
            assert not another_begins.wait(timeout=0.5)
        in_hand.remove(numbers)
        return numbers

    def ask(numbers):
        if numbers == [0, 1]:
            assert follower_begins.wait(timeout=10)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return numbers

    assert squared_in_batches([0, 1, 2, 3], gpu=ask, batch_size=2, ready=ready) == [0, 1, 2, 3]


def test_item_that_cannot_be_made_ready_says_why():
    def ready(numbers):
        if 4 in numbers:
            raise RejectItem(Reason.TAGS_FAILED, "four")
        return numbers

    with pytest.raises(RejectItem, match="four"):
        squared_in_batches(list(range(8)), gpu=SmallGpu(8), ready=ready)


def test_tensor_on_the_cpu_stays_as_it_is():
    tensor = torch.arange(3)
    assert to_device(tensor, torch.device("cpu")) is tensor


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_process_gets_no_more_than_its_bound():
    bound_memory(1.0)
    try:
        torch.empty(600_000_000, dtype=torch.uint8, device="cuda")
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(1_100_000_000, dtype=torch.uint8, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tensor_arrives_on_the_gpu_whole():
    tensor = torch.arange(10_000_000)
    copy = to_device(tensor, torch.device("cuda"))
    assert copy.device.type == "cuda"
    assert torch.equal(copy.cpu(), tensor)


class Moves(TorchFunctionMode):
    """What is asked of torch on a tensor's way to the GPU; without one, nothing moves."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, function, types, arguments=(), options=None):
        options = options or {}
        if function in (torch.Tensor.pin_memory, torch.Tensor.to):
            self.seen.append((function, arguments[0].is_pinned(), options))
            if not torch.cuda.is_available():
                return arguments[0]
        return function(*arguments, **options)


def test_tensor_goes_to_the_gpu_from_pinned_memory_and_nobody_waits_for_it():
    tensor = torch.arange(1000)
    with Moves() as moves:
        to_device(tensor, torch.device("cuda"))
    (pin, _, _), (to, was_pinned, options) = moves.seen
    assert (pin, to, options) == (torch.Tensor.pin_memory, torch.Tensor.to, {"non_blocking": True})
    assert was_pinned or not torch.cuda.is_available()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpu_that_is_not_there_is_refused():
    with pytest.raises(BackendError, match=r"give it `device: cpu`, a model among its options$"):
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
