"""The default protocol: each region measured by itself, in sums over its pixels or its frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics.networks import Networks
from benchmark.metrics.pixels import clip_errors
from benchmark.metrics.regions import Frames, Masks
from benchmark.metrics.seam import seam
from benchmark.metrics.sums import Sums, total
from benchmark.metrics.table import Key, Place
from benchmark.metrics.temporal import flicker, warping_error
from benchmark.metrics.truth import Truth

Found = Iterator[tuple[str, Place, int, Sums]]
"""Metric, place, dilation and sums."""


def measure(output: Frames, truth: Truth, networks: Networks) -> dict[Key, Sums]:
    """All metrics whose networks are here, for both outputs and every dilation.

    PSNR is that of the region's error in the whole clip, one value a clip; MSE, MAE, SSIM and LPIPS are sums over the
    region's pixels (LPIPS of the whole frame: over frames).
    """
    found: dict[Key, Sums] = {}
    for name, radii, video in truth.outputs(output):
        holes = {radius: truth.holes[radius] for radius in radii}
        parts: Iterable[Found] = (
            _arithmetic(video, truth, holes),
            _lpips(video, truth, holes, networks),
            _clip(video, truth, holes, networks),
        )
        for metric, place, radius, sums in chain.from_iterable(parts):
            found[metric, place, name, radius] = sums
    return found


def _arithmetic(video: Frames, truth: Truth, holes: dict[int, Masks]) -> Found:
    for radius, inside in holes.items():
        for region, errors in clip_errors(video, truth.frames, inside).items():
            yield "psnr", region, radius, errors.psnr
            yield "ssim", region, radius, errors.ssim
            yield "mse", region, radius, errors.squared
            yield "mae", region, radius, errors.absolute
        for region, sums in warping_error(video, inside, truth.motions).items():
            yield "warping_error", region, radius, sums
        for region, sums in flicker(video, truth.frames, inside).items():
            yield "flicker", region, radius, sums
        yield "seam", "hole", radius, seam(video, truth.frames, inside)


def _lpips(video: Frames, truth: Truth, holes: dict[int, Masks], networks: Networks) -> Found:
    if not networks.lpips:
        return
    pairs = [networks.lpips(output, true) for output, true in zip(video, truth.frames, strict=True)]
    heat = np.stack([one for _, one in pairs])
    for radius, inside in holes.items():
        yield "lpips", "frame", radius, total(Sums(distance, 1) for distance, _ in pairs)
        yield "lpips", "known", radius, _over(heat, ~inside)
        yield "lpips", "hole", radius, _over(heat, inside)


def _over(heat: NDArray[np.float32], where: Masks) -> Sums:
    return Sums(float(heat[where].sum(dtype=np.float64)), int(where.sum()))


def _clip(video: Frames, truth: Truth, holes: dict[int, Masks], networks: Networks) -> Found:
    """`frame` with what the whole video should show, `hole` with what should be in the hole."""
    if not networks.clip:
        return
    from benchmark.metrics.clip import consistency, embed, hole_views, similarity, squared, texts_of

    model, case = networks.clip, truth.case
    frames = embed(squared(list(video), model), model)
    for radius, inside in holes.items():
        views = embed(squared(hole_views(video, inside), model), model)
        yield "clip_similarity", "frame", radius, similarity(frames, texts_of(case.prompt, model), model)
        yield "clip_similarity", "hole", radius, similarity(views, texts_of(case.object_prompt, model), model)
        yield "temporal_consistency", "frame", radius, consistency(frames)
        yield "temporal_consistency", "hole", radius, consistency(views)
