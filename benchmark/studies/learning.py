"""Whether the trained parts learn: a small backbone is pretrained and frozen, and encoder and adapter fill held-out
holes.

    python -m benchmark.studies.learning --output runs/learning

What was trained stays in the output folder and is not trained again: `backbone/`, `context_encoder/`, `id_adapter/`,
and one `encoder-*/` for every other row of the table.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import torch

from benchmark.studies.borders import jump_scores, jumps_table
from benchmark.studies.clips import Clip, Split, make_clips, read_films
from benchmark.studies.holes import holes_table, score_holes
from benchmark.studies.identity import border_scores, borders_table
from benchmark.studies.pretrain import load, pretrained
from benchmark.studies.settings import DEFAULT, SIZES, VARIANTS, EncoderVariant, Size, StudySettings
from benchmark.studies.trained_parts import train_adapter, train_encoder
from benchmark.studies.windows import TrainingWindows
from vpdata.backbones.context_encoder import ContextEncoderSettings
from vpdata.backbones.identity_saving import CONFIG_FILE as ADAPTER_FILE
from vpdata.backbones.identity_saving import load_id_adapter, save_id_adapter
from vpdata.backbones.saving import CONFIG_FILE as ENCODER_FILE
from vpdata.backbones.saving import load_context_encoder, save_context_encoder

_FINGERPRINT = "linear codec of the learning study, no text"


def main() -> None:
    """Train what is missing, fill the held-out holes, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/learning"))
    parser.add_argument("--footage", type=Path, default=Path("footage/demo"), help="of tools.demo_footage")
    parser.add_argument("--size", choices=get_args(Size), default="small")
    parser.add_argument("--workers", type=int, default=2, help="encoders trained at a time")
    options = parser.parse_args()
    print(study(options.output, options.footage, size=options.size, num_workers=options.workers))


def study(output: Path, footage: Path, *, size: Size, num_workers: int) -> str:
    """All tables; `results.json` and `sheet.png` in the output are their evidence."""
    _set_up_process()
    settings = SIZES[size]
    pretrained(output / "backbone", read_clips(footage, "train", settings), settings)
    with ProcessPoolExecutor(num_workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        trained = [pool.submit(train_missing, output, footage, settings, variant) for variant in VARIANTS]
        trained[VARIANTS.index(DEFAULT)].result()
        trained.append(pool.submit(train_missing_adapter, output, footage, settings))
        for one in trained:
            one.result()
    clips = read_clips(footage, "test", settings)
    rows = score_holes(clips, output, {variant: _folder(output, variant) for variant in VARIANTS}, settings)
    backbone, codec = load(output / "backbone", device=settings.device)
    model = load_context_encoder(_folder(output, DEFAULT), backbone)
    model.identity = load_id_adapter(output / "id_adapter", backbone)
    borders = border_scores(clips, model, codec, settings)
    jumps = jump_scores(clips, model, codec, settings)
    evidence = {"holes": rows, "borders": borders, "jumps": jumps}
    plain = {name: [asdict(one) for one in scores] for name, scores in evidence.items()}
    (output / "results.json").write_text(json.dumps(plain, indent=1) + "\n")
    return f"{holes_table(rows)}\n\n{borders_table(borders)}\n\n{jumps_table(jumps)}"


def train_missing(output: Path, footage: Path, settings: StudySettings, variant: EncoderVariant) -> None:
    """Train and save one encoder, unless it is there."""
    _set_up_process()
    folder = _folder(output, variant)
    if (folder / ENCODER_FILE).is_file():
        return
    backbone, codec = load(output / "backbone", device=settings.device)
    clips = read_clips(footage, "train", settings)
    windows = TrainingWindows(clips, codec, batch_size=settings.batch_size, seed=1 + variant.seed)
    model = train_encoder(backbone, windows, settings, variant)
    save_context_encoder(
        folder,
        model.encoder.state_dict(),
        spec=backbone.spec,
        encoder=ContextEncoderSettings(num_layers=variant.num_layers),
        injection=model.injection,
        fingerprint=_FINGERPRINT,
    )


def train_missing_adapter(output: Path, footage: Path, settings: StudySettings) -> None:
    """Train and save the ID adapter on the default encoder, unless it is there."""
    _set_up_process()
    if (output / "id_adapter" / ADAPTER_FILE).is_file():
        return
    backbone, codec = load(output / "backbone", device=settings.device)
    model = load_context_encoder(_folder(output, DEFAULT), backbone)
    windows = TrainingWindows(read_clips(footage, "train", settings), codec, batch_size=settings.batch_size, seed=1_000)
    save_id_adapter(output / "id_adapter", train_adapter(model, windows, settings, seed=0))


def read_clips(footage: Path, split: Split, settings: StudySettings) -> list[Clip]:
    """All clips of a split."""
    films = read_films(footage, split=split, side_px=settings.side_px)
    num_clips = settings.num_train_clips if split == "train" else settings.num_test_clips
    return list(make_clips(films, split=split, num_clips=num_clips, side_px=settings.side_px))


def _set_up_process() -> None:
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")


def _folder(output: Path, variant: EncoderVariant) -> Path:
    return output / ("context_encoder" if variant == DEFAULT else variant.name)


if __name__ == "__main__":
    main()
