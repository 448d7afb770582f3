"""The published layout, written by hand from footage whose masks are known."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np

import vpdata
from benchmark.footage import write_video
from tests.runs import make_footage
from vpdata.dataset.reader import Sample
from vpdata.dataset.run import Run

COLUMNS = ("path", "start_frame", "end_frame", "fps", "mask_id", "caption")
PEXELS, VIDEOVO = "000000001523_856207.mp4", "000005000000.0.mp4"
VIDEO_URI = f"pexels/pexels/raw_video/000000001/{PEXELS}"
CAPTION = 'A red square, "fast",\ncrosses a blue one.'


def write_csv(folder: Path, rows: Iterable[tuple], name: str = "pexels_videovo_train_dataset.csv") -> None:
    with (folder / name).open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def labels_of(seed: int) -> np.ndarray:
    """int32 [T, H, W]: 7 for the blue square, 300 for the red one on top."""
    masks = make_footage(seed).masks
    return np.where(masks["red square"], 300, np.where(masks["blue square"], 7, 0)).astype(np.int32)


def write_published(folder: Path) -> None:
    """Two videos as on the published pages: masks cover the whole source, rows cut spans out of it."""
    for seed, (raw, masks) in enumerate(
        (
            (VIDEO_URI, "pexels/000000001523_856207"),
            (f"videovo/raw_video/000005000/{VIDEOVO}", "videovo/000005000000"),
        )
    ):
        (folder / raw).parent.mkdir(parents=True)
        write_video(folder / raw, make_footage(seed).frames, fps=12)
        (folder / "video_inpainting" / masks).mkdir(parents=True)
        np.savez_compressed(folder / "video_inpainting" / masks / "all_masks.npz", labels_of(seed))
    write_csv(
        folder,
        [
            (PEXELS, 0, 12, 12.0, 7, CAPTION),
            (PEXELS, 0, 12, 12.0, 300, CAPTION),
            (PEXELS, 12, 20, 12.0, 300, "The second half."),
        ],
    )
    write_csv(folder, [(VIDEOVO, 4, 24, 12.0, 300, "From Videvo.")], "pexels_videovo_val_dataset.csv")


def run_samples(run: Run) -> list[Sample]:
    return list(vpdata.open_dataset(run.folder.uri))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
