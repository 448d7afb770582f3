"""Preparing ahead: in order, within its bound, and nothing left open."""

from __future__ import annotations

import threading
import time
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
MANY = [Source(id=f"w{number:02d}", uri=f"w{number:02d}.mp4") for number in range(40)]


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


@pytest.mark.parametrize(("max_bytes", "num_ahead"), [(50, 1), (100, 1), (199, 1), (250, 2), (10**6, 12)])
def test_as_much_is_prepared_ahead_as_the_bound_allows(max_bytes: int, num_ahead: int) -> None:
    stage = Stage()
    prepared = Prefetch(stage, no_media, num_threads=3, max_bytes=max_bytes).prepared(MANY, first_index=0)
    for num_out in (1, 2, 3):
        next(prepared)
        deadline = time.monotonic() + 30
        while stage.num_prepared < num_out + num_ahead and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert stage.num_prepared == num_out + num_ahead
    prepared.close()


def test_one_item_is_prepared_until_it_is_known_how_large_they_are() -> None:
    may_go_on, started = threading.Event(), []

    class Slow(Stage):
        def prepare(self, item: Any, media: Any) -> Any:
            started.append(item.id)
            assert may_go_on.wait(timeout=60)
            return super().prepare(item, media)

    prepared = Prefetch(Slow(), no_media, num_threads=3, max_bytes=10**6).prepared(MANY, first_index=0)
    asking = threading.Thread(target=next, args=(prepared,))
    asking.start()
    time.sleep(0.2)
    assert started == ["w00"]
    may_go_on.set()
    asking.join()
    assert [one.index for one in prepared] == list(range(1, len(MANY)))


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
