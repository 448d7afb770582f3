import threading
import time
from collections import Counter

import numpy as np
import pytest
import torch

from vpdata.errors import ConfigError, RunError, StorageError
from vpdata.train import planned
from vpdata.train.batch import Batch
from vpdata.train.plan import BatchPlan
from vpdata.train.planned import LoaderSettings, PlannedBatches, UnusableSample, ahead

NUM_WINDOWS = 24


class Numbers:
    """Samples that are the number of their window; some are bad in the ways that data is."""

    def __init__(self, *, empty=(), damaged=(), unreadable=()):
        self.empty, self.damaged, self.unreadable = empty, damaged, unreadable
        self.finished_on = set()

    def load(self, window, *, ordinal):
        if window in self.empty:
            raise UnusableSample("empty mask", f"window {window}")
        if window in self.damaged:
            raise RunError(f"window {window} is no safetensors file")
        if window in self.unreadable:
            raise StorageError(f"cannot read window {window}")
        return window

    def join(self, samples, *, ordinals):
        return list(samples), tuple(ordinals)

    def finish(self, joined):
        self.finished_on.add(threading.current_thread())
        windows, ordinals = joined
        video = torch.tensor(windows)
        names = tuple(map(str, windows))
        return Batch(
            video=video,
            masked=video,
            packed_mask=video,
            text=video,
            ordinals=ordinals,
            clip_ids=names,
            mask_kinds=names,
        )


def batches_of(source, *, rank=0, world_size=1, micro_batch_size=2, num_windows=NUM_WINDOWS, num_threads=3):
    settings = LoaderSettings(batch_size=8, micro_batch_size=micro_batch_size, num_threads=num_threads, num_ahead=4)
    plan = BatchPlan(np.zeros(num_windows, dtype=np.int64), np.arange(num_windows) // 4, seed=0, batch_size=8)
    return PlannedBatches(plan, source, settings=settings, rank=rank, world_size=world_size)


def seen(batches, epoch=0, start=0):
    """Per step the samples by ordinal."""
    steps = []
    for step in batches.epoch(epoch, start=start):
        pairs = [pair for batch in step for pair in zip(batch.ordinals, batch.video.tolist(), strict=True)]
        steps.append(dict(pairs))
    return steps


def test_steps_are_made_of_micro_batches_in_the_order_of_the_plan():
    source = Numbers()
    steps = list(batches_of(source).epoch(0))
    assert [[batch.ordinals for batch in step] for step in steps[:2]] == [
        [(0, 1), (2, 3), (4, 5), (6, 7)],
        [(8, 9), (10, 11), (12, 13), (14, 15)],
    ]
    assert sorted(int(window) for step in steps for batch in step for window in batch.video) == list(range(NUM_WINDOWS))
    assert source.finished_on == {threading.current_thread()}


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_take_the_same_samples_together_as_one_process_alone(world_size):
    bad = {"empty": {1, 5, 17}, "damaged": {2}}
    alone = batches_of(Numbers(**bad))
    ranks = [batches_of(Numbers(**bad), rank=rank, world_size=world_size) for rank in range(world_size)]
    wanted, counts = seen(alone), []
    together = [seen(rank) for rank in ranks]
    for step in zip(*together, strict=True):
        counts.append({len(share) for share in step})
        assert {ordinal: window for share in step for ordinal, window in share.items()} == wanted.pop(0)
    assert counts == [{8 // world_size}] * 3
    assert sum((rank.skipped for rank in ranks), start=alone.skipped - alone.skipped) == alone.skipped


def test_samples_that_cannot_be_used_are_replaced_and_counted():
    batches = batches_of(Numbers(empty={3}, damaged={4, 5}))
    steps = seen(batches)
    windows = [window for step in steps for window in step.values()]
    assert len(windows) == NUM_WINDOWS
    assert not {3, 4, 5} & set(windows)
    assert set(range(NUM_WINDOWS)) - {3, 4, 5} <= set(windows)
    # A stand-in may be a bad one itself, and is replaced too.
    assert batches.skipped["empty mask"] >= 1
    assert batches.skipped["damaged"] >= 2
    assert seen(batches_of(Numbers(empty={3}, damaged={4, 5}))) == steps


def test_resuming_gives_the_same_samples_and_counts_none_that_were_not_handed_out():
    whole = seen(batches_of(Numbers(empty={3})))
    batches = batches_of(Numbers(empty={3}))
    stopped = batches.epoch(0)
    first = next(stopped)
    stopped.close()
    handed_out = {int(window) for batch in first for window in batch.video}
    assert handed_out == set(whole[0].values())
    assert seen(batches_of(Numbers(empty={3})), start=1) == whole[1:]
    resumed = batches_of(Numbers(empty={3}))
    seen(resumed, start=1)
    everything = batches_of(Numbers(empty={3}))
    seen(everything)
    assert batches.skipped + resumed.skipped == everything.skipped


class Passing(Numbers):
    """Each window can be read at the third attempt."""

    def load(self, window, *, ordinal):
        self.unreadable = {window} if self.attempts[window] < 2 else set()
        self.attempts[window] += 1
        return super().load(window, ordinal=ordinal)


def test_storage_that_fails_for_a_while_is_read_again(monkeypatch):
    monkeypatch.setattr(planned, "RETRY_AFTER_S", (0.0, 0.0, 0.0))
    source = Passing()
    source.attempts = Counter()
    batches = batches_of(source, num_threads=1)
    assert seen(batches) == seen(batches_of(Numbers()))
    assert not batches.skipped


def test_storage_that_fails_stops_in_place_of_its_sample(monkeypatch):
    monkeypatch.setattr(planned, "RETRY_AFTER_S", (0.0, 0.0, 0.0))
    batches = batches_of(Numbers(unreadable={int(seen(batches_of(Numbers()))[1][8])})).epoch(0)
    next(batches)
    with pytest.raises(StorageError, match="cannot read window"):
        next(batches)


def test_data_that_is_bad_throughout_is_an_error_and_not_an_endless_search():
    with pytest.raises(RunError, match=r"16 samples in a row .* 'damaged'"):
        next(batches_of(Numbers(damaged=range(NUM_WINDOWS))).epoch(0))


def test_shard_that_is_lost_stops_the_training():
    # A third of the windows: each pass replaces about twelve samples, stand-ins included.
    batches = batches_of(Numbers(damaged=range(8)))
    with pytest.raises(RunError, match=r"\d+ of \d+ samples were damaged .*max_damaged_frac 0\.01 allows"):
        [seen(batches, epoch) for epoch in range(4)]
    assert batches.skipped["damaged"] > 16


def test_few_damaged_samples_among_many_do_not_stop_the_training():
    batches = batches_of(Numbers(damaged={5}, empty={1, 2}))
    for epoch in range(10):
        seen(batches, epoch)
    assert batches.skipped["damaged"] >= 10


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ConfigError, match=r"batch_size of 8, wanted a multiple of 6: micro-batches of 2 on 3 proc"):
        batches_of(Numbers(), world_size=3)
    with pytest.raises(ValueError, match="num_ahead 0"):
        LoaderSettings(num_ahead=0)


def test_jobs_ahead_are_bounded_and_results_in_order():
    started, finished = [], []

    def call(job):
        started.append(job)
        time.sleep(0.002 * (job % 3))
        finished.append(job)
        return job

    results = ahead(call, range(30), num_threads=4, num_ahead=5)
    taken = []
    for result in results:
        taken.append(result)
        time.sleep(0.003)
        # One is in the caller's hands.
        assert len(started) <= len(taken) + 5
    assert taken == list(range(30))
    assert max(started) == 29


def test_an_error_comes_in_its_jobs_place_and_stops_the_others():
    started = []

    def call(job):
        started.append(job)
        if job == 3:
            raise StorageError("the disk is gone")
        return job

    results = ahead(call, range(1000), num_threads=2, num_ahead=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(StorageError):
        next(results)
    assert len(started) <= 8


def test_closing_waits_for_the_threads():
    before = threading.active_count()
    results = ahead(lambda job: time.sleep(0.01), range(100), num_threads=3, num_ahead=6)
    next(results)
    results.close()
    assert threading.active_count() == before
