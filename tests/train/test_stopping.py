"""What signals do to a training."""

import os
import signal
import time

import pytest

from vpdata.train import stopping
from vpdata.train.stopping import stop_requests


@pytest.fixture
def killed():
    """The signals that would have ended this process."""
    taken: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda number, frame: taken.append(number))
    yield taken
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_that_comes_twice_at_once_is_one_wish(killed, number):
    with stop_requests() as stop:
        os.kill(os.getpid(), number)
        assert stop.is_set()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
        assert not killed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_that_comes_again_later_ends_the_process(killed, number, monkeypatch):
    monkeypatch.setattr(stopping, "ONE_WISH_S", 0.01)
    with stop_requests():
        os.kill(os.getpid(), number)
        time.sleep(0.05)
        os.kill(os.getpid(), number)
        assert killed == [number]
    os.kill(os.getpid(), number)
    assert killed == [number, number]
