"""Exports, read by the tools they are made for: numpy, csv and OpenCV for VideoPainter, `datasets` for Hugging Face."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco

from tests.runs import NUM_FRAMES, make_footage, make_run, make_source
from vpdata.codec import to_table
from vpdata.dataset.export import export
from vpdata.dataset.run import Run, parquet_bytes, read_rows
from vpdata.dataset.shards import PackEntry, write_shard
from vpdata.dataset.split import SplitFacts, SplitRow, split_bytes
from vpdata.errors import RunError
from vpdata.records import Embedding, Record

SEEDS = {make_source(seed).id + "-0-2000": seed for seed in range(5)}


@pytest.fixture(scope="module")
def videopainter(finished_run: Run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videopainter") / "data"
    export(finished_run, folder, format="videopainter")
    return folder


@pytest.fixture(scope="module")
def hugging_face(finished_run: Run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hf") / "squares"
    export(finished_run, folder, format="hf")
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "pexels_videovo_train_dataset.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_the_published_columns_and_a_row_per_mask(videopainter):
    rows = rows_of(videopainter)
    assert list(rows[0]) == ["path", "start_frame", "end_frame", "fps", "mask_id", "caption"]
    assert [row["mask_id"] for row in rows] == ["1", "2"] * 5
    assert {(row["start_frame"], row["end_frame"], row["fps"]) for row in rows} == {("0", "24", "12")}
    assert rows[0]["caption"] == f"Clip {SEEDS[sorted(SEEDS)[0]]}: a red square crosses a blue one."


def test_paths_resolve_as_the_published_reader_joins_them(videopainter):
    for row in rows_of(videopainter):
        path = row["path"]
        assert ".0.mp4" not in path
        assert path.count(".") == 1
        video = cv2.VideoCapture(str(videopainter / "pexels/pexels/raw_video" / path[:9] / path))
        frames = 0
        while video.read()[0]:
            frames += 1
        assert frames == NUM_FRAMES
        masks = np.load(videopainter / "video_inpainting/pexels" / path.split(".")[0] / "all_masks.npz")["arr_0"]
        assert masks.shape == (NUM_FRAMES, 64, 96)
        assert masks.dtype == np.uint8


def test_smaller_object_lies_on_top_and_the_loss_is_counted(videopainter, finished_run, tmp_path):
    hidden = shown = 0
    for row in rows_of(videopainter):
        truth = make_footage(SEEDS[row["path"][13:-4]]).masks
        red, blue = truth["red square"], truth["blue square"]
        wanted = red if row["mask_id"] == "2" else blue & ~red
        path = videopainter / "video_inpainting/pexels" / row["path"].split(".")[0] / "all_masks.npz"
        assert np.array_equal(np.load(path)["arr_0"] == int(row["mask_id"]), wanted)
        hidden += (red & blue).sum() / 2  # each clip has two rows
        shown += wanted.sum()
    exported = export(finished_run, tmp_path / "again", format="videopainter")
    assert (exported.num_clips, exported.num_rows) == (5, 10)
    assert exported.hidden_frac == pytest.approx(hidden / (hidden + shown))


def test_equal_runs_give_equal_exports(videopainter, hugging_face, finished_run, tmp_path):
    export(finished_run, tmp_path / "plain", format="files")
    for format, first in (("videopainter", videopainter), ("hf", hugging_face), ("files", tmp_path / "plain")):
        export(finished_run, tmp_path / format, format=format)
        files = [path.relative_to(first) for path in first.rglob("*") if path.is_file()]
        assert len(files) > 3
        for name in files:
            assert (first / name).read_bytes() == (tmp_path / format / name).read_bytes(), name


def test_datasets_opens_the_export_with_videos_masks_and_scores(hugging_face, tmp_path):
    datasets = pytest.importorskip("datasets")
    clips = datasets.load_dataset(str(hugging_face), split="train", cache_dir=str(tmp_path))
    assert isinstance(clips.features["video"], datasets.Video)
    assert clips.features["video_caption"].dtype == "string"
    clips = clips.cast_column("video", datasets.Video(decode=False))
    assert clips["id"][:] == sorted(SEEDS)
    for clip in clips:
        seed = SEEDS[clip["id"]]
        assert hashlib.sha256(clip["video"]["bytes"]).hexdigest() == clip["mp4_sha256"]
        assert clip["motion"] == 0.5 + seed
        for track in clip["tracks"]:
            masks = coco.decode(track["masks"]).transpose(2, 0, 1).astype(bool)
            assert np.array_equal(masks, make_footage(seed).masks[track["label"]])


def test_embeddings_come_with_the_export(tmp_path):
    run = make_run(tmp_path / "run", num_clips=1, packed=False)
    embedding = Embedding(model="hand 1", values=base64.b64encode(np.array([0, 1], "<f2").tobytes()).decode())
    records = [replace(record, embedding=embedding) for record in run.records("filter")]
    run.stage_folder("filter").write("part-00000.parquet", parquet_bytes(to_table(records, Record)))
    write_shard(run, list(read_rows(run.folder, "pack-plan.parquet", PackEntry)), shard=0)
    export(run, tmp_path / "hf", format="hf")
    (row,) = pq.read_table(tmp_path / "hf/data/train-00000-of-00001.parquet", columns=["embedding"]).to_pylist()
    assert row["embedding"] == {"model": "hand 1", "values": "AAAAPA=="}
    datasets = pytest.importorskip("datasets")
    clips = datasets.load_dataset(str(tmp_path / "hf"), split="train", cache_dir=str(tmp_path / "cache"))
    assert clips["embedding"][0] == row["embedding"]


@pytest.mark.slow
def test_snippet_of_the_hugging_face_card_runs(hugging_face, tmp_path):
    (snippet,) = re.findall(r"```python\n(.*?)```", (hugging_face / "README.md").read_text(), re.DOTALL)
    environment = {"PATH": os.environ["PATH"], "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", snippet], cwd=hugging_face, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "blue square a blue square (64, 96, 24)" in done.stdout


@pytest.fixture(scope="module")
def held_out_run(tmp_path_factory) -> Run:
    """Five clips, of which one split holds out a video and another the clip of a second one."""
    run = make_run(tmp_path_factory.mktemp("held_out") / "run", num_clips=5)
    first, second, *_ = sorted(SEEDS)
    facts = SplitFacts(name="bench", seed=1, look_alike_frac=0.1, look_alike_cosine=0.9)
    videos = [SplitRow(kind="video", id=first.split("-")[0])]
    run.folder.write("splits/bench.parquet", split_bytes(facts, videos))
    run.folder.write("splits/other.parquet", split_bytes(facts, [SplitRow(kind="clip", id=second)]))
    return run


@pytest.mark.parametrize("format", ["videopainter", "hf", "files"])
def test_what_splits_hold_out_is_the_test_split(format, held_out_run, tmp_path):
    exported = export(held_out_run, tmp_path / "out", format=format)
    assert "the 2 clips that the run's splits hold out are in the test split" in str(exported)
    assert exported.num_clips == 5
    held_out, trained = sorted(SEEDS)[:2], sorted(SEEDS)[2:]
    if format == "hf":
        datasets = pytest.importorskip("datasets")
        clips = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
        assert {split: clips[split]["id"][:] for split in clips} == {"train": trained, "test": held_out}
        return
    if format == "videopainter":
        tables = {name: f"pexels_videovo_{name}_dataset.csv" for name in ("train", "test")}
        path_of = "path"
    else:
        tables, path_of = {"train": "metadata.csv", "test": "test/metadata.csv"}, "video"
    found = {}
    for split, name in tables.items():
        with (tmp_path / "out" / name).open(newline="") as file:
            paths = {row[path_of] for row in csv.DictReader(file)}
        found[split] = [re.search(r"[0-9a-f]{16}-0-2000", path)[0] for path in sorted(paths)]
        if format == "files":
            assert all(((tmp_path / "out" / name).parent / path).is_file() for path in paths)
    assert found == {"train": trained, "test": held_out}
    if format == "files":
        assert len(list((tmp_path / "out/videos").glob("*.mp4"))) == 3


@pytest.mark.parametrize("format", ["videopainter", "files"])
def test_text_with_a_carriage_return_stays_in_its_row(format, tmp_path):
    run = make_run(tmp_path / "run", num_clips=1, packed=False)
    text = "A red square.\rIt goes left."  # nothing else in it asks for quotation marks
    records = [
        replace(record, captions=tuple(replace(caption, text=text) for caption in record.captions))
        for record in run.records("filter")
    ]
    run.stage_folder("filter").write("part-00000.parquet", parquet_bytes(to_table(records, Record)))
    write_shard(run, list(read_rows(run.folder, "pack-plan.parquet", PackEntry)), shard=0)
    export(run, tmp_path / "out", format=format)
    (table,) = (path for path in (tmp_path / "out").glob("*.csv") if path.name != "sources.csv")
    frame = pytest.importorskip("pandas").read_csv(table)
    assert len(frame) == len(records[0].tracks)
    assert set(frame["caption" if format == "videopainter" else "prompt"]) == {text}


def test_folder_that_is_not_empty_is_refused(finished_run, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        export(finished_run, tmp_path, format="hf")


@pytest.mark.parametrize("format", ["videopainter", "hf", "files"])
def test_run_that_is_not_finished_is_refused(format, tmp_path):
    run = make_run(tmp_path / "run", num_clips=4, packed=False)
    with pytest.raises(RunError, match="got 0 of the 2 shards that are planned"):
        export(run, tmp_path / "out", format=format)
    run.folder.remove("pack-plan.parquet")
    with pytest.raises(RunError, match="a run folder that `vpdata build` has finished"):
        export(run, tmp_path / "out", format=format)
    assert not (tmp_path / "out").exists()


def test_card_that_cannot_be_made_is_told_before_anything_is_written(run, tmp_path):
    run.folder.remove("run.yaml")
    with pytest.raises(RunError, match=r"holds no run\.yaml"):
        export(run, tmp_path / "out", format="hf")
    assert not (tmp_path / "out").exists()
