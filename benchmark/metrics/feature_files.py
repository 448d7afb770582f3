"""The features of videos that FVID compares: `features/<network>/<method>.npz` in a folder of results."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics.frechet import FrechetDistance, frechet_distance
from vpdata.errors import RunError
from vpdata.storage import Folder

TRUTH = "_truth"
"""In the place of a method's name, which begins with a letter or a digit."""
Features = Mapping[str, NDArray[np.float32]]
"""Case to vector [D]."""


def write_features(folder: Folder, method: str, outputs: Mapping[str, Features]) -> None:
    """One file a method: per output (`output_name`) the cases in it, sorted, and their vectors [N, D]."""
    content = io.BytesIO()
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, vectors in outputs.items():
        cases = sorted(vectors)
        arrays[f"{name}.cases"] = np.array(cases, dtype=np.str_)
        arrays[f"{name}.features"] = np.stack([vectors[case] for case in cases])
    np.savez(content, allow_pickle=False, **arrays)
    folder.write(f"{method}.npz", content.getvalue())


def read_features(folder: Folder, method: str, name: str) -> Features:
    """Of one output, as written; none where there is no such file or output in it. RunError where it is damaged."""
    if not folder.exists(f"{method}.npz"):
        return {}
    try:
        with np.load(io.BytesIO(folder.read(f"{method}.npz")), allow_pickle=False) as arrays:
            if f"{name}.cases" not in arrays:
                return {}
            return dict(zip(arrays[f"{name}.cases"].tolist(), arrays[f"{name}.features"], strict=True))
    except (ValueError, KeyError, OSError, BadZipFile) as error:
        raise RunError(f"{folder.uri}/{method}.npz is damaged: {error}; remove it and score again") from error


def output_name(output: str, dilate_px: int) -> str:
    """Of one output in a file of features; the raw one knows no dilation."""
    return output if output == "raw" else f"{output}-{dilate_px}"


def fvid(folder: Folder, method: str, output: str, dilate_px: int, cases: Collection[str]) -> FrechetDistance:
    """Between the method's videos and the true ones of the same cases: those of `cases` that have both.

    `folder` is `features/<network>`. The value is None for fewer than two.
    """
    truth = read_features(folder, TRUTH, TRUTH)
    made = read_features(folder, method, output_name(output, dilate_px))
    both = sorted(set(cases) & truth.keys() & made.keys())
    if not both:
        return FrechetDistance(value=None, num_videos=(0, 0), warning="no video has features")
    return frechet_distance(np.stack([truth[case] for case in both]), np.stack([made[case] for case in both]))
