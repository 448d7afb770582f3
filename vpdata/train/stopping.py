"""A wish from outside to stop: SIGTERM of a scheduler that takes the machine back, or Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that SIGTERM or SIGINT sets; a second signal acts as it did before.

    Where this is not the main thread (Ray Train), signals belong to somebody else and the event is never set.
    """
    wished = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield wished
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def take(number: int, frame: object) -> None:
        wished.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, take)
    try:
        yield wished
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
