"""Seeded, stratified samples: every kind of clip and of reject is seen, however rare."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Hashable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vpdata import codec
from vpdata.dataset import layout
from vpdata.dataset.run import Run, in_order, read_table
from vpdata.records import Reject
from vpdata.storage import Folder

T = TypeVar("T")


def stratified(items: Iterable[tuple[str, Hashable, T]], *, count: int, seed: int) -> list[T]:
    """At most `count` of the items (id, stratum, item), drawn in turns over the strata, in the order of drawing.

    Inside a stratum the order is that of a hash of seed and id, so it depends neither on the order of the items nor on
    the process, and a longer sample begins with the shorter one. Holds at most `count` items per stratum in memory.
    """
    pools: dict[Hashable, list[tuple[int, str, T]]] = {}
    for one, stratum, item in items:
        pool = pools.setdefault(stratum, [])
        entry = (-_draw(one, seed), one, item)
        if len(pool) < count:
            heapq.heappush(pool, entry)
        elif pool and entry > pool[0]:
            heapq.heapreplace(pool, entry)
    turns = [
        (turn, -key, item)
        for pool in pools.values()
        for turn, (key, _, item) in enumerate(sorted(pool, key=lambda entry: -entry[0]))
    ]
    return [item for _, _, item in sorted(turns, key=lambda entry: entry[:2])[:count]]


def sample_clips(folder: Folder, *, count: int, seed: int) -> list[str]:
    """Ids of clips of a packed run, spread over the label of the first object and the quartile of motion."""
    motion = np.concatenate(
        [np.empty(0), *(table["motion"].cast(pa.float64()).to_numpy() for table in _index(folder, ["motion"]))]
    )
    known = motion[~np.isnan(motion)]
    quartiles = np.quantile(known, (0.25, 0.5, 0.75)) if known.size else np.empty(0)

    def items() -> Iterator[tuple[str, Hashable, str]]:
        for table in _index(folder, ["id", "motion", "tracks.list.element.label"]):
            rows = zip(table["id"].to_pylist(), _first_labels(table), table["motion"].to_pylist(), strict=True)
            for one, label, value in rows:
                yield one, (label, None if value is None else int(np.searchsorted(quartiles, value))), one

    return stratified(items(), count=count, seed=seed)


def sample_rejects(run: Run, *, count: int, seed: int) -> list[Reject]:
    """Rejects of a run, spread over stage, reason and whether a clip or one track was dropped."""
    files = [place for stage in (*layout.STAGE_NAMES, layout.PACK) for place in run.reject_files(stage)]

    def read(place: tuple[Folder, str]) -> pa.Table:
        return read_table(*place, columns=["id", "stage", "reason", "track"])

    def items() -> Iterator[tuple[str, Hashable, tuple[int, int]]]:
        for number, table in enumerate(in_order(read, files)):
            for at, row in enumerate(table.to_pylist()):
                where = (row["stage"], row["reason"], row["track"])
                yield f"{row['id']} {where}", (*where[:2], row["track"] is None), (number, at)

    chosen = stratified(items(), count=count, seed=seed)
    found: dict[tuple[int, int], Reject] = {}
    for number in {number for number, _ in chosen}:
        rows = [at for other, at in chosen if other == number]
        folder, name = files[number]
        table = read_table(folder, name).take(rows)
        found |= {(number, at): one for at, one in zip(rows, codec.from_table(table, Reject), strict=True)}
    return [found[place] for place in chosen]


def _draw(one: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{one}".encode()).digest()[:8], "big")


def _index(folder: Folder, columns: list[str]) -> Iterator[pa.Table]:
    index = folder.child(layout.INDEX)
    return in_order(lambda name: read_table(index, name, columns=columns), index.names(".parquet"))


def _first_labels(table: pa.Table) -> list[str | None]:
    tracks = table["tracks"].combine_chunks()
    labels = tracks.flatten().field("label").to_pylist()
    stops: NDArray[np.int64] = np.cumsum(tracks.value_lengths().to_numpy())
    starts = stops - tracks.value_lengths().to_numpy()
    return [labels[start] if start < stop else None for start, stop in zip(starts, stops, strict=True)]
