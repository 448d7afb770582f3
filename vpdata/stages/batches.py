"""Model calls that batch over the borders of clips, so that a GPU is full however few requests one clip has."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from vpdata.errors import RejectItem

Item = TypeVar("Item")
Request = TypeVar("Request")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Again(Generic[Request]):
    """Instead of an answer: what is to be asked in its place, in the next batch."""

    request: Request


class _Pending(Generic[Item, Answer]):
    def __init__(self, item: Item, *, num_requests: int) -> None:
        self.item = item
        self._num_requests = num_requests
        self._answers: dict[int, Answer] = {}
        self.rejection: RejectItem | None = None

    def take(self, row: int, answer: Answer | RejectItem) -> None:
        if isinstance(answer, RejectItem):
            self.rejection = self.rejection or answer
        else:
            self._answers[row] = answer

    def is_answered(self) -> bool:
        return len(self._answers) == self._num_requests or self.rejection is not None

    def answers(self) -> list[Answer]:
        """In the order of the requests."""
        return [self._answers[row] for row in range(self._num_requests)]


_Asked = tuple[_Pending[Item, Answer], int, Request]
"""A request, the item that it is of, and its row among the item's requests."""
_Ask = Callable[[Sequence[Request]], Sequence[Answer | Again[Request] | RejectItem]]


def ask_in_batches(
    items: Iterable[Item],
    *,
    requests_of: Callable[[Item], Sequence[Request]],
    ask: _Ask[Request, Answer],
    batch_size: int,
) -> Iterator[tuple[Item, list[Answer] | RejectItem]]:
    """Each item with the model's answers to its requests, in the order of the items, lazily.

    Requests of successive items fill batches of exactly `batch_size` (the last ones may be smaller), so equal items
    give equal batches. While a thread asks one, the caller's thread gathers the next and works on what was answered. An
    item that one answer rejects gets that `RejectItem` instead of answers. A batch that raises `RejectItem`, so that
    nobody knows for which request, is asked again in halves.
    """
    pending: deque[_Pending[Item, Answer]] = deque()
    waiting: deque[_Asked[Item, Answer, Request]] = deque()
    asked: Future[list[_Asked[Item, Answer, Request]]] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="ask") as thread:
        for item in items:
            requests = requests_of(item)
            entry: _Pending[Item, Answer] = _Pending(item, num_requests=len(requests))
            pending.append(entry)
            waiting.extend((entry, row, request) for row, request in enumerate(requests))
            while len(waiting) >= batch_size:
                if asked is not None:
                    waiting.extendleft(reversed(asked.result()))
                asked = thread.submit(_answer, [waiting.popleft() for _ in range(batch_size)], ask)
            yield from _answered(pending)
        while asked is not None or waiting:
            if asked is not None:
                waiting.extendleft(reversed(asked.result()))
            yield from _answered(pending)
            batch = [waiting.popleft() for _ in range(min(batch_size, len(waiting)))]
            asked = thread.submit(_answer, batch, ask) if batch else None
    yield from _answered(pending)


def _answer(
    batch: list[_Asked[Item, Answer, Request]], ask: _Ask[Request, Answer]
) -> list[_Asked[Item, Answer, Request]]:
    """Give the entries their answers; what is to be asked in the place of some."""
    answers: Sequence[Answer | Again[Request] | RejectItem]
    try:
        answers = ask([request for _, _, request in batch])
    except RejectItem as rejection:
        if len(batch) > 1:
            middle = len(batch) // 2
            return _answer(batch[:middle], ask) + _answer(batch[middle:], ask)
        answers = [rejection]
    again: list[_Asked[Item, Answer, Request]] = []
    # On the asking thread, so that what is answered can be handed out before the next batch is full.
    for (entry, row, _), answer in zip(batch, answers, strict=True):
        if isinstance(answer, Again):
            again.append((entry, row, answer.request))
        else:
            entry.take(row, answer)
    return again


def _answered(pending: deque[_Pending[Item, Answer]]) -> Iterator[tuple[Item, list[Answer] | RejectItem]]:
    while pending and pending[0].is_answered():
        entry = pending.popleft()
        yield entry.item, entry.rejection or entry.answers()
