"""VideoPainter's published definitions as its code has them: for comparison with its tables, not for anything else."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from benchmark.metrics.networks import Networks
from benchmark.metrics.pixels import SSIM_BORDER_PX, psnr_of, ssim_map
from benchmark.metrics.regions import Frame, Frames, Masks
from benchmark.metrics.sums import NOTHING, Sums
from benchmark.metrics.table import Key, Place
from benchmark.metrics.truth import Truth


def measure(output: Frames, truth: Truth, networks: Networks) -> dict[Key, Sums]:
    """Every value is one frame's, so that a mean over cases is over all frames of all videos, and long ones weigh more.

    Only `temporal_consistency` has one value a video. `frame` is the whole frame. `one_sided` compares the unmasked
    truth with the output times (1 - mask): the mask is applied to one side only, and the hole counts as error, whatever
    is in it. `hole` is the frame with its outside blackened, not cropped. Captions over 77 tokens are all alike
    to CLIP. Where the published PSNR of an exact copy is infinite, ours is 100 dB.
    """
    found: dict[Key, Sums] = {}
    for name, radii, video in truth.outputs(output):
        for radius in radii:
            holes = truth.holes[radius]
            places: tuple[tuple[Place, Frames], ...] = (("frame", video), ("one_sided", video * ~holes[..., None]))
            for place, frames in places:
                for metric, sums in _errors(frames, truth.frames, networks).items():
                    found[metric, place, name, radius] = sums
            for metric, place, sums in _clip(video, truth, holes, networks):
                found[metric, place, name, radius] = sums
    return found


def _errors(frames: Frames, truth: Frames, networks: Networks) -> dict[str, Sums]:
    sums: dict[str, Sums] = {}
    for one, true in zip(frames, truth, strict=True):
        for metric, value in _of_frame(one, true, networks).items():
            sums[metric] = sums.get(metric, NOTHING) + value
    return sums


def _of_frame(output: Frame, truth: Frame, networks: Networks) -> dict[str, Sums]:
    """PSNR, SSIM, MSE and MAE as torchmetrics has them; its SSIM counts the border too, before mirrored pixels."""
    mse = cv2.norm(output, truth, cv2.NORM_L2SQR) / (255**2 * truth.size)
    mae = cv2.norm(output, truth, cv2.NORM_L1) / (255 * truth.size)
    around = ((SSIM_BORDER_PX, SSIM_BORDER_PX), (SSIM_BORDER_PX, SSIM_BORDER_PX), (0, 0))
    mirrored = [np.pad(one, around, mode="reflect") for one in (output, truth)]
    ssim = float(ssim_map(*mirrored).mean(dtype=np.float64))
    values = {"psnr": psnr_of(mse), "ssim": Sums(ssim, 1), "mse": Sums(mse, 1), "mae": Sums(mae, 1)}
    return {**values, "lpips": Sums(networks.lpips(output, truth)[0], 1)} if networks.lpips else values


def _clip(video: Frames, truth: Truth, holes: Masks, networks: Networks) -> Iterator[tuple[str, Place, Sums]]:
    if not networks.clip and not networks.consistency:
        return
    from benchmark.metrics.clip import consistency, cut_out, embed, embed_stretched, published_similarity

    inside, case = cut_out(video, holes), truth.case
    if model := networks.clip:
        cut = embed(inside, model)
        yield "clip_similarity", "frame", published_similarity(embed(list(video), model), case.prompt, model)
        yield "masked_clip_similarity", "hole", published_similarity(cut, case.prompt, model)
        if case.object_prompt.strip():
            yield "clip_similarity", "hole", published_similarity(cut, case.object_prompt, model)
    if model := networks.consistency:
        places: tuple[tuple[Place, list[Frame]], ...] = (("frame", list(video)), ("hole", inside))
        for place, frames in places:
            cosine = consistency(embed_stretched(frames, model)).mean
            yield "temporal_consistency", place, NOTHING if cosine is None else Sums(cosine, 1)
