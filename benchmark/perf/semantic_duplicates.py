"""What comparing the embeddings of all clips of a run costs: random vectors, none near another, so that all are kept.

    OMP_NUM_THREADS=1 python -m benchmark.perf.semantic_duplicates [--clips 10000 20000 40000] [--dim 768]

Prints the table in `README.md`; its last row is reckoned, since time grows with the square of the number of clips.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from vpdata.stages.semantic_duplicates import Vectors, semantic_duplicates

_RECKONED = 1_000_000
_MIN_COSINE = 0.97


def random_vectors(num_clips: int, dim: int) -> Vectors:
    """float16 [N, D] of unit length."""
    made = np.empty((num_clips, dim), dtype=np.float16)
    rng = np.random.default_rng(0)
    for row in made:
        vector = rng.standard_normal(dim)
        row[:] = vector / np.linalg.norm(vector)
    return made


def seconds(num_clips: int, dim: int) -> float:
    """Wall time of one comparison of all clips with all before them."""
    ids, vectors = [f"{number:09d}" for number in range(num_clips)], random_vectors(num_clips, dim)
    started = time.monotonic()
    assert not semantic_duplicates(ids, vectors, min_cosine=_MIN_COSINE)
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[10_000, 20_000, 40_000])
    parser.add_argument("--dim", type=int, default=768)
    args = parser.parse_args()
    print("| clips | s | vectors MB | peak MB of the process |\n| ---: | ---: | ---: | ---: |")
    num_clips, took_s = 0, 0.0
    for num_clips in sorted(args.clips):
        took_s = seconds(num_clips, args.dim)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(f"| {num_clips:,} | {took_s:.1f} | {2 * num_clips * args.dim / 1e6:.0f} | {peak_mb:.0f} |", flush=True)
    reckoned_h = took_s * (_RECKONED / num_clips) ** 2 / 3600
    print(f"| {_RECKONED:,}, reckoned | {reckoned_h:.1f} h | {2 * _RECKONED * args.dim / 1e6:.0f} | |")


if __name__ == "__main__":
    main()
