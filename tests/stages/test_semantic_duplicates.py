from __future__ import annotations

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest

from vpdata.stages.semantic_duplicates import from_text, semantic_duplicates, to_text


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """float16 [N, D] of unit length, as runs store them."""
    return from_text([to_text(vector) for vector in vectors])


def at_angles(*degrees: float) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return unit_vectors(np.stack([np.cos(radians), np.sin(radians)], axis=1))


def families(num_families: int, num_clips: int, *, spread: float, num_values: int = 24) -> tuple[list[str], np.ndarray]:
    """Ids in random order, and vectors around a few centres."""
    rng = np.random.default_rng(num_clips)
    centres = rng.standard_normal((num_families, num_values))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors = centres[rng.integers(num_families, size=num_clips)] + spread * rng.standard_normal(
        (num_clips, num_values)
    )
    ids = [f"clip-{number:04d}" for number in rng.permutation(num_clips)]
    return ids, unit_vectors(vectors)


def spoken_rule(ids, embeddings, min_cosine: float) -> dict[str, str]:
    """The greedy rule, pair by pair, in fractions."""
    exact = {one: [Fraction(float(value)) for value in vector] for one, vector in zip(ids, embeddings, strict=True)}
    length = {one: sqrt(sum(value * value for value in vector)) for one, vector in exact.items()}
    kept, dropped = [], {}
    for one in sorted(ids):
        for other in kept:
            product = float(sum(a * b for a, b in zip(exact[one], exact[other], strict=True)))
            if product >= min_cosine * (length[one] * length[other]):
                dropped[one] = other
                break
        else:
            kept.append(one)
    return dropped


def test_clip_near_a_kept_one_is_dropped():
    assert semantic_duplicates(["a", "b", "c"], at_angles(0, 90, 5), min_cosine=0.95) == {"c": "a"}


def test_clip_near_a_dropped_one_only_is_kept():
    # 15 degrees apart, of which the cosine is 0.966: b is near a, and c is near b alone.
    assert semantic_duplicates(["a", "b", "c"], at_angles(0, 15, 30), min_cosine=0.95) == {"b": "a"}


def test_first_kept_clip_is_named():
    assert semantic_duplicates(["a", "b", "c"], at_angles(0, 30, 15), min_cosine=0.95) == {"c": "a"}


def test_order_of_the_arguments_does_not_matter():
    assert semantic_duplicates(["c", "b", "a"], at_angles(30, 15, 0), min_cosine=0.95) == {"b": "a"}


@pytest.mark.parametrize("min_cosine", [0.7, 0.9, 1.0])
@pytest.mark.parametrize("spread", [0.02, 0.1])
def test_result_is_that_of_the_rule_as_it_is_spoken(min_cosine, spread):
    ids, embeddings = families(8, 90, spread=spread)
    wanted = spoken_rule(ids, embeddings, min_cosine)
    assert semantic_duplicates(ids, embeddings, min_cosine=min_cosine, block_size=16) == wanted


@pytest.mark.parametrize("block_size", [1, 7, 64, 299, 300, 4096])
def test_block_size_changes_nothing(block_size):
    ids, embeddings = families(20, 300, spread=0.06)
    wanted = semantic_duplicates(ids, embeddings, min_cosine=0.93)
    assert 20 < len(wanted) < 290
    assert semantic_duplicates(ids, embeddings, min_cosine=0.93, block_size=block_size) == wanted


@pytest.mark.parametrize("block_size", [1, 2, 4096])
def test_limit_is_met_to_the_last_bit(block_size):
    # (3, 4) / 5 and (1, 0), whose lengths in float16 are not quite 1: the cosine that float64 gives, and the next one.
    pair = unit_vectors(np.array([[3.0, 4.0], [1.0, 0.0]]))
    a = pair[0].astype(np.float64)
    cosine = float(a[0] / np.sqrt(a @ a))
    assert semantic_duplicates(["a", "b"], pair, min_cosine=cosine, block_size=block_size) == {"b": "a"}
    above = np.nextafter(cosine, 1)
    assert semantic_duplicates(["a", "b"], pair, min_cosine=above, block_size=block_size) == {}


def test_equal_clips_leave_one():
    embeddings = np.repeat(at_angles(40), 500, axis=0)
    ids = [f"{number:03d}" for number in range(500)]
    wanted = dict.fromkeys(ids[1:], "000")
    assert semantic_duplicates(ids, embeddings, min_cosine=0.999, block_size=64) == wanted


def test_nothing_is_dropped_of_nothing():
    assert semantic_duplicates([], from_text([]), min_cosine=0.9) == {}
    assert semantic_duplicates(["a"], at_angles(0), min_cosine=0.9) == {}


def test_text_holds_the_direction_of_a_vector():
    vector = np.array([3.0, 0.0, -4.0], dtype=np.float32)
    assert to_text(vector) == to_text(7 * vector)
    np.testing.assert_allclose(from_text([to_text(vector)]), [[0.6, 0.0, -0.8]], atol=5e-4)
    # 0.6, 0 and -0.8 in half precision are 0x38cd, 0x0000 and 0xba66; little-endian, in base64.
    assert to_text(vector) == "zTgAAGa6"


@pytest.mark.parametrize(
    ("ids", "embeddings", "min_cosine", "message"),
    [
        (["a", "a"], at_angles(0, 1), 0.9, "more than once"),
        (["a"], at_angles(0, 1), 0.9, r"wanted float16 \[1, D\]"),
        (["a"], at_angles(0).astype(np.float32), 0.9, "float32"),
        (["a"], at_angles(0) * np.float16(0), 0.9, "length 0"),
        (["a"], at_angles(0) * np.float16(np.nan), 0.9, "length nan"),
        (["a"], at_angles(0), 0.2, "min_cosine"),
        (["a"], at_angles(0), 1.1, "min_cosine"),
    ],
)
def test_wrong_arguments_are_named(ids, embeddings, min_cosine, message):
    with pytest.raises(ValueError, match=message):
        semantic_duplicates(ids, embeddings, min_cosine=min_cosine)


def test_embeddings_of_two_models_do_not_mix():
    with pytest.raises(ValueError, match="different lengths"):
        from_text([to_text(np.ones(2)), to_text(np.ones(3))])
