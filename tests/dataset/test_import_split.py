"""What the published validation, test and benchmark CSVs name is held out of trainings on the imported run."""

from __future__ import annotations

import csv
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmark.footage import write_video
from tests.dataset.published import CAPTION, PEXELS, VIDEO_URI, VIDEOVO, labels_of, run_samples, write_csv
from tests.runs import make_footage
from vpdata.dataset.check import check
from vpdata.dataset.import_videopainter import import_videopainter
from vpdata.dataset.run import Run
from vpdata.dataset.split import read_split
from vpdata.errors import ConfigError

TRAIN, TEST = "pexels_videovo_train_dataset.csv", "pexels_videovo_test_dataset.csv"
VAL = "pexels_videovo_val_dataset.csv"
VIDEOVO_URI = f"videovo/raw_video/000005000/{VIDEOVO}"
OTHER = "000000007777_1.mp4"


@pytest.fixture
def three_videos(published: Path) -> Path:
    """A third video of noise, which looks like no other, all three in training rows alone."""
    (published / VAL).unlink()
    rng = np.random.default_rng(0)
    noise = np.kron(rng.integers(0, 255, (24, 8, 12, 3)), np.ones((1, 8, 8, 1))).astype(np.uint8)
    put(published, OTHER, noise)
    write_csv(published, [(name, 0, 12, 12, 300, CAPTION) for name in (PEXELS, VIDEOVO, OTHER)], TRAIN)
    return published


def put(folder: Path, name: str, frames: np.ndarray) -> None:
    path = folder / f"pexels/pexels/raw_video/{name[:9]}/{name}"
    path.parent.mkdir(parents=True)
    write_video(path, frames, fps=12)
    masks = folder / "video_inpainting/pexels" / name.removesuffix(".mp4")
    masks.mkdir(parents=True)
    np.savez_compressed(masks / "all_masks.npz", labels_of(0))


def write_bench(folder: Path, *paths: str, column: str = "path") -> None:
    with (folder / "our_video_inpaint.csv").open("w", newline="") as file:
        csv.writer(file).writerows([(column, "mask_id"), *((path, 1) for path in paths)])


def left_of(run: Run) -> set[str]:
    """Uris of the videos of which a training on the run sees a clip."""
    split = read_split(f"{run.folder.uri}/splits/published.parquet")
    clips = [sample.record.clip for sample in run_samples(run)]
    return {clip.video.uri for clip in clips if not split.holds_out(clip.id, video_id=clip.video.id)}


@pytest.mark.parametrize("csv_name", [TEST, VAL, "pexels_videovo_validation_dataset.csv"])
def test_all_clips_of_a_video_with_a_test_row_are_held_out(three_videos, tmp_path, caplog, csv_name):
    write_csv(three_videos, [(OTHER, 14, 20, 12, 300, "Of another span.")], csv_name)
    with caplog.at_level(logging.INFO):
        run = import_videopainter(three_videos, tmp_path / "run")
    assert check(run) == []
    assert left_of(run) == {VIDEO_URI, VIDEOVO_URI}
    assert "1 videos of the published" in caplog.text
    assert "with 2 clips, 0 that look like them, and 2 left" in caplog.text


def test_video_is_held_out_though_its_test_row_is_a_reject(three_videos, tmp_path):
    write_csv(three_videos, [(OTHER, 400, 420, 12, 300, CAPTION)], TEST)
    assert left_of(import_videopainter(three_videos, tmp_path / "run")) == {VIDEO_URI, VIDEOVO_URI}


def test_videos_of_the_published_benchmark_are_held_out(three_videos, tmp_path, caplog):
    write_bench(three_videos, f"000000007/{OTHER}", "000009999999_5.mp4", "davis/bear")
    run = import_videopainter(three_videos, tmp_path / "run")
    assert check(run) == []
    assert left_of(run) == {VIDEO_URI, VIDEOVO_URI}
    assert "1 paths name no video of this layout" in caplog.text
    assert "'bear'" in caplog.text


def test_same_bytes_and_looks_under_another_name_are_held_out(three_videos, tmp_path):
    same, alike = "000000008888_2.mp4", "000000009999_3.mp4"
    put(three_videos, same, make_footage(0).frames)
    shutil.copy(three_videos / VIDEO_URI, three_videos / f"pexels/pexels/raw_video/{same[:9]}/{same}")
    put(three_videos, alike, make_footage(0).frames[:, ::2, ::2].repeat(2, 1).repeat(2, 2))
    write_csv(
        three_videos,
        [(same, 10, 22, 12, 300, CAPTION), (alike, 0, 12, 12, 300, CAPTION)],
        "pexels_videovo_train2_dataset.csv",
    )
    write_csv(three_videos, [(PEXELS, 0, 12, 12, 7, CAPTION)], TEST)
    run = import_videopainter(three_videos, tmp_path / "run")
    assert check(run) == []
    other = f"pexels/pexels/raw_video/{OTHER[:9]}/{OTHER}"
    assert {other} <= left_of(run) <= {other, VIDEOVO_URI}


def test_training_rows_alone_make_no_split_and_one_comes_with_the_csv(three_videos, tmp_path):
    run = import_videopainter(three_videos, tmp_path / "run")
    assert not run.folder.exists("splits/published.parquet")
    write_bench(three_videos, OTHER)
    assert left_of(import_videopainter(three_videos, tmp_path / "run")) == {VIDEO_URI, VIDEOVO_URI}


def test_benchmark_without_paths_is_refused(three_videos, tmp_path):
    write_bench(three_videos, OTHER, column="file")
    with pytest.raises(ConfigError, match=r"our_video_inpaint.csv: got no column path"):
        import_videopainter(three_videos, tmp_path / "run")
