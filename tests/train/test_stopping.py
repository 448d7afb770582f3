"""What signals do to a training."""

import os
import signal
import socket
import time

import pytest

from tests.train.processes import alone_of_two
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
def test_signal_ends_a_start_that_waits_for_other_processes(number):
    with alone_of_two() as (process, port):
        deadline = time.monotonic() + 60
        while not listens(port):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, number)
        process.join(10)
        assert process.exitcode == -number


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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
