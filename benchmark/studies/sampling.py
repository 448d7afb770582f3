"""How many sampling steps score best, on clips of the training films that nothing was trained or measured on.

python -m benchmark.studies.sampling --output runs/learning
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from benchmark.studies.clips import Clip, make_clips, read_films
from benchmark.studies.fills import fill_by_replacement, fill_with_encoder, fill_with_opencv
from benchmark.studies.holes import KINDS, hole_window
from benchmark.studies.pretrain import load
from benchmark.studies.scores import hole_psnr
from benchmark.studies.settings import SIZES, Size, StudySettings
from benchmark.studies.windows import Window, to_batch
from vpdata.backbones.saving import load_context_encoder

NUM_STEPS = (1, 2, 3, 4, 6, 10, 20)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/learning"), help="of the study, trained")
    parser.add_argument("--footage", type=Path, default=Path("footage/demo"), help="of tools.demo_footage")
    parser.add_argument("--size", choices=get_args(Size), default="small")
    options = parser.parse_args()
    settings = SIZES[options.size]
    print(steps_table(unseen_clips(options.footage, settings), options.output, settings))


def unseen_clips(footage: Path, settings: StudySettings, *, num_clips: int = 30) -> list[Clip]:
    """The clips that follow the training clips: other seeds, the same films."""
    films = read_films(footage, split="train", side_px=settings.side_px)
    first, stop = settings.num_train_clips, settings.num_train_clips + num_clips
    clips = make_clips(films, split="train", num_clips=stop, side_px=settings.side_px)
    return list(islice(clips, first, stop))


def steps_table(clips: Sequence[Clip], folder: Path, settings: StudySettings) -> str:
    """Markdown: mean PSNR in the hole by number of steps, for the default encoder and for latent replacement."""
    backbone, codec = load(folder / "backbone", device=settings.device)
    model = load_context_encoder(folder / "context_encoder", load(folder / "backbone", device=settings.device)[0])
    lines = [f"| hole | method | {' | '.join(map(str, NUM_STEPS))} |", "| --- | --- |" + " ---: |" * len(NUM_STEPS)]
    for kind in KINDS:
        windows = [hole_window(clip, kind) for clip in clips]
        batch = to_batch(windows, codec, ordinals=range(len(windows))).to(settings.device, torch.float32)
        telea = _mean_psnr(windows, [fill_with_opencv(window, method="telea") for window in windows])
        by_encoder, by_replacement = [], []
        for steps in NUM_STEPS:
            by_encoder.append(_mean_psnr(windows, fill_with_encoder(model, codec, batch, seed=0, steps=steps)))
            by_replacement.append(_mean_psnr(windows, fill_by_replacement(backbone, codec, batch, seed=0, steps=steps)))
        lines += [
            f"| {kind} | {name} | {' | '.join(f'{psnr:.2f}' for psnr in psnrs)} |"
            for name, psnrs in (
                ("encoder", by_encoder),
                ("latent replacement", by_replacement),
                ("Telea, which takes none", [telea] * len(NUM_STEPS)),
            )
        ]
    return "\n".join(lines)


def _mean_psnr(windows: Sequence[Window], fills: Sequence[np.ndarray] | np.ndarray) -> float:
    psnrs = [hole_psnr(fill, window.frames, window.hole) for fill, window in zip(fills, windows, strict=True)]
    return float(np.mean(psnrs))


if __name__ == "__main__":
    main()
