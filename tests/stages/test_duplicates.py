import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpdata.media.phash import NO_EVIDENCE, distance_frac
from vpdata.stages.duplicates import exact_duplicates, near_duplicates

A, B = "00000000ffffffff", "ffffffff00000000"


def naive(ids, phashes, max_distance_frac):
    """The rule as it is spoken: in id order, a clip is dropped if it is near an already kept one."""
    kept, dropped = [], {}
    for one, phash in sorted(zip(ids, phashes, strict=True)):
        near = [other for other, known in kept if distance_frac(phash, known) <= max_distance_frac]
        if near:
            dropped[one] = near[0]
        else:
            kept.append((one, phash))
    return dropped


def with_flips(word, rng):
    return word ^ sum(1 << bit for bit in rng.sample(range(64), rng.randint(0, 9)))


@st.composite
def runs(draw):
    """Ids and hashes of four frames in families: copies of a few originals with some bits flipped or frames black."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    originals = [[rng.getrandbits(64) | 1 for _ in range(4)] for _ in range(draw(st.integers(1, 4)))]
    phashes = []
    for _ in range(draw(st.integers(0, 20))):
        words = [with_flips(word, rng) for word in rng.choice(originals)]
        words = [0 if rng.random() < 0.25 else word for word in words]
        phashes.append("".join(f"{word:016x}" for word in words))
    ids = [f"clip-{number}" for number in rng.sample(range(1000), len(phashes))]
    return ids, phashes


@given(runs(), st.sampled_from([0.0, 1 / 64, 0.06, 0.1, 0.13]), st.sampled_from([3, 100]))
@settings(max_examples=60, deadline=None)
def test_equal_to_comparing_every_clip_with_every_kept_one(run, limit, block_size):
    ids, phashes = run
    assert near_duplicates(ids, phashes, max_distance_frac=limit, block_size=block_size) == naive(ids, phashes, limit)


def test_equal_to_the_naive_rule_over_several_blocks():
    rng = random.Random(7)
    originals = [rng.getrandbits(64) | 1 for _ in range(9000)]
    copies = [word ^ (1 << rng.randrange(64)) ^ (1 << rng.randrange(64)) for word in originals[::3]]
    ids = [f"{number:05d}" for number in range(12000)]
    phashes = [f"{word:016x}" for word in originals + copies]
    # 64 random bits are never within 6 of each other here, so each copy is near its original alone.
    want = {ids[9000 + at]: ids[3 * at] for at in range(3000)}
    assert near_duplicates(ids, phashes, max_distance_frac=0.1) == want


def test_order_of_the_arguments_does_not_matter():
    ids, phashes = ["c", "a", "b"], [A, A, B]
    assert near_duplicates(ids, phashes, max_distance_frac=0.1) == {"c": "a"}
    assert near_duplicates(ids[::-1], phashes[::-1], max_distance_frac=0.1) == {"c": "a"}


@pytest.mark.parametrize("block_size", [1, 100])
def test_a_dropped_clip_drops_nobody(block_size):
    chain = ["000000000000ffff", "00000000000fffff", "0000000000ffffff"]  # neighbours 4 bits apart, ends 8
    found = near_duplicates(["a", "b", "c"], chain, max_distance_frac=4 / 64, block_size=block_size)
    assert found == {"b": "a"}


@pytest.mark.parametrize("block_size", [1, 100])
def test_the_first_of_several_near_clips_is_named(block_size):
    # c lies 4 bits from a and from b, which are 8 apart.
    phashes = ["000000000000ffff", "0000000000ffffff", "00000000000fffff"]
    found = near_duplicates(["a", "b", "c"], phashes, max_distance_frac=4 / 64, block_size=block_size)
    assert found == {"c": "a"}


@pytest.mark.parametrize("block_size", [1, 100])
@pytest.mark.parametrize("num_bits", range(4))
def test_bits_spread_over_every_band_of_every_frame_are_found(num_bits, block_size):
    """The hardest pair for an index of bands: no frame and no band is any nearer than the whole."""
    flip = sum(1 << (16 * band + bit) for band in range(4) for bit in range(num_bits))
    phashes = [A * 4, f"{int(A, 16) ^ flip:016x}" * 4]
    limit = 4 * num_bits / 64
    assert near_duplicates(["a", "b"], phashes, max_distance_frac=limit, block_size=block_size) == {"b": "a"}
    if num_bits:
        assert near_duplicates(["a", "b"], phashes, max_distance_frac=limit - 0.001, block_size=block_size) == {}


def test_a_thousand_copies_cost_no_more_than_their_number():
    ids = [f"{number:04d}" for number in range(3000)]
    assert set(near_duplicates(ids, [A * 8] * 3000, max_distance_frac=0.1).values()) == {"0000"}


def test_black_clips_are_never_near():
    assert near_duplicates(["a", "b"], [NO_EVIDENCE * 8] * 2, max_distance_frac=0.25) == {}


def test_no_clips_give_no_duplicates():
    assert near_duplicates([], [], max_distance_frac=0.1) == {}


@pytest.mark.parametrize(
    ("ids", "phashes", "limit", "message"),
    [
        (["a", "b"], [A, A + B], 0.1, "b: got a phash of 32 digits, wanted 16"),
        (["a"], ["ffff"], 0.1, "a: got a phash of 4 digits"),
        (["a", "a"], [A, A], 0.1, "more than once"),
        (["a"], [A], 0.5, "wanted one in"),
        (["a"], [A], float("nan"), "wanted one in"),
    ],
)
def test_wrong_arguments_are_refused(ids, phashes, limit, message):
    with pytest.raises(ValueError, match=message):
        near_duplicates(ids, phashes, max_distance_frac=limit)


def test_of_videos_with_equal_bytes_the_lowest_id_is_kept():
    assert exact_duplicates(["c", "b", "a", "d"], ["x", "y", "x", "x"]) == {"c": "a", "d": "a"}
