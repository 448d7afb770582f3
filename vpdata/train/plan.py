"""Which windows are in which batch: a pure function of the index, the seed and the epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vpdata.errors import ConfigError

IntArray = NDArray[np.int64]
_Purpose = Literal["shards", "windows", "places", "replacement"]
_DRAWS_PER_JUMP = 200
"""About how many numbers a generator draws in the time in which it jumps over any number of them."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one rank takes of one global batch."""

    windows: tuple[int, ...]
    """Positions of the windows in the index."""
    ordinals: tuple[int, ...]
    """Place of each in the whole training, counted over all epochs and ranks."""


class BatchPlan:
    """The order of a training: every batch of one bucket, every window once in a pass.

    Each bucket is a stream of passes, one after another, and its batches are cut from the stream without regard to
    where a pass ends. So no window is left out because a bucket does not divide into batches, and none comes again
    before all others of its bucket have come. An epoch is made of the batches that start in its pass.

    In a pass the shards are shuffled, and then the windows within each block of shards, so that what is read close in
    time lies close on disk. All buckets go through the shards in the same order and are spread over the whole epoch.

    Global batches know nothing of ranks: the world may have another size after a restart.
    """

    def __init__(
        self, buckets: IntArray, shards: IntArray, *, seed: int, batch_size: int, shards_per_block: int = 16
    ) -> None:
        """`buckets` and `shards`: numbers `[num_windows]`, see `numbered`. `batch_size` is that of all ranks together.

        ConfigError where there is no window.
        """
        if not len(buckets):
            raise ConfigError("got no windows to train on; is the split empty, or are all clips too short?")
        self.batch_size = batch_size
        self._seed, self._shards_per_block = seed, shards_per_block
        self._buckets, self._shards = buckets, shards
        self._members = _members_of_buckets(buckets)

    def num_steps(self, epoch: int) -> int:
        """Global batches of an epoch; it varies by one for every bucket that does not divide."""
        return self._first_step(epoch + 1) - self._first_step(epoch)

    def global_batches(self, epoch: int) -> IntArray:
        """Positions of windows `[num_steps, batch_size]`."""
        batches, places = [], []
        for bucket in range(len(self._members)):
            first, stop = (self._first_batch(bucket, one) for one in (epoch, epoch + 1))
            batches.append(self._cut(bucket, first, stop))
            # In turn within a bucket, and evenly among the others: batch k of n anywhere in [k/n, (k+1)/n).
            jitter = _random(self._seed, "places", epoch, bucket, size=stop - first) / 2.0**64
            places.append((np.arange(stop - first) + jitter) / max(stop - first, 1))
        return np.concatenate(batches)[np.argsort(np.concatenate(places), kind="stable")]

    def shares(self, epoch: int, *, start: int = 0, rank: int = 0, world_size: int = 1) -> Iterator[Share]:
        """What a rank takes of each global batch of an epoch, from the batch `start` on.

        ConfigError unless the batch size divides by the world size.
        """
        if self.batch_size % world_size:
            raise ConfigError(
                f"got a batch size of {self.batch_size} for {world_size} processes, wanted a multiple: "
                "it counts the samples of all processes together"
            )
        first_step = self._first_step(epoch)
        for step, windows in enumerate(self.global_batches(epoch)[start:].tolist(), start=first_step + start):
            ordinals = range(step * self.batch_size, (step + 1) * self.batch_size)
            yield Share(tuple(windows[rank::world_size]), tuple(ordinals[rank::world_size]))

    def replacement(self, window: int, *, ordinal: int, attempt: int) -> int:
        """Which window of the same bucket stands in for one that cannot be used, the same at every world size."""
        members = self._members[self._buckets[window]]
        return int(members[int(_random(self._seed, "replacement", ordinal, attempt, size=1)[0]) % len(members)])

    def _first_step(self, epoch: int) -> int:
        return sum(self._first_batch(bucket, epoch) for bucket in range(len(self._members)))

    def _first_batch(self, bucket: int, epoch: int) -> int:
        """The first batch of a bucket's stream that starts in the pass `epoch` or later."""
        return -(-epoch * len(self._members[bucket]) // self.batch_size)

    def _cut(self, bucket: int, first: int, stop: int) -> IntArray:
        """Batches `first` to `stop` of a bucket's stream."""
        size = len(self._members[bucket])
        start, end = first * self.batch_size, stop * self.batch_size
        passes = [self._ordered(bucket, one) for one in range(start // size, -(-end // size))]
        stream = np.concatenate([*passes, np.empty(0, dtype=np.int64)])
        offset = start // size * size
        return stream[start - offset : end - offset].reshape(-1, self.batch_size)

    def _ordered(self, bucket: int, number: int) -> IntArray:
        """The windows of a bucket in the order of the pass `number`.

        A bucket of few windows goes through many passes in an epoch, so no others are sorted with it.
        """
        members = self._members[bucket]
        num_shards = int(self._shards.max()) + 1
        rank_of_shard = np.argsort(np.argsort(_random(self._seed, "shards", number, size=num_shards)))
        blocks = rank_of_shard[self._shards[members]] // self._shards_per_block
        draws = _random_at(members, self._seed, "windows", number)
        return members[np.lexsort((draws, blocks))]


def numbered(*columns: pa.ChunkedArray) -> IntArray:
    """One number per row, equal where all columns are equal; numbers count from 0 without gaps."""
    numbers = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        codes = column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
        numbers = np.unique(numbers * len(codes) + codes, return_inverse=True)[1]
    return numbers


def _members_of_buckets(buckets: IntArray) -> list[IntArray]:
    order = np.argsort(buckets, kind="stable")
    return np.split(order, np.cumsum(np.bincount(buckets))[:-1])


def _random(seed: int, purpose: _Purpose, *path: int, size: int) -> NDArray[np.uint64]:
    """Raw output of a generator whose stream numpy promises to keep, unlike that of its `Generator`."""
    return _generator(seed, purpose, *path).random_raw(size)


def _random_at(positions: IntArray, seed: int, purpose: _Purpose, *path: int) -> NDArray[np.uint64]:
    """What stands at these positions, in rising order, of the output of `_random`."""
    if len(positions) * _DRAWS_PER_JUMP > positions[-1]:
        return _random(seed, purpose, *path, size=int(positions[-1]) + 1)[positions]
    generator = _generator(seed, purpose, *path)
    jumps = np.diff(positions, prepend=-1) - 1
    return np.array([generator.advance(jump).random_raw() for jump in jumps.tolist()], dtype=np.uint64)


def _generator(seed: int, purpose: _Purpose, *path: int) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence([seed, get_args(_Purpose).index(purpose), *path]))
