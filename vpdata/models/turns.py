"""Whose turn it is: every thread's at once, or that of one which needs a GPU's memory, or a server, for itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Calls of several threads run side by side; one that must be alone waits for those, and later ones wait for it.

    A call may make others on its own thread. It must not wait for a call of another thread, or both may wait for ever.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._num_beside = self._num_alone = 0
        """Calls side by side, and those that are alone or wait for it."""
        self._is_taken = False
        """One is alone."""
        self._own = _Own()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Call beside other threads."""
        if self._own.is_beside or self._own.is_alone:
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._num_alone)
            self._num_beside += 1
        self._own.is_beside = True
        try:
            yield
        finally:
            self._own.is_beside = False
            with self._changed:
                self._num_beside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Call while no other thread does; what calls this from within a call steps aside until then."""
        if self._own.is_alone:
            yield
            return
        was_beside = self._own.is_beside
        with self._changed:
            self._num_beside -= was_beside
            self._num_alone += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._num_beside and not self._is_taken)
            self._is_taken = True
        self._own.is_alone = True
        try:
            yield
        finally:
            self._own.is_alone = False
            with self._changed:
                self._is_taken = False
                self._num_alone -= 1
                # Without waiting: whoever waits to be alone next waits for this one again.
                self._num_beside += was_beside
                self._changed.notify_all()


class _Own(threading.local):
    """Where the thread that looks is."""

    is_beside = False
    is_alone = False
