"""Preparing ahead: in order, within its bound, and nothing left open."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.engine.tiny_stages import TinyStage
from vpdata.engine.prefetch import Prefetch
from vpdata.errors import Reason, RejectItem
from vpdata.records import Source

ITEMS = [Source(id=f"v{number:02d}", uri=f"v{number:02d}.mp4") for number in range(12)]


@dataclass(frozen=True, kw_only=True)
class Sized:
    item_id: str
    num_bytes: int = 100


class Stage(TinyStage):
    """Counts what it has prepared."""

    def __init__(self) -> None:
        self.num_prepared = 0
        self._lock = threading.Lock()

    def prepare(self, item: Any, media: Any) -> Any:
        if item.id == "v03":
            raise RejectItem(Reason.UNREADABLE, "damaged")
        with self._lock:
            self.num_prepared += 1
        return Sized(item_id=item.id)


@contextmanager
def no_media(item: Any) -> Iterator[bytes]:
    yield b""


@pytest.mark.parametrize("num_threads", [0, 3])
def test_items_come_in_order_with_rejects_in_their_place(num_threads: int) -> None:
    prefetch = Prefetch(Stage(), no_media, num_threads=num_threads, max_bytes=1000)
    prepared = list(prefetch.prepared(ITEMS, first_index=5))
    assert [one.index for one in prepared] == list(range(5, 17))
    assert [isinstance(one.inputs, RejectItem) for one in prepared] == [number == 3 for number in range(12)]


def test_no_more_is_prepared_ahead_than_the_bound_allows() -> None:
    stage = Stage()
    prepared = Prefetch(stage, no_media, num_threads=1, max_bytes=250).prepared(ITEMS, first_index=0)
    next(prepared)
    # One item is out; while 100 and 200 bytes wait another may start, with 300 none may.
    assert stage.num_prepared <= 4
    prepared.close()


def test_media_stay_open_until_their_item_is_finished() -> None:
    opened: list[str] = []

    @contextmanager
    def media(item: Any) -> Iterator[bytes]:
        opened.append(item.id)
        yield b""
        opened.remove(item.id)

    prefetch = Prefetch(Stage(), media, num_threads=0, max_bytes=1000)
    prepared = prefetch.prepared(ITEMS, first_index=0)
    next(prepared), next(prepared)
    assert opened == ["v00", "v01"]
    prefetch.close_before(1)
    assert opened == ["v01"]


def test_an_error_of_ours_comes_in_the_place_of_its_item() -> None:
    class Broken(Stage):
        def prepare(self, item: Any, media: Any) -> Any:
            if item.id == "v02":
                raise ValueError("a fault")
            return super().prepare(item, media)

    prepared = Prefetch(Broken(), no_media, num_threads=2, max_bytes=1000).prepared(ITEMS, first_index=0)
    assert [next(prepared).index for _ in range(2)] == [0, 1]
    with pytest.raises(ValueError, match="a fault") as caught:
        next(prepared)
    assert caught.value.__notes__ == ["record v02"]
