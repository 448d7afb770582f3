"""Duplicates over a whole run: same bytes, and clips that look the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vpdata.media.phash import Words, distances_frac, words_of

MAX_DISTANCE_FRAC = 0.25
"""Largest distance that may be asked for; unrelated clips are about 0.5 apart."""

_BAND_BITS = 16
_BANDS_PER_FRAME = 64 // _BAND_BITS
_MAX_PAIRS = 1 << 21
"""Candidate pairs looked at in one go: bounds the memory to about 100 MB whatever the data."""

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Indices into the queries and, at equal positions, into the references."""


def exact_duplicates(ids: Sequence[str], content_hashes: Sequence[str]) -> dict[str, str]:
    """Dropped id -> kept id: of all videos with the same content hash the one with the lowest id is kept."""
    kept_of_hash: dict[str, str] = {}
    duplicates: dict[str, str] = {}
    for content_hash, one in sorted(zip(content_hashes, ids, strict=True)):
        kept = kept_of_hash.setdefault(content_hash, one)
        if kept != one:
            duplicates[one] = kept
    return duplicates


def near_duplicates(
    ids: Sequence[str], phashes: Sequence[str], *, max_distance_frac: float, block_size: int = 4096
) -> dict[str, str]:
    """Dropped id -> kept id: in id order, a clip is dropped if `phash.distance_frac` to a kept one is small enough.

    The kept clip named is the first such one; the order of the arguments does not matter. 0.1 finds copies that were
    encoded again, scaled, brightened or cropped by 2 %. `block_size` is how many clips are looked up at a time: it
    changes the cost and not the result. ValueError for repeated ids or for hashes of different length.

    Exact, not approximate: the mean over the frames is at most the limit only if some frame's distance is, and then, of
    its four bands of 16 bits, at least one differs in few enough bits to be looked up (multi-index hashing, Norouzi et
    al. 2012). Measured on one core with eight random frames a clip and a limit of 0.1: 20,000 clips 1 s, 100,000 5 s
    and 24 MB beside the arguments, a million 203 s and 236 MB. Beyond, time grows with the square of the number; a
    limit of 0.15 takes four times as long.
    """
    if not 0.0 <= max_distance_frac <= MAX_DISTANCE_FRAC:
        raise ValueError(f"got max_distance_frac {max_distance_frac}, wanted one in [0, {MAX_DISTANCE_FRAC}]")
    order = sorted(range(len(ids)), key=ids.__getitem__)
    names = [ids[row] for row in order]
    if len(set(names)) < len(names):
        raise ValueError("got an id more than once, wanted each clip once")
    words = words_of([phashes[row] for row in order], names)
    kept_near = _first_kept_near(words, max_distance_frac, block_size)
    return {names[row]: names[kept] for row, kept in enumerate(kept_near) if kept >= 0}


def _first_kept_near(words: Words, limit: float, block_size: int) -> NDArray[np.int64]:
    """For each clip the first kept one near it, or -1 for a clip that is kept itself."""
    num_clips = words.shape[1]
    kept_near = np.full(num_clips, -1, dtype=np.int64)
    kept = np.empty(0, dtype=np.int64)
    for start in range(0, num_clips, block_size):
        block = np.arange(start, min(start + block_size, num_clips))
        first = np.full(len(block), num_clips, dtype=np.int64)
        for query, reference in _near_pairs(words.take(block, axis=1), words.take(kept, axis=1), limit):
            np.minimum.at(first, query, kept[reference])
        known = first < num_clips
        kept_near[block[known]] = first[known]
        block = block[~known]
        kept_near[block] = _compare_in_turn(words.take(block, axis=1), block, limit)
        kept = np.concatenate([kept, block[kept_near[block] < 0]])
    return kept_near


def _compare_in_turn(words: Words, clips: NDArray[np.int64], limit: float) -> NDArray[np.int64]:
    """The greedy rule as it is spoken, within one block: for each of `clips` the first kept one near it, or -1."""
    kept_near = np.full(len(clips), -1, dtype=np.int64)
    for position, clip in enumerate(clips):
        if kept_near[position] < 0:
            later = slice(position + 1, None)
            near = np.flatnonzero(distances_frac(words[:, position, None], words[:, later]) <= limit) + position + 1
            kept_near[near[kept_near[near] < 0]] = clip
    return kept_near


def _near_pairs(queries: Words, references: Words, limit: float) -> Iterator[Pairs]:
    """All pairs within the limit, in pieces; a pair may come more than once."""
    max_frame_bits = int(limit * 64)
    flips = _flips(max_frame_bits // _BANDS_PER_FRAME)
    for query_words, reference_words in zip(queries, references, strict=True):
        asked, known = np.flatnonzero(query_words), np.flatnonzero(reference_words)
        asked_words, known_words = query_words[asked], reference_words[known]
        for band in range(_BANDS_PER_FRAME):
            for query, reference in _same_band(_band(asked_words, band), _band(known_words, band), flips):
                # Almost every candidate falls here, on one word, before whole hashes are gathered.
                close = np.bitwise_count(asked_words[query] ^ known_words[reference]) <= max_frame_bits
                query, reference = asked[query[close]], known[reference[close]]
                near = distances_frac(queries.take(query, axis=1), references.take(reference, axis=1)) <= limit
                yield query[near], reference[near]


def _same_band(asked: NDArray[np.uint16], known: NDArray[np.uint16], flips: NDArray[np.uint16]) -> Iterator[Pairs]:
    """Pairs whose bands differ by one of `flips`, at most about `_MAX_PAIRS` at a time."""
    by_value = np.argsort(known, kind="stable")
    starts = np.searchsorted(known[by_value], np.arange((1 << _BAND_BITS) + 1))
    for flip in flips:
        wanted = asked ^ flip
        counts = starts[wanted + np.int64(1)] - starts[wanted]
        ends = np.cumsum(counts)
        first = 0
        while first < len(asked):
            done = ends[first] - counts[first]
            last = max(first + 1, int(np.searchsorted(ends, done + _MAX_PAIRS, side="right")))
            piece = slice(first, last)
            query = np.repeat(np.arange(first, last), counts[piece])
            within = np.arange(len(query)) - np.repeat(ends[piece] - counts[piece] - done, counts[piece])
            yield query, by_value[starts[wanted[query]] + within]
            first = last


def _band(words: NDArray[np.uint64], band: int) -> NDArray[np.uint16]:
    return (words >> np.uint64(_BAND_BITS * band)).astype(np.uint16)


def _flips(max_bits: int) -> NDArray[np.uint16]:
    """All band values with at most `max_bits` bits set."""
    sets = (bits for num in range(max_bits + 1) for bits in combinations(range(_BAND_BITS), num))
    return np.array([sum(1 << bit for bit in bits) for bits in sets], dtype=np.uint16)
