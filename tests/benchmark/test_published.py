"""The published VPBench is read as it is: its CSVs, names, spans and label maps."""

from __future__ import annotations

import csv
import pickle
import shutil
from fractions import Fraction

import numpy as np
import pytest

from benchmark.footage import scene, write_video
from benchmark.published import open_published
from benchmark.running import fingerprint
from vpdata.errors import ConfigError, RunError

FOOTAGE = scene("crossing", seed=1, num_frames=40, height_px=72, width_px=128, size_frac=0.4)
PEXELS, VIDEVO = "000000000001_7654321.mp4", "000000000002.0.mp4"
PLACES = {
    PEXELS: ("pexels/pexels/raw_video/000000000", "video_inpainting/pexels/000000000001_7654321"),
    VIDEVO: ("videovo/raw_video/000000000", "video_inpainting/videovo/000000000002"),
}
FILL = {
    "path": PEXELS, "mask_id": "7", "start_frame": "5", "end_frame": "35", "fps": "29.97",
    "video_inpainting_prompt": "A disc meets a box.", "image_inpainting_prompt": "a disc",
}  # fmt: skip
EDIT = {
    "path": VIDEVO, "mask_id": "2.0", "start_frame": "0.0", "end_frame": "40.0", "fps": "25",
    "Original_video_caption": "A disc meets a box.", "Edited_video_caption": "A dog meets a box.",
    "Edited_image_caption": "a dog", "Editing_instruction": "Turn the disc into a dog.",
}  # fmt: skip


def write_csv(path, *rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """As it is after download and unzipping: two videos, the ids 7 and 2 on their label maps."""
    root = tmp_path_factory.mktemp("data")
    for name, (videos, masks) in PLACES.items():
        (root / videos).mkdir(parents=True)
        (root / masks).mkdir(parents=True)
        write_video(root / videos / name, FOOTAGE.frames)
        labels = np.zeros(FOOTAGE.frames.shape[:3], dtype=np.int32)
        labels[FOOTAGE.masks[0]] = 7
        labels[FOOTAGE.masks[1]] = 2
        np.savez_compressed(root / masks / "all_masks.npz", labels)
    write_csv(root / "our_video_inpaint.csv", FILL)
    write_csv(root / "our_video_edit_long.csv", EDIT)
    return root


def test_cases_have_the_span_the_mask_and_the_words_of_their_rows(published):
    bench = pickle.loads(pickle.dumps(open_published(published)))
    edit, fill = bench.cases
    assert (fill.subset, fill.num_frames, fill.start_frame, fill.fps) == ("S", 30, 5, Fraction(30000, 1001))
    assert (fill.prompt, fill.object_prompt, fill.instruction) == ("A disc meets a box.", "a disc", None)
    assert np.array_equal(bench.masks(fill), FOOTAGE.masks[0, 5:35])
    assert (edit.subset, edit.operation, edit.category) == ("edit-L", None, "any")
    assert (edit.prompt, edit.object_prompt) == ("A dog meets a box.", "a dog")
    assert np.array_equal(bench.masks(edit), FOOTAGE.masks[1])
    grey = [one.astype(float).mean(axis=3) for one in (bench.frames(fill), FOOTAGE.frames[5:35])]
    assert np.abs(grey[0] - grey[1]).mean() < 3


def test_published_protocol_takes_49_frames_at_8_a_second_of_480_by_720(published):
    bench = open_published(published)
    sampled = bench.sampled(bench.cases[1])
    # 30 frames at 29.97 a second are one second: 8 frames at 8 a second.
    assert sampled.frames.shape == (8, 480, 720, 3)
    assert sampled.masks.shape == (8, 480, 720)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (FILL | {"path": "../../etc/passwd"}, "got the path '../../etc/passwd'"),
        (
            FILL | {"path": "000000000009_1.mp4"},
            "1 rows cannot be used, wanted all: .*000000000009_1\\.mp4 is not there",
        ),
        (FILL | {"start_frame": "40", "end_frame": "41"}, "got frames 40 to 41, wanted a span of the 40 label maps"),
        (FILL | {"end_frame": "-35"}, "got frames 5 to -35, wanted a span of the 40 label maps"),
        (FILL | {"end_frame": "-41"}, "got end_frame '-41', wanted a whole number from -40 on"),
        (FILL | {"mask_id": "disc"}, "got mask_id 'disc', wanted a whole number"),
        (FILL | {"fps": ""}, "got fps ''"),
        ({name: value for name, value in FILL.items() if name != "fps"}, "got no column fps"),
    ],
)
def test_rows_that_cannot_be_used_stop_the_reading_by_name(published, tmp_path, row, words):
    for name in ("pexels", "video_inpainting"):
        shutil.copytree(published / name, tmp_path / name)
    write_csv(tmp_path / "our_video_inpaint.csv", row)
    with pytest.raises(ConfigError, match=words):
        open_published(tmp_path)


@pytest.fixture
def own(published, tmp_path):
    """A copy with one row, to be changed."""
    for name in ("pexels", "video_inpainting"):
        shutil.copytree(published / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(("end", "stop"), [("40", 40), ("41", 40), ("-1", 39), ("-3.0", 37)])
def test_the_span_of_a_row_is_a_slice_as_in_the_published_code(own, caplog, end, stop):
    write_csv(own / "our_video_inpaint.csv", FILL | {"end_frame": end})
    bench = open_published(own)
    assert np.array_equal(bench.masks(bench.cases[0]), FOOTAGE.masks[0][5:stop])
    assert len(bench.frames(bench.cases[0])) == stop - 5
    assert ("our_video_inpaint.csv:2: of 40 label maps" in caplog.text) == (end != "40")


def test_a_video_that_ends_before_its_masks_costs_that_case_alone(published, own):
    shutil.copytree(published / "videovo", own / "videovo")
    write_csv(own / "our_video_edit_long.csv", EDIT)
    write_csv(own / "our_video_inpaint.csv", FILL | {"end_frame": "40"})
    write_video(own / PLACES[PEXELS][0] / PEXELS, FOOTAGE.frames[:39])
    bench = open_published(own)
    assert len(bench.frames(bench.cases[0])) == 40
    with pytest.raises(RunError, match=rf"{PEXELS}: got 34 of the 35 frames up to 39"):
        bench.frames(bench.cases[1])


def test_label_maps_may_be_floats_of_whole_numbers(own):
    path = own / PLACES[PEXELS][1] / "all_masks.npz"
    np.savez_compressed(path, np.load(path)["arr_0"].astype(np.float32))
    write_csv(own / "our_video_inpaint.csv", FILL)
    bench = open_published(own)
    assert np.array_equal(bench.masks(bench.cases[0]), FOOTAGE.masks[0, 5:35])


def test_a_row_that_is_repeated_is_one_case_and_may_not_differ(own):
    write_csv(own / "our_video_inpaint.csv", FILL, FILL)
    assert len(open_published(own).cases) == 1
    write_csv(own / "our_video_inpaint.csv", FILL, FILL | {"image_inpainting_prompt": "a box"})
    with pytest.raises(ConfigError, match=r"inpaint\.csv:3: the case is listed before as another"):
        open_published(own)


def test_the_fingerprint_is_of_every_video_and_mask(published, tmp_path):
    shutil.copytree(published, tmp_path, dirs_exist_ok=True)
    found = [fingerprint(open_published(published)), fingerprint(open_published(tmp_path))]
    assert found[0] == found[1]
    videos, masks = (tmp_path / place for place in PLACES[VIDEVO])
    write_video(videos / VIDEVO, FOOTAGE.frames[::-1])
    found.append(fingerprint(open_published(tmp_path)))
    np.savez_compressed(masks / "all_masks.npz", np.full(FOOTAGE.frames.shape[:3], 2, dtype=np.int32))
    found.append(fingerprint(open_published(tmp_path)))
    assert len(set(found)) == 3


def test_other_folders_and_damaged_files_are_named(published, tmp_path):
    with pytest.raises(ConfigError, match=r"got none of our_video_inpaint\.csv"):
        open_published(tmp_path)
    bench = open_published(published)
    videos, masks = (published / place for place in PLACES[PEXELS])
    whole = (videos / PEXELS).read_bytes(), (masks / "all_masks.npz").read_bytes()
    try:
        (videos / PEXELS).write_bytes(whole[0][: len(whole[0]) // 2])
        with pytest.raises(RunError, match=PEXELS):
            bench.frames(bench.cases[1])
        (masks / "all_masks.npz").write_bytes(whole[1][:-100])
        with pytest.raises(RunError, match=r"all_masks\.npz cannot be read"):
            bench.masks(bench.cases[1])
        (videos / PEXELS).unlink()
        (masks / "all_masks.npz").unlink()
        for read, name in ((bench.frames, PEXELS), (bench.masks, "all_masks.npz")):
            with pytest.raises(RunError, match=name):
                read(bench.cases[1])
    finally:
        (videos / PEXELS).write_bytes(whole[0])
        (masks / "all_masks.npz").write_bytes(whole[1])
