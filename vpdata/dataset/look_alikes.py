"""Clips that look like those of a benchmark: by perceptual hash, and by embedding where clips have one."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vpdata.media.phash import distances_frac, words_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """How one clip looks."""

    id: str
    phash: str
    """As in `Clip`."""
    embedding: str | None = None
    """`Embedding.values` of the run's embedder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAlike:
    """A clip, and the one that it looks most like."""

    id: str
    like: str
    distance_frac: float
    """Smallest distance of perceptual hashes, in [0, 1]."""
    cosine: float | None
    """Largest cosine of embeddings; None without."""


def look_alikes(
    clips: Sequence[Looks], held_out: Sequence[Looks], *, max_distance_frac: float, min_cosine: float
) -> Iterator[LookAlike]:
    """Those of `clips` that are near any of `held_out`, in either sense; in order.

    Time grows with the product of the two numbers: 400,000 clips against 1000 take a core about half a minute.
    """
    if not clips or not held_out:
        return
    distances, like = _nearest(clips, held_out)
    cosines, cosine_like = _most_similar(clips, held_out)
    for row in np.flatnonzero((distances <= max_distance_frac) | (cosines >= min_cosine)).tolist():
        is_by_looks = distances[row] <= max_distance_frac
        yield LookAlike(
            id=clips[row].id,
            like=held_out[(like if is_by_looks else cosine_like)[row]].id,
            distance_frac=float(distances[row]),
            cosine=float(cosines[row]) if np.isfinite(cosines[row]) else None,
        )


def _nearest(clips: Sequence[Looks], held_out: Sequence[Looks]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Per clip its smallest distance and the first held-out clip that has it."""
    everyone = [*clips, *held_out]
    words = words_of([one.phash for one in everyone], [one.id for one in everyone])
    distances, like = np.full(len(clips), 2.0), np.zeros(len(clips), dtype=np.int64)
    for number in range(len(held_out)):
        of_this = distances_frac(words[:, : len(clips)], words[:, len(clips) + number, None])
        like[of_this < distances] = number
        np.minimum(distances, of_this, out=distances)
    return distances, like


def _most_similar(clips: Sequence[Looks], held_out: Sequence[Looks]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Per clip its largest cosine, -inf without an embedding, and the first held-out clip that has it."""
    cosines, like = np.full(len(clips), -np.inf), np.zeros(len(clips), dtype=np.int64)
    rows, vectors = _vectors(clips)
    held_rows, held_vectors = _vectors(held_out)
    # One by one: a product in blocks rounds by the shape of the block, and a clip at the limit would come and go.
    for number, vector in zip(held_rows, held_vectors, strict=True):
        of_this = (vectors * vector).sum(axis=1, dtype=np.float64)
        is_nearer = of_this > cosines[rows]
        like[rows[is_nearer]] = number
        cosines[rows] = np.maximum(cosines[rows], of_this)
    return cosines, like


def _vectors(clips: Sequence[Looks]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows of the clips that have an embedding, and their unit vectors, float32 [N, D]."""
    rows = [row for row, one in enumerate(clips) if one.embedding]
    vectors = [np.frombuffer(base64.b64decode(clips[row].embedding or ""), dtype="<f2") for row in rows]
    stacked = np.stack(vectors).astype(np.float32) if vectors else np.zeros((0, 0), dtype=np.float32)
    return np.array(rows, dtype=np.int64), stacked / np.linalg.norm(stacked, axis=1, keepdims=True).clip(1e-6)
