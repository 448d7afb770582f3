"""DAVIS is read in its published layout, under moving random masks or under its objects."""

from __future__ import annotations

import argparse
import pickle

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmark.__main__ import main
from benchmark.davis import open_davis
from benchmark.footage import scene
from benchmark.opening import add_bench_options, bench_of
from benchmark.results import MethodRecord, Outcome, Results
from benchmark.running import fingerprint
from tests.benchmark.benches import make_bench
from vpdata.errors import ConfigError, RunError

NAMES = ("bear", "dogs-jump")
FOOTAGE = {
    name: scene("crossing", seed=seed, num_frames=12, height_px=48, width_px=80) for seed, name in enumerate(NAMES)
}


@pytest.fixture
def davis(tmp_path):
    for name, footage in FOOTAGE.items():
        for kind in ("JPEGImages", "Annotations"):
            (tmp_path / kind / "480p" / name).mkdir(parents=True)
        for index, frame in enumerate(footage.frames):
            path = tmp_path / "JPEGImages/480p" / name / f"{index:05d}.jpg"
            cv2.imwrite(str(path), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 100])
            # DAVIS's palette: the first object is dark red, the second dark green.
            colours = np.zeros_like(frame)
            colours[footage.masks[0, index]] = (0, 0, 128)
            colours[footage.masks[1, index]] = (0, 128, 0)
            cv2.imwrite(str(tmp_path / "Annotations/480p" / name / f"{index:05d}.png"), colours)
    return tmp_path


def test_sequences_are_cases_of_24_frames_a_second(davis):
    bench = pickle.loads(pickle.dumps(open_davis(davis)))
    assert [case.id for case in bench.cases] == ["davis-bear", "davis-dogs-jump"]
    case = bench.case("davis-dogs-jump")
    assert (case.subset, case.fps, case.num_frames, case.width_px, case.height_px) == ("davis", 24, 12, 80, 48)
    assert (case.caption, case.object_caption) == ("A video of dogs jump.", "dogs jump")
    frames, truth = bench.frames(case).astype(float), FOOTAGE["dogs-jump"].frames.astype(float)
    assert np.abs(frames.mean(axis=3) - truth.mean(axis=3)).mean() < 2
    assert np.allclose(frames.mean(axis=(0, 1, 2)), truth.mean(axis=(0, 1, 2)), atol=2), "red is red"


def test_random_masks_move_and_follow_from_seed_and_name_alone(davis):
    bench = open_davis(davis, seed=3)
    bear, dogs = (bench.masks(case) for case in bench.cases)
    assert bear.shape == (12, 48, 80)
    assert bear.any(axis=(1, 2)).all()
    assert (bear[0] != bear[-1]).any()
    assert (bear != dogs).any()
    assert np.array_equal(open_davis(davis, seed=3).masks(bench.cases[0]), bear)
    assert (open_davis(davis, seed=4).masks(bench.cases[0]) != bear).any()
    # A part of the frames has the masks that all of them have.
    assert np.array_equal(bench.media.masks(bench.cases[0], [2, 7]), bear[[2, 7]])


def test_objects_are_the_union_of_the_annotations(davis):
    bench = open_davis(davis, masks="objects")
    for case, footage in zip(bench.cases, FOOTAGE.values(), strict=True):
        assert np.array_equal(bench.masks(case), footage.masks.any(axis=0))


def test_what_is_missing_or_damaged_is_named(davis, tmp_path):
    with pytest.raises(ConfigError, match="wanted the folder of DAVIS"):
        open_davis(tmp_path / "JPEGImages")
    bench = open_davis(davis)
    (davis / "Annotations/480p/bear/00003.png").unlink()
    with pytest.raises(ConfigError, match=r"bear/00003\.png is missing"):
        open_davis(davis, masks="objects")
    (davis / "JPEGImages/480p/bear/00002.jpg").write_bytes(b"no picture")
    with pytest.raises(RunError, match=r"bear/00002\.jpg is no picture"):
        bench.frames(bench.cases[0])
    (davis / "JPEGImages/480p/empty").mkdir()
    with pytest.raises(ConfigError, match="the sequence empty has no frames"):
        open_davis(davis)


def test_the_fingerprint_is_of_the_seed_and_of_every_file(davis):
    def fingerprints():
        benches = [open_davis(davis), open_davis(davis, seed=1), open_davis(davis, masks="objects")]
        return [fingerprint(bench) for bench in benches]

    before = fingerprints()
    assert fingerprints() == before
    assert len(set(before)) == 3
    annotation = davis / "Annotations/480p/bear/00003.png"
    cv2.imwrite(str(annotation), np.zeros((48, 80, 3), np.uint8))
    assert [old == new for old, new in zip(before, fingerprints(), strict=True)] == [True, True, False]
    (davis / "JPEGImages/480p/bear/00003.jpg").write_bytes((davis / "JPEGImages/480p/bear/00004.jpg").read_bytes())
    assert not set(before) & set(fingerprints())


def test_results_under_one_seed_are_not_scored_under_another(davis, tmp_path):
    output = tmp_path / "results"
    bench = open_davis(davis, seed=0, masks="moving")
    results = Results(output)
    results.begin(MethodRecord(name="copy", kind="copy", settings={}, bench=fingerprint(bench)))
    for case in bench.cases:
        results.keep("copy", case.id, bench.frames(case), Outcome(status="ok"), fps=case.fps)
    statuses = []
    for seed in ("0", "1"):
        assert main(["score", "--davis", str(davis), "--davis-seed", seed, "--results", str(output)]) == 0
        rows = pq.read_table(output / "scores.parquet").to_pylist()
        statuses.append({row["status"] for row in rows if row["metric"] == "psnr"})
        assert all("results on another benchmark" in row["reason"] for row in rows if row["status"] == "failed")
    assert statuses == [{"ok"}, {"failed"}]


def test_command_line_names_one_benchmark_in_any_layout(davis, tmp_path):
    made = make_bench(tmp_path / "bench", num_long=0, num_edits=0)
    parser = argparse.ArgumentParser()
    add_bench_options(parser)
    assert bench_of(parser.parse_args(["--bench", str(made.folder)])).name == "drawn"
    moved = bench_of(parser.parse_args(["--davis", str(davis), "--davis-seed", "3"]))
    assert np.array_equal(moved.masks(moved.cases[0]), open_davis(davis, seed=3).masks(moved.cases[0]))
    with pytest.raises(ConfigError, match="published folder"):
        bench_of(parser.parse_args(["--published", str(tmp_path)]))
    with pytest.raises(SystemExit):
        parser.parse_args([])
