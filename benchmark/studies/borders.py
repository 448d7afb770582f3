"""Whether a border between two windows shows: how much PSNR jumps from frame to frame across it, and inside windows.

The video is made as `vpdata inpaint` makes it. As a check of the measure, windows that know nothing of each other are
put one behind the other: their border must show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics.intervals import Interval, bootstrap
from benchmark.studies.clips import WINDOW_FRAMES, Clip
from benchmark.studies.linear_codec import STRIDE_T, LinearCodec
from benchmark.studies.scores import hole_psnr
from benchmark.studies.settings import StudySettings
from benchmark.studies.windows import draw_hole, no_text
from vpdata.backbones.inpainting import InpaintingBackbone
from vpdata.inpaint.any_length import inpaint_any_length
from vpdata.inpaint.diffusion import DiffusionWindows, Prompts, SamplingSettings
from vpdata.inpaint.windows import Window, plan_windows

OVERLAP_FRAMES = 5
NUM_FRAMES = 2 * WINDOW_FRAMES - OVERLAP_FRAMES
"""Of a clip: two windows."""
APART = tuple(
    Window(index=index, start=start, stop=min(start + WINDOW_FRAMES, NUM_FRAMES), num_shared=0, num_known=0)
    for index, start in enumerate(range(0, NUM_FRAMES, WINDOW_FRAMES))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JumpScore:
    """One way of making clips in windows."""

    name: str
    psnr: Interval
    """dB in the hole."""
    inside: Interval
    """dB that PSNR in the hole changes by from one frame to the next, both made by one window alone."""
    across: Interval
    """The mean of these from the last frame of one window alone, over the shared ones, to the next window's own."""
    excess: Interval
    """`across` less `inside`, clip by clip; the target is at most 0."""


def jump_scores(
    clips: Sequence[Clip], model: InpaintingBackbone, codec: LinearCodec, settings: StudySettings
) -> list[JumpScore]:
    """Windows apart, windows as they are made, and these with the ID adapter, which `model` has."""
    overlapping = plan_windows(
        NUM_FRAMES, window_frames=WINDOW_FRAMES, overlap_frames=OVERLAP_FRAMES, stride_t=STRIDE_T
    )
    model.forget_identity()
    adapter, model.identity = model.identity, None
    scores = [
        _score("windows apart", clips, model, codec, settings, windows=APART),
        _score("windows", clips, model, codec, settings, windows=overlapping),
    ]
    model.identity = adapter
    scores.append(_score("windows with ID adapter", clips, model, codec, settings, windows=overlapping))
    model.forget_identity()
    return scores


def jumps_table(scores: Sequence[JumpScore]) -> str:
    """Markdown."""
    lines = [
        "| clips by | hole dB | jump inside windows dB | jump across the border dB | across less inside dB |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {one.name} | {one.psnr} | {one.inside} | {one.across} | {one.excess} |" for one in scores]
    return "\n".join(lines)


def jumps(psnrs: NDArray[np.float64], windows: Sequence[Window]) -> tuple[float, float]:
    """Mean change of PSNR, `[frames]`, from one frame to the next: inside windows, and across their borders."""
    is_across = np.zeros(len(psnrs) - 1, dtype=bool)
    for window in windows[1:]:
        # Step j leads from frame j to frame j + 1. Over shared frames the weight of the new window rises evenly.
        is_across[window.start - 1 : window.start + window.num_shared] = True
    changes = np.abs(np.diff(psnrs))
    return float(changes[~is_across].mean()), float(changes[is_across].mean())


def _score(
    name: str,
    clips: Sequence[Clip],
    model: InpaintingBackbone,
    codec: LinearCodec,
    settings: StudySettings,
    *,
    windows: Sequence[Window],
) -> JumpScore:
    psnrs, inside, across = [], [], []
    for index, clip in enumerate(clips):
        truth = clip.frames[:NUM_FRAMES]
        hole = draw_hole(clip.tracks[:, :NUM_FRAMES], "shape", key=f"{clip.name} border")
        by_noise = []
        for noise in range(settings.num_noises):
            seed = noise * len(clips) + index
            made = _made(truth, hole, model, codec, steps=settings.sampling_steps, seed=seed, windows=windows)
            frames = [hole_psnr(made[k], truth[k], hole[k]) for k in range(NUM_FRAMES)]
            by_noise.append((np.mean(frames), *jumps(np.array(frames), windows)))
        for values, value in zip((psnrs, inside, across), np.mean(by_noise, axis=0), strict=True):
            values.append(float(value))
    excess = np.subtract(across, inside).tolist()
    return JumpScore(
        name=name,
        psnr=bootstrap(psnrs),
        inside=bootstrap(inside),
        across=bootstrap(across),
        excess=bootstrap(excess),
    )


def _made(
    truth: NDArray[np.uint8],
    hole: NDArray[np.bool_],
    model: InpaintingBackbone,
    codec: LinearCodec,
    *,
    steps: int,
    seed: int,
    windows: Sequence[Window],
) -> NDArray[np.uint8]:
    """uint8 `[F, H, W, 3]`, by the windows' model of `vpdata inpaint`."""
    empty = no_text(1)
    painter = DiffusionWindows(
        model,
        codec,
        Prompts(of_window=lambda window: empty, empty=empty),
        SamplingSettings(num_steps=steps, guidance=1.0, seed=seed),
    )
    made = np.empty_like(truth)
    for one in inpaint_any_length(painter, iter(truth), iter(hole), windows):
        # The next window gives its own, blended, for what it shares.
        made[one.window.start : one.window.stop] = one.frames
    return made
