"""The script of `docs/format.md` that brings in own videos with own masks, and what the page says comes of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.footage import write_video
from tests.runs import NUM_FRAMES, make_footage
from vpdata import open_dataset
from vpdata.cli import main
from vpdata.dataset.check import check
from vpdata.dataset.run import Run
from vpdata.storage import Folder

ROOT = Path(__file__).parents[2]
(SCRIPT,) = re.findall(r"```py\n(.*?)```", (ROOT / "docs/format.md").read_text(encoding="utf-8"), re.DOTALL)
MODES = {"my_cat": "L", "dog-2": "P"}
"""Kind of picture of each video's masks, grey or palette."""


def labels_of(seed: int) -> np.ndarray:
    """uint8 [T, H, W]: 7 for the blue square, 200 for the red one on top."""
    masks = make_footage(seed).masks
    return np.where(masks["red square"], 200, np.where(masks["blue square"], 7, 0)).astype(np.uint8)


@pytest.fixture
def own(tmp_path) -> Path:
    (tmp_path / "videos").mkdir()
    for seed, (stem, mode) in enumerate(MODES.items()):
        write_video(tmp_path / f"videos/{stem}.mp4", make_footage(seed).frames, fps=12)
        (tmp_path / f"videos/{stem}.txt").write_text(f"Pet {seed}, with a comma.\n")
        (tmp_path / "masks" / stem).mkdir(parents=True)
        for index, labels in enumerate(labels_of(seed)):
            picture = Image.fromarray(labels)
            if mode == "P":
                picture.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
            assert picture.mode == mode
            picture.save(tmp_path / "masks" / stem / f"{index:05d}.png")
    return tmp_path


def run_script(folder: Path, script: str = SCRIPT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)


def test_soft_edges_are_not_taken_for_objects(own):
    """23 levels from 11 to 253 around one square; thresholded as the message says they are one object."""
    soft = np.zeros((64, 96), np.uint8)
    soft[20:40, 30:53] = 11 * np.arange(1, 24)
    for other in (own / "masks/my_cat").glob("*.png"):
        Image.fromarray(soft).save(other)
    done = run_script(own)
    assert done.returncode == 1
    assert "masks/my_cat: got 23 levels of grey" in done.stderr
    (way_out,) = re.findall(r"Threshold it first \((.*)\)", done.stderr)
    assert not (own / "data/pexels_videovo_train_dataset.csv").exists()
    done = run_script(own, SCRIPT.replace("    tracks = ", f"    {way_out}\n    tracks = "))
    assert done.returncode == 0, done.stderr
    assert len((own / "data/pexels_videovo_train_dataset.csv").read_text().splitlines()) == 1 + len(MODES)


def test_own_masks_come_in_by_the_script_of_the_page(own, monkeypatch, capsys):
    done = run_script(own)
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(own)
    assert main(["import", "data", "--format", "videopainter", "--output", "run"]) == 0
    assert not check(Run(Folder("run")))
    samples = {re.sub(r".*/\d+_|\.mp4$", "", sample.record.clip.video.uri): sample for sample in open_dataset("run")}
    assert set(samples) == set(MODES)
    for seed, stem in enumerate(MODES):
        sample = samples[stem]
        assert [caption.text for caption in sample.captions] == [f"Pet {seed}, with a comma."]
        assert sample.record.scores == ()
        assert {(track.label, track.caption) for track in sample.tracks} == {("object", None)}
        assert sample.num_frames == NUM_FRAMES
        for track in sample.tracks:
            assert np.array_equal(track.masks, labels_of(seed) == track.id)
        assert [track.id for track in sample.tracks] == [7, 200]
    build = ["build", "--config", str(ROOT / "configs/embedded.yaml"), "--input", "videos", "--output", "run"]
    assert main([*build, "--engine", "local", "--redo", "caption"]) == 1
    assert "what is there was imported" in capsys.readouterr().err
