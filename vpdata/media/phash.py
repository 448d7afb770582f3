"""Perceptual hash of a clip: frames that look alike have nearly the same 64 bits.

DCT hash (C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010) on the 64 lowest
frequencies above the mean. All arithmetic is on integers, so every machine computes the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

HEX_PER_FRAME = 16
NO_EVIDENCE = "0" * HEX_PER_FRAME
"""Hash of a frame with too little structure; no other frame has it, since half of a hash's bits are set."""
MIN_EVIDENT_FRAC = 0.5
"""Share of the frames that must carry evidence in both clips before they can be called near."""

Words = NDArray[np.uint64]
"""uint64 [F, N]: one column per clip, one word per hashed frame, 0 for a frame without evidence."""

_SIZE = 32
_MIN_STRUCTURE = 1.0
# Grey levels (standard deviation) in the hashed frequencies. Below it, coding noise decides the bits: black frames,
# fades and plain walls would hash alike or at random.
_FIXED_POINT = 1 << 12


def phash_frames(frames: NDArray[np.uint8]) -> str:
    """16 hex digits for each frame of uint8 [N, H, W, 3] RGB, concatenated; `NO_EVIDENCE` for a flat frame."""
    return "".join(_hash_of(frame) for frame in frames)


def distance_frac(a: str, b: str) -> float:
    """Share of bits in [0, 1] that differ, over the frames at equal positions that carry evidence in both.

    Unrelated clips are about 0.5 apart. 1.0 where less than half of the frames carry evidence: nothing shows that two
    black clips are the same. ValueError for hashes of different length.
    """
    if len(a) != len(b) or len(a) % HEX_PER_FRAME or not a:
        raise ValueError(f"got hashes of {len(a)} and {len(b)} digits, wanted equal multiples of {HEX_PER_FRAME}")
    pairs = [(a[at : at + HEX_PER_FRAME], b[at : at + HEX_PER_FRAME]) for at in range(0, len(a), HEX_PER_FRAME)]
    evident = [pair for pair in pairs if NO_EVIDENCE not in pair]
    if len(evident) < MIN_EVIDENT_FRAC * len(pairs):
        return 1.0
    num_different = sum((int(left, 16) ^ int(right, 16)).bit_count() for left, right in evident)
    return num_different / (64 * len(evident))


def words_of(phashes: Sequence[str], names: Sequence[str]) -> Words:
    """Hashes of clips as numbers, for `distances_frac`. ValueError, with the clip's name, for one of other length."""
    length = len(phashes[0]) if phashes else HEX_PER_FRAME
    for phash, name in zip(phashes, names, strict=True):
        if len(phash) != length or not length or length % HEX_PER_FRAME:
            raise ValueError(f"{name}: got a phash of {len(phash)} digits, wanted {length} as {names[0]} has")
    flat = np.frombuffer(bytes.fromhex("".join(phashes)), dtype=">u8").astype(np.uint64)
    return np.ascontiguousarray(flat.reshape(len(phashes), -1).T) if phashes else flat[None]


def distances_frac(a: Words, b: Words) -> NDArray[np.float64]:
    """`distance_frac` of the clips at equal positions, float64 [N]; either may be one clip, [F, 1]."""
    evident = (a != 0) & (b != 0)
    num_evident = evident.sum(axis=0, dtype=np.uint16)
    num_different = (np.bitwise_count(a ^ b) * evident).sum(axis=0, dtype=np.uint16)
    enough = num_evident >= MIN_EVIDENT_FRAC * len(a)
    return np.where(enough, num_different / np.maximum(64 * num_evident, 1), 1.0)


def _hash_of(frame: NDArray[np.uint8]) -> str:
    grey = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    spectrum = _DCT @ _thumbnail(grey) @ _DCT.T
    hashed = spectrum[_LOWEST]
    # Parseval: the sum of squared coefficients is the sum of squared grey levels over the thumbnail.
    if np.sqrt(np.square(hashed / _UNIT).sum()) < _MIN_STRUCTURE * _SIZE:
        return NO_EVIDENCE
    bits = np.zeros(64, dtype=np.uint8)
    bits[np.argsort(hashed, kind="stable")[32:]] = 1
    return np.packbits(bits).tobytes().hex()


def _thumbnail(grey: NDArray[np.uint8]) -> NDArray[np.int64]:
    """int64 [32, 32] of block means in 1/16 grey level; a frame smaller than that is repeated."""
    sums, num_pixels = grey, np.ones((), dtype=np.int64)
    for axis in (0, 1):
        starts = np.arange(_SIZE) * grey.shape[axis] // _SIZE
        # Where two starts coincide, reduceat gives that one row, so its length is 1.
        lengths = np.maximum(np.diff(np.append(starts, grey.shape[axis])), 1)
        sums = np.add.reduceat(sums, starts, axis=axis, dtype=np.int64)
        num_pixels = np.multiply.outer(num_pixels, lengths)
    return sums * 16 // num_pixels


def _dct_matrix() -> NDArray[np.int64]:
    """Orthonormal DCT-II in fixed point: row k is the cosine of frequency k."""
    frequency, position = np.arange(_SIZE)[:, None], np.arange(_SIZE)[None, :]
    cosines = np.sqrt(2 / _SIZE) * np.cos(np.pi * frequency * (2 * position + 1) / (2 * _SIZE))
    cosines[0] /= np.sqrt(2)
    return np.round(cosines * _FIXED_POINT).astype(np.int64)


def _lowest_frequencies() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the 64 lowest frequencies without the mean, by diagonals from the corner."""
    order = sorted(((y, x) for y in range(_SIZE) for x in range(_SIZE)), key=lambda at: (sum(at), at))
    rows, columns = zip(*order[1:65], strict=True)
    return np.array(rows), np.array(columns)


_DCT = _dct_matrix()
_LOWEST = _lowest_frequencies()
_UNIT = 16 * _FIXED_POINT**2
