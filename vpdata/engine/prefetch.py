"""Prepares the inputs of a stage ahead of it, on threads, in order and within a bound of memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from vpdata.errors import RejectItem
from vpdata.stages.base import Inputs, Item, Media, Stage

OpenMedia = Callable[[Item], AbstractContextManager[Media]]
_Queued = tuple[int, Future[tuple[Inputs | RejectItem, ExitStack]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One item as the stage wants it."""

    index: int
    """Position of the item in its part."""
    inputs: Inputs | RejectItem


class Prefetch:
    """Iterates over prepared items; the media of an item stay open until `close_before` passes it."""

    def __init__(self, stage: Stage, open_media: OpenMedia, *, num_threads: int, max_bytes: int) -> None:
        """At most `max_bytes` wait ahead of the item that was handed out last, but always one item, whatever its size.

        With `num_threads` 0 everything is prepared when it is asked for, on the caller's thread.
        """
        self._stage, self._open_media = stage, open_media
        self._num_threads, self._max_bytes = num_threads, max_bytes
        self._largest_bytes: int | None = None
        """Of all items so far; None: none is ready yet."""
        self._open: deque[tuple[int, ExitStack]] = deque()

    def prepared(self, items: Sequence[Item], *, first_index: int) -> Iterator[Prepared]:
        """The items in order. An error of `prepare` other than RejectItem is raised in the item's place."""
        numbered = enumerate(items, start=first_index)
        if not self._num_threads:
            for index, item in numbered:
                yield self._hand_out(index, *self._prepare(item))
            return
        queue: deque[_Queued] = deque()
        executor = ThreadPoolExecutor(self._num_threads, thread_name_prefix="prepare")

        def fill() -> None:
            while self._has_room(queue) and (following := next(numbered, None)) is not None:
                queue.append((following[0], executor.submit(self._prepare, following[1])))

        try:
            fill()
            while queue:
                index, future = queue.popleft()
                inputs, stack = future.result()
                # Before the item is handed out, so that the next is under way while the stage has this one.
                self._note_size(inputs)
                fill()
                yield self._hand_out(index, inputs, stack)
        finally:
            executor.shutdown(cancel_futures=True)
            for _, future in queue:
                if not future.cancelled() and future.exception() is None:
                    future.result()[1].close()

    def close_before(self, index: int) -> None:
        """The items before this one are finished: close their media."""
        while self._open and self._open[0][0] < index:
            self._open.popleft()[1].close()

    def _prepare(self, item: Item) -> tuple[Inputs | RejectItem, ExitStack]:
        with ExitStack() as stack:
            try:
                media = stack.enter_context(self._open_media(item))
                inputs = self._stage.prepare(item, media)
            except RejectItem as rejection:
                return rejection, ExitStack()
            except Exception as error:
                error.add_note(f"record {item.id}")
                raise
            return inputs, stack.pop_all()

    def _hand_out(self, index: int, inputs: Inputs | RejectItem, stack: ExitStack) -> Prepared:
        self._open.append((index, stack))
        return Prepared(index=index, inputs=inputs)

    def _has_room(self, queue: deque[_Queued]) -> bool:
        """Whether one more may be prepared ahead; an item in preparation counts as much as the largest so far."""
        if not queue:
            return True
        ready = [future.result()[0] for _, future in queue if future.done() and not future.exception()]
        for inputs in ready:
            self._note_size(inputs)
        if self._largest_bytes is None:
            # How many fit is not known: one may be as large as the bound.
            return False
        coming_bytes = (len(queue) - len(ready) + 1) * self._largest_bytes
        held_bytes = sum(_num_bytes(inputs) for inputs in ready)
        return len(queue) < 4 * self._num_threads and held_bytes + coming_bytes <= self._max_bytes

    def _note_size(self, inputs: Inputs | RejectItem) -> None:
        if not isinstance(inputs, RejectItem):
            self._largest_bytes = max(self._largest_bytes or 0, inputs.num_bytes)


def _num_bytes(inputs: Inputs | RejectItem) -> int:
    return 0 if isinstance(inputs, RejectItem) else inputs.num_bytes
