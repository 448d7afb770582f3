"""The export of plain files, read as trainers read it: pandas for the table, five readers for the videos."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.runs import NUM_FRAMES, make_footage, make_source
from vpdata import open_dataset
from vpdata.dataset.export import export
from vpdata.dataset.run import Run

SEEDS = {make_source(seed).id + "-0-2000": seed for seed in range(5)}
OBJECTS = {1: "blue square", 2: "red square"}


@pytest.fixture(scope="module")
def plain(finished_run: Run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "data"
    exported = export(finished_run, folder, format="files")
    assert (exported.num_clips, exported.num_rows) == (5, 10)
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def by_pyav(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def by_pyav_in_grey(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    return np.repeat(np.stack(frames)[..., None], 3, axis=3)


def by_opencv(path: Path) -> np.ndarray:
    video, frames = cv2.VideoCapture(str(path)), []
    while True:
        is_there, frame = video.read()
        if not is_there:
            return np.stack(frames)[..., ::-1]
        frames.append(frame)


def by_decord(path: Path) -> np.ndarray:
    return pytest.importorskip("decord").VideoReader(str(path))[:].asnumpy()


def by_imageio(path: Path) -> np.ndarray:
    """As DiffSynth-Studio's `LoadVideo` does it, by ffmpeg itself."""
    pytest.importorskip("imageio_ffmpeg")
    reader = pytest.importorskip("imageio").get_reader(path)
    return np.stack([reader.get_data(index) for index in range(reader.count_frames())])


READERS = [by_pyav, by_pyav_in_grey, by_opencv, by_decord, by_imageio]


def test_table_has_the_names_of_the_trainers_inputs_and_a_row_per_object(plain):
    rows = rows_of(plain)
    assert list(rows[0]) == ["video", "prompt", "vace_video", "vace_video_mask", "object_prompt", "label"]
    assert [row["label"] for row in rows] == ["blue square", "red square"] * 5
    assert [row["object_prompt"] for row in rows] == ["a blue square", "a red square"] * 5
    clip_id = sorted(SEEDS)[0]
    assert rows[1] == {
        "video": f"videos/{clip_id}.mp4",
        "prompt": f"Clip {SEEDS[clip_id]}: a red square crosses a blue one.",
        "vace_video": f"vace/{clip_id}-2.mp4",
        "vace_video_mask": f"masks/{clip_id}-2.mp4",
        "object_prompt": "a red square",
        "label": "red square",
    }
    assert all((plain / row[column]).is_file() for row in rows for column in ("video", "vace_video", "vace_video_mask"))


def test_videos_are_the_bytes_of_the_shards_with_their_captions_beside_them(plain, finished_run):
    samples = list(open_dataset(finished_run.folder.uri))
    assert sorted(path.stem for path in (plain / "videos").glob("*.mp4")) == [sample.id for sample in samples]
    for sample in samples:
        mp4 = (plain / f"videos/{sample.id}.mp4").read_bytes()
        assert hashlib.sha256(mp4).hexdigest() == sample.record.clip.sha256
        caption = (plain / f"videos/{sample.id}.txt").read_text()
        assert caption == f"Clip {SEEDS[sample.id]}: a red square crosses a blue one."


@pytest.mark.parametrize("read", READERS)
def test_masks_are_black_and_white_and_nothing_else_to_every_reader(read: Callable[[Path], np.ndarray], plain):
    for clip_id, seed in SEEDS.items():
        for track, label in OBJECTS.items():
            pixels = read(plain / f"masks/{clip_id}-{track}.mp4")
            wanted = make_footage(seed).masks[label][..., None] * np.full(3, 255, np.uint8)
            assert np.array_equal(pixels, wanted)


@pytest.mark.parametrize("kind", ["masks", "vace"])
def test_videos_of_an_object_have_frames_and_rate_of_their_clip(kind, plain):
    clip_id = sorted(SEEDS)[0]
    with av.open(str(plain / f"{kind}/{clip_id}-1.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.frames, stream.average_rate, stream.width, stream.height) == (NUM_FRAMES, 12, 96, 64)
        assert [frame.pts * stream.time_base * 12 for frame in container.decode(stream)] == list(range(NUM_FRAMES))


def test_hole_is_grey_and_what_lies_around_is_the_clip(plain):
    for clip_id, seed in SEEDS.items():
        clip = by_pyav(plain / f"videos/{clip_id}.mp4").astype(int)
        for track, label in OBJECTS.items():
            mask = make_footage(seed).masks[label]
            around = np.stack([cv2.dilate(frame.astype(np.uint8), np.ones((5, 5), np.uint8)) for frame in mask])
            pixels = by_imageio(plain / f"vace/{clip_id}-{track}.mp4").astype(int)
            assert abs(np.median(pixels[mask], axis=0) - 127.5).max() < 1
            # Beside a saturated square the encoder blurs; the object itself is 100 and more from grey.
            assert abs(pixels[mask] - 127.5).mean() < 2
            assert abs(pixels[mask] - 127.5).max() < 50
            assert abs(pixels - clip)[around == 0].mean() < 2


def test_sources_are_told_with_their_licence(plain):
    with (plain / "sources.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == {row["video"] for row in rows_of(plain)}
    assert {row["licence"] for row in rows} == {"CC-BY-4.0", ""}
    assert {row["attribution"] for row in rows} == {"Ann & Bo", ""}


def test_pandas_reads_the_table_as_the_trainer_does(plain):
    pandas = pytest.importorskip("pandas")
    row = pandas.read_csv(plain / "metadata.csv").iloc[1].to_dict()
    assert row == rows_of(plain)[1]
