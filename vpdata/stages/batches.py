"""Model calls that batch over the borders of clips, so that a GPU is full however few requests one clip has."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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

    def take(self, answer: Answer | RejectItem) -> None:
        if isinstance(answer, RejectItem):
            self.rejection = self.rejection or answer
        else:
            self.answers.append(answer)

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
    equal batches. While a thread asks one, the caller's thread gathers the next and works on what was answered. An item
    that one answer rejects gets that `RejectItem` instead of answers. A batch that raises `RejectItem`, so that nobody
    knows for which request, is asked again in halves.
    """
    pending: deque[_Pending[Item, Answer]] = deque()
    waiting: deque[tuple[_Pending[Item, Answer], Request]] = deque()
    asked: Future[None] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="ask") as thread:
        for item in items:
            requests = requests_of(item)
            entry: _Pending[Item, Answer] = _Pending(item, num_requests=len(requests))
            pending.append(entry)
            waiting.extend((entry, request) for request in requests)
            while len(waiting) >= batch_size:
                if asked is not None:
                    asked.result()
                asked = thread.submit(_answer, [waiting.popleft() for _ in range(batch_size)], ask)
            yield from _answered(pending)
        if asked is not None:
            asked.result()
        yield from _answered(pending)
        if waiting:
            _answer(list(waiting), ask)
    yield from _answered(pending)


def _answer(
    batch: list[tuple[_Pending[Item, Answer], Request]],
    ask: Callable[[Sequence[Request]], Sequence[Answer | RejectItem]],
) -> None:
    try:
        answers = ask([request for _, request in batch])
    except RejectItem as rejection:
        if len(batch) > 1:
            middle = len(batch) // 2
            _answer(batch[:middle], ask)
            _answer(batch[middle:], ask)
            return
        answers = [rejection]
    # On the asking thread, so that what is answered can be handed out before the next batch is full.
    for (entry, _), answer in zip(batch, answers, strict=True):
        entry.take(answer)


def _answered(pending: deque[_Pending[Item, Answer]]) -> Iterator[tuple[Item, list[Answer] | RejectItem]]:
    while pending and pending[0].is_answered():
        entry = pending.popleft()
        yield entry.item, entry.rejection or entry.answers
