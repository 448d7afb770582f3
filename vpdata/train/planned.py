"""The batches of one rank as the plan has them, loaded ahead on threads, with stand-ins for what cannot be used."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from vpdata.errors import ConfigError, RunError, StorageError, VpdataError
from vpdata.train.batch import Batch
from vpdata.train.plan import BatchPlan, Share

_log = logging.getLogger(__name__)

_MAX_ATTEMPTS = 16
"""Stand-ins that are tried for one sample; if none can be used, it is not the samples that are bad."""
RETRY_AFTER_S = (1.0, 5.0, 25.0)
"""Waits before reading a sample again where the storage failed: a training of weeks outlives a server that restarts."""
Sample = TypeVar("Sample")
Joined = TypeVar("Joined")
Job = TypeVar("Job")
Done = TypeVar("Done")


class UnusableSample(VpdataError):  # noqa: N818  it names an outcome, not a fault of ours
    """This window cannot be trained on; another one stands in for it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{detail}: {reason}")
        self.reason = reason


class SampleSource(Protocol[Sample, Joined]):
    """Where samples come from. `load` and `join` run on threads, `finish` on the caller's."""

    def load(self, window: int, *, ordinal: int) -> Sample:
        """One window; what is random in it derives from `ordinal` alone.

        UnusableSample, or RunError for damaged data, if another one should stand in.
        """
        ...

    def join(self, samples: Sequence[Sample], *, ordinals: Sequence[int]) -> Joined:
        """Samples of one bucket as a micro-batch."""
        ...

    def finish(self, joined: Joined) -> Batch:
        """What is left to do, for example on the GPU."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderSettings:
    """How samples are put into batches and how far ahead they are loaded."""

    batch_size: int = 8
    """Samples of one optimizer step, of all processes and accumulated micro-batches together."""
    micro_batch_size: int = 1
    """Samples that one process computes at a time."""
    shards_per_block: int = 16
    """Shards whose windows are shuffled among each other."""
    num_threads: int = 4
    """Threads that load, in each process."""
    num_ahead: int = 8
    """Micro-batches that are loaded, or being loaded, before they are asked for."""
    max_damaged_frac: float = 0.01
    """Share of a process's samples that may be damaged and replaced; with more, training stops. A few clips do not
    matter; a lost shard would take all of its clips out of what is learnt, and nobody would notice."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "micro_batch_size", "shards_per_block", "num_threads", "num_ahead"):
            if getattr(self, name) < 1:
                raise ValueError(f"got {name} {getattr(self, name)}, wanted 1 or more")
        if not 0 <= self.max_damaged_frac <= 1:
            raise ValueError(f"got max_damaged_frac {self.max_damaged_frac}, wanted 0 to 1")


class PlannedBatches(Generic[Sample, Joined]):
    """`Batches` of one rank.

    A sample that cannot be used is replaced by another of its bucket, so that every rank goes on with as many batches
    as the others; the stand-in follows from the seed and the ordinal.
    """

    def __init__(
        self,
        plan: BatchPlan,
        source: SampleSource[Sample, Joined],
        *,
        settings: LoaderSettings,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """ConfigError unless the processes and their micro-batches divide the batch."""
        at_once = settings.micro_batch_size * world_size
        if plan.batch_size % at_once:
            raise ConfigError(
                f"got a batch_size of {plan.batch_size}, wanted a multiple of {at_once}: micro-batches of "
                f"{settings.micro_batch_size} on {world_size} processes"
            )
        self.skipped: Counter[str] = Counter()
        self._num_samples = 0
        self._plan, self._source, self._settings = plan, source, settings
        self._rank, self._world_size = rank, world_size

    def num_steps(self, epoch: int) -> int:
        """See `Batches`."""
        return self._plan.num_steps(epoch)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[list[Batch]]:
        """See `Batches`. StorageError where the storage fails; RunError where nothing can stand in for a sample, or
        too many are damaged.
        """
        shares = self._plan.shares(epoch, start=start, rank=self._rank, world_size=self._world_size)
        size = self._settings.micro_batch_size
        num_micro_batches = self._plan.batch_size // self._world_size // size
        parts = (
            Share(share.windows[first : first + size], share.ordinals[first : first + size])
            for share in shares
            for first in range(0, len(share.windows), size)
        )
        step: list[Batch] = []
        for joined, skipped in ahead(
            self._load, parts, num_threads=self._settings.num_threads, num_ahead=self._settings.num_ahead
        ):
            # Counted here and not on the threads: what was loaded ahead of a stop is loaded and counted again.
            self.skipped.update(skipped)
            self._num_samples += size
            self._refuse_damage()
            step.append(self._source.finish(joined))
            if len(step) == num_micro_batches:
                yield step
                step = []

    def _refuse_damage(self) -> None:
        """RunError where too many of the samples so far were damaged; the first few say nothing of a share."""
        num_damaged, frac = self.skipped["damaged"], self._settings.max_damaged_frac
        if num_damaged > _MAX_ATTEMPTS + frac * self._num_samples:
            raise RunError(
                f"{num_damaged} of {self._num_samples} samples were damaged and replaced, more than "
                f"data.loader.max_damaged_frac {frac} allows; run `vpdata check` on the data"
            )

    def _load(self, share: Share) -> tuple[Joined, list[str]]:
        samples, skipped = [], []
        for window, ordinal in zip(share.windows, share.ordinals, strict=True):
            samples.append(self._usable(window, ordinal, skipped))
        return self._source.join(samples, ordinals=share.ordinals), skipped

    def _usable(self, window: int, ordinal: int, skipped: list[str]) -> Sample:
        """The window, or what stands in for it; the reasons for passing others over are appended to `skipped`."""
        for attempt in range(_MAX_ATTEMPTS):
            try:
                return self._read(window, ordinal)
            except (UnusableSample, RunError) as error:
                _log.warning("sample %d is replaced: %s", ordinal, error)
                skipped.append(error.reason if isinstance(error, UnusableSample) else "damaged")
                window = self._plan.replacement(window, ordinal=ordinal, attempt=attempt)
        raise RunError(
            f"got {_MAX_ATTEMPTS} samples in a row that cannot be used, the last time for the reason {skipped[-1]!r}; "
            "run `vpdata check` on the data"
        )

    def _read(self, window: int, ordinal: int) -> Sample:
        for wait_s in RETRY_AFTER_S:
            try:
                return self._source.load(window, ordinal=ordinal)
            except StorageError as error:
                _log.warning("reading sample %d again in %g s: %s", ordinal, wait_s, error)
                time.sleep(wait_s)
        return self._source.load(window, ordinal=ordinal)


def ahead(call: Callable[[Job], Done], jobs: Iterable[Job], *, num_threads: int, num_ahead: int) -> Iterator[Done]:
    """Results of `call` in the order of the jobs, at most `num_ahead` of them computed before they are asked for.

    An error of `call` is raised in its job's place. Closing the iterator waits for the calls that are running.
    """
    remaining = iter(jobs)
    queue: deque[Future[Done]] = deque()
    executor = ThreadPoolExecutor(num_threads, thread_name_prefix="samples")
    try:
        while True:
            while len(queue) < num_ahead and (job := next(remaining, None)) is not None:
                queue.append(executor.submit(call, job))
            if not queue:
                return
            yield queue.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)
