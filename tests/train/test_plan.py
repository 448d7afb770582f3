import time
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpdata.errors import ConfigError
from vpdata.train.plan import BatchPlan, numbered

GOLDEN = [[10, 12, 8, 14], [11, 15, 9, 13], [4, 6, 2, 0], [7, 5, 1, 3]]


def plan_of(buckets, *, batch_size=8, seed=0, windows_per_shard=4, shards_per_block=2):
    buckets = np.array(buckets)
    shards = np.arange(len(buckets)) // windows_per_shard
    return BatchPlan(buckets, shards, seed=seed, batch_size=batch_size, shards_per_block=shards_per_block)


def taken(plan, *, epochs=1, world_size=1):
    """(window, ordinal) of all ranks for each global batch, put together from what the ranks take."""
    batches = []
    for epoch in range(epochs):
        ranks = [plan.shares(epoch, rank=rank, world_size=world_size) for rank in range(world_size)]
        for shares in zip(*ranks, strict=True):
            batches.append(
                sorted((o, w) for share in shares for w, o in zip(share.windows, share.ordinals, strict=True))
            )
    return batches


bucket_lists = st.lists(st.integers(0, 3), min_size=1, max_size=60).map(
    lambda values: np.unique(values, return_inverse=True)[1].tolist()
)


@settings(max_examples=60, deadline=None)
@given(buckets=bucket_lists, seed=st.integers(0, 1000), epochs=st.integers(1, 4))
def test_world_sizes_take_the_same_global_batches(buckets, seed, epochs):
    one = taken(plan_of(buckets, seed=seed), epochs=epochs)
    for world_size in (2, 4, 8):
        assert taken(plan_of(buckets, seed=seed), epochs=epochs, world_size=world_size) == one


@settings(max_examples=100, deadline=None)
@given(buckets=bucket_lists, batch_size=st.integers(1, 9), epochs=st.integers(1, 4))
def test_no_window_is_lost_or_comes_twice_before_the_others_of_its_bucket(buckets, batch_size, epochs):
    plan = plan_of(buckets, batch_size=batch_size)
    counts = Counter(window for batch in taken(plan, epochs=epochs) for _, window in batch)
    for bucket in set(buckets):
        own = [counts[window] for window, one in enumerate(buckets) if one == bucket]
        # Whole passes, and the batch that reaches over the end of the last one.
        assert min(own) >= epochs
        assert max(own) - min(own) <= 1
        assert sum(own) - epochs * len(own) < batch_size


def test_an_epoch_that_divides_into_batches_has_every_window_once():
    buckets = [0] * 16 + [1] * 32 + [2] * 8
    for world_size in (1, 2, 4, 8):
        for epoch in range(3):
            plan = plan_of(buckets)
            windows = []
            for rank in range(world_size):
                for share in plan.shares(epoch, rank=rank, world_size=world_size):
                    assert len(share.windows) == 8 // world_size
                    windows += share.windows
            assert sorted(windows) == list(range(56))


@settings(max_examples=60, deadline=None)
@given(buckets=bucket_lists, batch_size=st.integers(1, 9))
def test_a_batch_is_of_one_bucket(buckets, batch_size):
    for batch in taken(plan_of(buckets, batch_size=batch_size), epochs=3):
        assert len({buckets[window] for _, window in batch}) == 1


@settings(max_examples=60, deadline=None)
@given(buckets=bucket_lists, stops=st.tuples(st.floats(0, 1), st.floats(0, 1)), world_sizes=st.permutations([1, 2, 4]))
def test_two_resumes_within_an_epoch_lose_nothing(buckets, stops, world_sizes):
    whole = taken(plan_of(buckets))
    first, second = sorted(round(stop * len(whole)) for stop in stops)
    pieces = []
    for (start, stop), world_size in zip([(0, first), (first, second), (second, len(whole))], world_sizes, strict=True):
        plan = plan_of(buckets)
        ranks = [list(plan.shares(0, start=start, rank=rank, world_size=world_size)) for rank in range(world_size)]
        for shares in list(zip(*ranks, strict=True))[: stop - start]:
            pieces.append(
                sorted((o, w) for share in shares for w, o in zip(share.windows, share.ordinals, strict=True))
            )
    assert pieces == whole


@settings(max_examples=60, deadline=None)
@given(buckets=bucket_lists, batch_size=st.integers(1, 9))
def test_ordinals_count_the_whole_training(buckets, batch_size):
    plan = plan_of(buckets, batch_size=batch_size)
    ordinals = [ordinal for batch in taken(plan, epochs=4) for ordinal, _ in batch]
    assert ordinals == list(range(len(ordinals)))
    assert len(ordinals) == batch_size * sum(plan.num_steps(epoch) for epoch in range(4))


def test_seeds_and_epochs_have_orders_of_their_own():
    buckets = [0] * 64
    orders = {
        tuple(plan_of(buckets, seed=seed).global_batches(epoch).ravel()) for seed in range(3) for epoch in range(3)
    }
    assert len(orders) == 9


def test_a_block_of_shards_is_finished_before_the_next():
    windows = plan_of([0] * 96, windows_per_shard=8, shards_per_block=3).global_batches(0).ravel()
    shards = windows // 8
    blocks = [set(shards[first : first + 24]) for first in range(0, 96, 24)]
    assert [len(block) for block in blocks] == [3, 3, 3, 3]
    assert set.union(*blocks) == set(range(12))
    # Inside a block the shards are mixed.
    assert len(set(shards[:8])) > 1


def test_small_buckets_are_spread_over_the_epoch():
    plan = plan_of([0] * 800 + [1] * 80)
    places = [place for place, batch in enumerate(plan.global_batches(0)) if batch[0] >= 800]
    assert len(places) == 10
    assert all(place // 11 == index for index, place in enumerate(places))


def test_fewer_windows_than_a_batch_are_repeated_over_epochs():
    plan = plan_of([0] * 3)
    assert [plan.num_steps(epoch) for epoch in range(4)] == [1, 0, 1, 0]
    (batch,) = plan.global_batches(0)
    assert Counter(Counter(batch.tolist()).values()) == Counter({3: 2, 2: 1})
    assert plan.global_batches(1).shape == (0, 8)


def test_a_replacement_is_of_the_same_bucket_and_follows_from_the_ordinal():
    buckets = [0] * 20 + [1] * 20
    plan, other = plan_of(buckets), plan_of(buckets)
    drawn = [plan.replacement(25, ordinal=ordinal, attempt=0) for ordinal in range(50)]
    assert drawn == [other.replacement(25, ordinal=ordinal, attempt=0) for ordinal in range(50)]
    assert min(drawn) >= 20
    assert len(set(drawn)) > 10
    assert len({plan.replacement(25, ordinal=7, attempt=attempt) for attempt in range(20)}) > 5


def test_a_seed_goes_on_meaning_the_same_order():
    """As first planned: whoever changes it makes every training that is resumed lose its place."""
    assert plan_of([0, 1] * 8, batch_size=4).global_batches(0).tolist() == GOLDEN


def test_each_bucket_has_its_part_of_an_order_of_all_windows():
    """As first planned, where each pass was an order of all windows; written here anew from its definition."""
    rng = np.random.default_rng(0)
    buckets = rng.choice([0, 1, 2], size=3000, p=[0.6, 0.399, 0.001])
    members = [np.flatnonzero(buckets == bucket) for bucket in range(3)]
    assert 0 < len(members[2]) < 8
    plan = plan_of(buckets, batch_size=64, seed=5, windows_per_shard=7, shards_per_block=3)
    batches = np.concatenate([plan.global_batches(epoch) for epoch in range(2)])
    for bucket, own in enumerate(members):
        stream = batches[buckets[batches[:, 0]] == bucket].ravel()
        assert len(stream) >= len(own)
        for number in range(-(-len(stream) // len(own))):
            shards, windows = (
                np.random.PCG64(np.random.SeedSequence([5, purpose, number])).random_raw(size)
                for purpose, size in ((0, 429), (1, 3000))
            )
            place = {shard: place // 3 for place, shard in enumerate(np.argsort(shards).tolist())}
            order = sorted(range(3000), key=lambda one: (place[one // 7], windows[one]))
            wanted = [window for window in order if buckets[window] == bucket]
            got = stream[number * len(own) : (number + 1) * len(own)]
            assert got.tolist() == wanted[: len(got)]


def test_the_passes_of_a_small_bucket_sort_no_other(monkeypatch):
    lengths, lexsort = [], np.lexsort
    monkeypatch.setattr(np, "lexsort", lambda keys: lengths.append(len(keys[0])) or lexsort(keys))
    plan = plan_of([0] * 3 + [1] * 8000, batch_size=512)
    assert len(plan.global_batches(0)) == 17
    # A batch of the three takes 171 passes of theirs, and those of the others begin a second one.
    assert sum(lengths) == 171 * 3 + 2 * 8000


def test_a_batch_that_the_processes_do_not_divide_is_refused():
    with pytest.raises(ConfigError, match="batch size of 8 for 3 processes"):
        next(plan_of([0] * 16).shares(0, rank=0, world_size=3))


def test_no_windows_are_refused():
    with pytest.raises(ConfigError, match="no windows"):
        plan_of([])


def test_equal_rows_have_equal_numbers():
    frames = pa.chunked_array([[49, 25], [49, 49]])
    fps = pa.chunked_array([["8/1", "8/1", "12/1", "8/1"]])
    numbers = numbered(frames, fps)
    assert numbers[0] == numbers[3]
    assert sorted(set(numbers.tolist())) == [0, 1, 2]
    assert numbered(frames).tolist() == [0, 1, 0, 0]


def test_390_000_windows_are_planned_in_about_a_second():
    rng = np.random.default_rng(0)
    frames = pa.chunked_array([rng.choice([25, 49], size=390_000)])
    fps = pa.chunked_array([pa.array(["8/1"] * 390_000)])
    shards = pa.chunked_array([pa.array([f"latents-{window // 64:06d}.tar" for window in range(390_000)])])
    start_s = time.process_time()
    plan = BatchPlan(numbered(frames, fps), numbered(shards), seed=0, batch_size=8)
    assert len(plan.global_batches(0)) == plan.num_steps(0)
    assert time.process_time() - start_s < 2
