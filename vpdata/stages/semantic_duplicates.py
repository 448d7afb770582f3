"""Near-duplicates by meaning over a whole run: clips whose embeddings point the same way."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MIN_COSINE = 0.5
"""Smallest limit that may be asked for: below, clips have little to do with each other."""

_SLACK = 1e-3
"""More than a float32 product of unit vectors of up to 4096 numbers can be off."""
_MAX_LENGTH_ERROR = 0.01
_TILE = 4096

Vectors = NDArray[np.float16]
"""float16 [N, D], each of about unit length."""


def to_text(vector: NDArray[np.floating]) -> str:
    """A vector, scaled to unit length, as base64 of float16, little-endian: what `Embedding.values` holds.

    It is finite and not zero.
    """
    unit = vector.astype(np.float64) / np.linalg.norm(vector.astype(np.float64))
    return base64.b64encode(unit.astype("<f2").tobytes()).decode("ascii")


def from_text(texts: Sequence[str]) -> Vectors:
    """Inverse of `to_text` for N vectors of one length: float16 [N, D]. ValueError where the lengths differ."""
    vectors = [np.frombuffer(base64.b64decode(text), dtype="<f2") for text in texts]
    if len({len(vector) for vector in vectors}) > 1:
        raise ValueError("got embeddings of different lengths, wanted those of one model")
    return np.stack(vectors).astype(np.float16) if vectors else np.empty((0, 0), dtype=np.float16)


def semantic_duplicates(
    ids: Sequence[str], embeddings: Vectors, *, min_cosine: float, block_size: int = _TILE
) -> dict[str, str]:
    """Dropped id -> kept id: in id order, a clip is dropped if its cosine with a kept one is at least `min_cosine`.

    The kept clip named is the first such one; neither the order of the arguments nor `block_size` changes the result.
    `embeddings` is float16 [N, D] in the order of `ids`. ValueError for repeated ids, other shapes or types, and
    vectors that are not of unit length.

    Exact: products in float32 only name candidates. Those are compared in float64, where a product of float16 vectors
    comes without rounding (it is a multiple of 2^-48 below 2^5), hence the same on any machine and in any order.
    Time grows with the square of the number of clips: 40,000 take a core 11 s, a million 2 h (benchmark/perf).
    """
    if not MIN_COSINE <= min_cosine <= 1:
        raise ValueError(f"got min_cosine {min_cosine}, wanted one in [{MIN_COSINE}, 1]")
    if embeddings.dtype != np.float16 or embeddings.ndim != 2 or len(embeddings) != len(ids):
        got = f"{embeddings.dtype} {list(embeddings.shape)}"
        raise ValueError(f"got embeddings {got}, wanted float16 [{len(ids)}, D]")
    order = sorted(range(len(ids)), key=ids.__getitem__)
    names = [ids[row] for row in order]
    if len(set(names)) < len(names):
        raise ValueError("got an id more than once, wanted each clip once")
    vectors = _Vectors(embeddings, np.array(order, dtype=np.int64))
    kept_near = _first_kept_near(vectors, min_cosine, block_size)
    return {names[row]: names[kept] for row, kept in enumerate(kept_near) if kept >= 0}


class _Vectors:
    """Rows by position in id order, made ready a block at a time."""

    def __init__(self, embeddings: Vectors, order: NDArray[np.int64]) -> None:
        self._embeddings, self._order = embeddings, order
        self.norms = np.empty(len(order), dtype=np.float64)
        for start in range(0, len(order), _TILE):
            block = slice(start, start + _TILE)
            rows = embeddings[order[block]].astype(np.float64)
            self.norms[block] = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        if not (np.abs(self.norms - 1) < _MAX_LENGTH_ERROR).all():
            worst = self.norms[np.argmax(np.nan_to_num(np.abs(self.norms - 1), nan=np.inf))]
            raise ValueError(f"got an embedding of length {worst:.4g}, wanted vectors of length 1, as `to_text` makes")

    def __len__(self) -> int:
        return len(self._order)

    def units(self, clips: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [N, D] of length 1, to within rounding."""
        return self._embeddings[self._order[clips]].astype(np.float32) / self.norms[clips, None].astype(np.float32)

    def are_near(self, a: NDArray[np.int64], b: NDArray[np.int64], min_cosine: float) -> NDArray[np.bool_]:
        """For clips at equal positions, exactly, whether their cosine is at least `min_cosine`."""
        rows_a, rows_b = (self._embeddings[self._order[clips]].astype(np.float64) for clips in (a, b))
        return np.einsum("nd,nd->n", rows_a, rows_b) >= min_cosine * (self.norms[a] * self.norms[b])


def _first_kept_near(vectors: _Vectors, min_cosine: float, block_size: int) -> NDArray[np.int64]:
    """For each clip the first kept one near it, or -1 for a clip that is kept itself."""
    kept_near = np.full(len(vectors), -1, dtype=np.int64)
    kept = np.empty(0, dtype=np.int64)
    for start in range(0, len(vectors), block_size):
        block = np.arange(start, min(start + block_size, len(vectors)))
        for tile_start in range(0, len(kept), block_size):
            tile = kept[tile_start : tile_start + block_size]
            block = block[kept_near[block] < 0]
            kept_near[block] = _first_near(vectors, block, tile, min_cosine)
        block = block[kept_near[block] < 0]
        kept_near[block] = _compare_in_turn(vectors, block, min_cosine)
        kept = np.concatenate([kept, block[kept_near[block] < 0]])
    return kept_near


def _first_near(
    vectors: _Vectors, clips: NDArray[np.int64], kept: NDArray[np.int64], min_cosine: float
) -> NDArray[np.int64]:
    """For each of `clips` the first of `kept` near it, or -1."""
    found = np.full(len(clips), -1, dtype=np.int64)
    likely = vectors.units(clips) @ vectors.units(kept).T >= min_cosine - _SLACK
    rows = np.flatnonzero(likely.any(axis=1))
    while len(rows):
        first = likely[rows].argmax(axis=1)
        is_near = vectors.are_near(clips[rows], kept[first], min_cosine)
        found[rows[is_near]] = kept[first[is_near]]
        rows, first = rows[~is_near], first[~is_near]
        likely[rows, first] = False
        rows = rows[likely[rows].any(axis=1)]
    return found


def _compare_in_turn(vectors: _Vectors, clips: NDArray[np.int64], min_cosine: float) -> NDArray[np.int64]:
    """The greedy rule as it is spoken, within one block: for each of `clips` the first kept one near it, or -1."""
    kept_near = np.full(len(clips), -1, dtype=np.int64)
    units = vectors.units(clips)
    likely = units @ units.T >= min_cosine - _SLACK
    for position, clip in enumerate(clips):
        if kept_near[position] < 0:
            later = np.flatnonzero(likely[position, position + 1 :] & (kept_near[position + 1 :] < 0)) + position + 1
            near = later[vectors.are_near(np.full(len(later), clip), clips[later], min_cosine)]
            kept_near[near] = clip
    return kept_near
