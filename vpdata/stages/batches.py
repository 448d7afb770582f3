"""Model calls that batch over the borders of clips, so that a GPU is full however few requests one clip has."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from vpdata.errors import RejectItem

Item = TypeVar("Item")
Request = TypeVar("Request")
Answer = TypeVar("Answer")


class _Pending(Generic[Item, Answer]):
    def __init__(self, item: Item, *, num_requests: int) -> None:
        self.item = item
        self.num_requests = num_requests
        self.answers: list[Answer] = []
        self.rejection: RejectItem | None = None

    def is_answered(self) -> bool:
        return len(self.answers) == self.num_requests or self.rejection is not None


def ask_in_batches(
    items: Iterable[Item],
    *,
    requests_of: Callable[[Item], Sequence[Request]],
    ask: Callable[[Sequence[Request]], Sequence[Answer | RejectItem]],
    batch_size: int,
) -> Iterator[tuple[Item, list[Answer] | RejectItem]]:
    """Each item with the model's answers to its requests, in the order of the items, lazily.

    Requests of successive items fill batches of exactly `batch_size` (the last may be smaller), so equal items give
    equal batches. An item that one answer rejects gets that `RejectItem` instead of answers. A batch that raises
    `RejectItem`, so that nobody knows for which request, is asked again one request at a time.
    """
    pending: deque[_Pending[Item, Answer]] = deque()
    waiting: deque[tuple[_Pending[Item, Answer], Request]] = deque()
    for item in items:
        requests = requests_of(item)
        entry: _Pending[Item, Answer] = _Pending(item, num_requests=len(requests))
        pending.append(entry)
        waiting.extend((entry, request) for request in requests)
        while len(waiting) >= batch_size:
            _answer([waiting.popleft() for _ in range(batch_size)], ask)
        yield from _answered(pending)
    while waiting:
        _answer([waiting.popleft() for _ in range(min(batch_size, len(waiting)))], ask)
    yield from _answered(pending)


def _answer(
    batch: list[tuple[_Pending[Item, Answer], Request]],
    ask: Callable[[Sequence[Request]], Sequence[Answer | RejectItem]],
) -> None:
    try:
        answers = ask([request for _, request in batch])
    except RejectItem as rejection:
        if len(batch) > 1:
            for one in batch:
                _answer([one], ask)
            return
        answers = [rejection]
    for (entry, _), answer in zip(batch, answers, strict=True):
        if isinstance(answer, RejectItem):
            entry.rejection = entry.rejection or answer
        else:
            entry.answers.append(answer)


def _answered(pending: deque[_Pending[Item, Answer]]) -> Iterator[tuple[Item, list[Answer] | RejectItem]]:
    while pending and pending[0].is_answered():
        entry = pending.popleft()
        yield entry.item, entry.rejection or entry.answers
