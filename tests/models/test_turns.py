"""Threads of one process that call the GPU at once: none is refused for what another holds."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest

torch = pytest.importorskip("torch")

from vpdata.errors import RejectItem
from vpdata.models.gpu import halving


class SharedGpu:
    """Memory for `capacity` in all that the threads of a process hold at once."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = self.num_refused = 0
        self.lock = threading.Lock()

    @contextmanager
    def holding(self, num):
        with self.lock:
            if self.held + num > self.capacity:
                self.num_refused += 1
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB")
            self.held += num
        try:
            yield
        finally:
            with self.lock:
                self.held -= num

    def ask(self, numbers):
        """Takes as much memory as the numbers are, for a moment."""
        with self.holding(sum(numbers)):
            time.sleep(0.002)
        return numbers


def on_threads(*calls):
    """What each of them gives."""
    answers = {}
    # No pool, which would wait at the end of the tests for a thread that is stuck.
    threads = [
        threading.Thread(target=lambda row=row, call=call: answers.update({row: call()}), daemon=True)
        for row, call in enumerate(calls)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    return [answers[row] for row in range(len(calls))]


def test_item_that_fits_once_another_threads_call_is_over_is_not_rejected():
    gpu, is_held = SharedGpu(8), threading.Event()

    def hold(numbers):
        with gpu.holding(8):
            is_held.set()
            until = time.monotonic() + 10
            while gpu.num_refused < 2 and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(0.05)  # for one who would not wait for the end of this
        return numbers

    def ask(numbers):
        assert is_held.wait(timeout=10)
        return gpu.ask(numbers)

    assert on_threads(lambda: halving(hold, [1]), lambda: halving(ask, [3, 4])) == [[1], [3, 4]]
    # Both, the first alone, and then nothing else.
    assert gpu.num_refused == 2


def test_item_that_needs_the_gpu_for_itself_gets_its_turn_while_others_never_pause():
    gpu, is_done = SharedGpu(10), threading.Event()

    def never_pause():
        num_calls = 0
        while not is_done.is_set():
            halving(gpu.ask, [2])
            num_calls += 1
        return num_calls

    def ask():
        try:
            return [halving(gpu.ask, [10]) for _ in range(20)]
        finally:
            is_done.set()

    *num_calls, answers = on_threads(never_pause, never_pause, never_pause, ask)
    assert answers == [[10]] * 20
    assert min(num_calls) > 0


def test_threads_that_all_need_the_gpu_for_themselves_take_turns_also_from_within_a_call():
    gpu, all_there = SharedGpu(10), threading.Barrier(4)

    def ask(numbers):
        all_there.wait(timeout=10)
        return halving(gpu.ask, numbers)

    def outer():
        return halving(ask, [10])

    assert on_threads(outer, outer, outer, outer) == [[10]] * 4


def test_call_within_one_that_is_alone_is_alone_too():
    gpu = SharedGpu(10)

    def ask(numbers):
        if gpu.num_refused == 0:
            gpu.ask([11])
        return halving(gpu.ask, numbers)

    def ask_too_much():
        with pytest.raises(RejectItem, match=r"3\.00 GiB"):
            halving(ask, [11])

    assert on_threads(ask_too_much) == [None]
    # Twice of the inner one, which nobody else's memory kept from its own.
    assert gpu.num_refused == 3
    assert on_threads(lambda: halving(ask, [10])) == [[10]]
