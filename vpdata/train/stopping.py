"""A wish from outside to stop: SIGTERM of a scheduler that takes the machine back, or Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

ONE_WISH_S = 5.0
"""Signals this close together are one wish: torchrun sends its workers a signal that they may have had already."""


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that SIGTERM or SIGINT sets; a signal more than `ONE_WISH_S` after the first acts as it did before.

    Where this is not the main thread (Ray Train), signals belong to somebody else and the event is never set.
    """
    wished = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield wished
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    wished_at_s = 0.0

    def take(number: int, frame: object) -> None:
        nonlocal wished_at_s
        if not wished.is_set():
            wished_at_s = time.monotonic()
            wished.set()
        elif time.monotonic() - wished_at_s > ONE_WISH_S:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, take)
    try:
        yield wished
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deadly_signals() -> Iterator[None]:
    """A block that SIGTERM and SIGINT end together with the process: nothing is lost yet.

    A handler in Python would not run before a wait in C++ for other processes, of half an hour at most, is over.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
