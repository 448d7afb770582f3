"""Held-out holes filled in every way, and what each way scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.metrics.intervals import Interval, bootstrap
from benchmark.studies.clips import WINDOW_FRAMES, Clip
from benchmark.studies.fills import fill_by_replacement, fill_with_encoder, fill_with_opencv
from benchmark.studies.linear_codec import to_frames
from benchmark.studies.pretrain import load
from benchmark.studies.scores import hole_psnr
from benchmark.studies.settings import DEFAULT, SHORT, VARIANTS, EncoderVariant, StudySettings
from benchmark.studies.sheet import write_sheet
from benchmark.studies.windows import HoleKind, Window, draw_hole, to_batch
from vpdata.backbones.saving import load_context_encoder
from vpdata.train.batch import Batch

KINDS: tuple[HoleKind, ...] = ("passer-by", "shape")
_AT_ONCE = 16
_ON_SHEET = 6

Fills = NDArray[np.uint8]
"""uint8 [noise seeds, windows, F, H, W, 3]; one seed for methods without noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way of filling holes."""

    name: str
    psnrs: dict[HoleKind, tuple[float, ...]]
    """dB in the hole per held-out clip, the mean over noise seeds."""

    @property
    def of_clips(self) -> list[float]:
        """The mean over both kinds of hole, per clip."""
        return np.mean(list(self.psnrs.values()), axis=0).tolist()

    def ahead_of(self, other: Row) -> Interval:
        """By how many dB, clip by clip."""
        return bootstrap(np.subtract(self.of_clips, other.of_clips).tolist())


def score_holes(
    clips: Sequence[Clip], folder: Path, encoders: dict[EncoderVariant, Path], settings: StudySettings
) -> list[Row]:
    """A row for each baseline and each trained encoder. `folder` holds the backbone and gets `sheet.png`."""
    windows = [hole_window(clip, kind) for kind in KINDS for clip in clips]
    backbone, codec = load(folder / "backbone", device=settings.device)
    batches = [
        to_batch(windows[at : at + _AT_ONCE], codec, ordinals=range(at, min(at + _AT_ONCE, len(windows)))).to(
            settings.device, torch.float32
        )
        for at in range(0, len(windows), _AT_ONCE)
    ]

    def sampled(fill: Callable[[Batch, int], NDArray[np.uint8]]) -> Fills:
        seeds = range(settings.num_noises)
        return np.stack([np.concatenate([fill(batch, seed) for batch in batches]) for seed in seeds])

    steps = settings.sampling_steps
    fills: dict[str, Fills] = {
        "codec alone (ceiling)": sampled(lambda batch, seed: to_frames(codec.decode(batch.video.cpu()))),
        "OpenCV, Telea": np.stack([fill_with_opencv(window, method="telea") for window in windows])[None],
        "OpenCV, Navier-Stokes": np.stack([fill_with_opencv(window, method="navier-stokes") for window in windows])[
            None
        ],
        "backbone, latent replacement": sampled(
            lambda batch, seed: fill_by_replacement(backbone, codec, batch, seed=seed, steps=steps)
        ),
    }
    for variant, path in encoders.items():
        model = load_context_encoder(path, load(folder / "backbone", device=settings.device)[0])
        fills[variant.label] = sampled(
            lambda batch, seed, model=model: fill_with_encoder(model, codec, batch, seed=seed, steps=steps)
        )
    shown = [*range(_ON_SHEET // 2), *range(len(clips), len(clips) + _ON_SHEET // 2)]
    names = ("OpenCV, Telea", "backbone, latent replacement", DEFAULT.label)
    write_sheet(
        folder / "sheet.png",
        [windows[index] for index in shown],
        {name: [fills[name][0][index] for index in shown] for name in names},
    )
    return [_row(name, own, windows) for name, own in fills.items()]


def hole_window(clip: Clip, kind: HoleKind) -> Window:
    """The first window of a held-out clip with a hole of its own."""
    hole = draw_hole(clip.tracks[:, :WINDOW_FRAMES], kind, key=f"{clip.name} {kind}")
    return Window(frames=clip.frames[:WINDOW_FRAMES], hole=hole)


def holes_table(rows: Sequence[Row]) -> str:
    """Markdown: PSNR with intervals, and how far N = 2 is ahead of each row, the short one of short ones."""
    default, short = (next(row for row in rows if row.name == one.label) for one in (DEFAULT, SHORT))
    short_names = {variant.label for variant in VARIANTS if variant.is_short}
    lines = [
        "| method | passer-by dB | shape dB | both dB | N = 2 ahead by dB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        kinds = " | ".join(str(bootstrap(row.psnrs[kind])) for kind in KINDS)
        best = short if row.name in short_names else default
        ahead = "" if row is best else str(best.ahead_of(row))
        lines.append(f"| {row.name} | {kinds} | {bootstrap(row.of_clips)} | {ahead} |")
    return "\n".join(lines)


def _row(name: str, fills: Fills, windows: Sequence[Window]) -> Row:
    by_seed = [
        [hole_psnr(fill, window.frames, window.hole) for fill, window in zip(own, windows, strict=True)]
        for own in fills
    ]
    of_windows = np.mean(by_seed, axis=0).tolist()
    num_clips = len(windows) // len(KINDS)
    return Row(
        name=name,
        psnrs={kind: tuple(of_windows[at * num_clips : (at + 1) * num_clips]) for at, kind in enumerate(KINDS)},
    )
