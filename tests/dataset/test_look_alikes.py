"""Look-alikes of many clips at once are those that comparing pair by pair gives."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from vpdata.dataset.look_alikes import Looks, look_alikes
from vpdata.media.phash import NO_EVIDENCE, distance_frac

LIMITS = {"max_distance_frac": 0.2, "min_cosine": 0.9}
FRAMES = [f"{value:016x}" for value in np.random.default_rng(0).integers(1 << 62, size=8).tolist()]


def flipped(phash: str, num_bits: int) -> str:
    """The hash with its first bits turned."""
    return f"{int(phash, 16) ^ ((1 << num_bits) - 1) << (4 * len(phash) - num_bits):0{len(phash)}x}"


def text(vector) -> str:
    unit = np.asarray(vector, dtype=float) / np.linalg.norm(vector)
    return base64.b64encode(unit.astype("<f2").tobytes()).decode()


def test_distances_are_those_of_pairs_and_the_limit_is_included():
    phash = "".join(FRAMES)
    others = [Looks(id=f"c{bits}", phash=flipped(phash, bits)) for bits in (0, 50, 102, 103, 256)]
    found = list(
        look_alikes(others, [Looks(id="far", phash=flipped(phash, 512)), Looks(id="k", phash=phash)], **LIMITS)
    )
    # 0.2 of the 512 bits are 102.4.
    assert [(one.id, one.like) for one in found] == [("c0", "k"), ("c50", "k"), ("c102", "k")]
    assert [one.distance_frac for one in found] == [distance_frac(phash, flipped(phash, bits)) for bits in (0, 50, 102)]
    assert all(one.cosine is None for one in found)


def test_frames_without_evidence_prove_nothing():
    black = NO_EVIDENCE * 8
    assert not list(look_alikes([Looks(id="a", phash=black)], [Looks(id="b", phash=black)], **LIMITS))
    half = "".join([*FRAMES[:4], *[NO_EVIDENCE] * 4])
    (found,) = look_alikes([Looks(id="a", phash=half)], [Looks(id="b", phash="".join(FRAMES))], **LIMITS)
    assert found.distance_frac == 0


def test_embeddings_find_what_hashes_do_not_and_clips_without_one_are_compared_by_hash():
    phash = "".join(FRAMES)
    far = flipped(phash, 256)
    held = [Looks(id="bare", phash=far), Looks(id="h", phash=phash, embedding=text([1, 0, 0]))]
    clips = [
        Looks(id="near", phash=flipped(phash, 400), embedding=text([10, 1, 0])),
        Looks(id="apart", phash=flipped(phash, 512), embedding=text([1, 1, 0])),
        Looks(id="plain", phash=flipped(far, 20)),
    ]
    near, plain = look_alikes(clips, held, **LIMITS)
    assert (near.id, near.like) == ("near", "h")
    assert near.cosine == pytest.approx(10 / np.sqrt(101), abs=1e-3)
    assert (plain.id, plain.like, plain.cosine) == ("plain", "bare", None)


def test_nothing_is_like_nothing():
    one = [Looks(id="a", phash="".join(FRAMES))]
    assert not list(look_alikes([], one, **LIMITS))
    assert not list(look_alikes(one, [], **LIMITS))
