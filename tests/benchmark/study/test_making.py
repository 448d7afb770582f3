"""What people see of a method's results."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.metrics.table import Output
from benchmark.results import MethodRecord, Outcome, Results
from benchmark.running import fingerprint
from benchmark.study.making import make, videos_folder
from benchmark.study.store import Facts
from tests.benchmark.benches import make_bench
from vpdata.media.clips import ClipReader
from vpdata.media.mask_mix import dilate

REACH_PX = {"far": 9, "near": 0, "shrunk": -2}
"""Method to how far the hole that it was given reaches around the mask."""


@pytest.mark.parametrize("words", ["a red ball", " "])
def test_no_words_about_the_whole_video_are_said_to_be_of_the_region(tmp_path: Path, words: str) -> None:
    drawn = make_bench(tmp_path / "bench", num_short=1, num_long=0, num_edits=0, num_frames=4).bench
    bench = replace(drawn, cases=(replace(drawn.cases[0], caption="A ball rolls.", object_caption=words),))
    results = Results(tmp_path / "results")
    sampled = bench.sampled(bench.cases[0])
    for name in ("one", "other"):
        results.begin(MethodRecord(name=name, kind="folder", settings={}, bench=fingerprint(bench)))
        results.keep(name, "s-0", sampled.frames, Outcome(status="ok"), fps=sampled.fps)
    facts = Facts(
        bench=bench.name, subsets=(), seed=0, num_cases=1, num_checks=0, methods=("one", "other"), short_side_px=480,
        shown="raw", left_out={},
    )  # fmt: skip
    make(tmp_path / "study.db", facts, bench, results)
    with sqlite3.connect(tmp_path / "study.db") as connection:
        assert list(connection.execute("SELECT text, region_text FROM cases")) == [("A ball rolls.", words.strip())]


@pytest.mark.parametrize("shown", ["composited", "raw"])
def test_known_pixels_are_put_back_around_the_hole_that_a_method_was_given(tmp_path: Path, shown: Output) -> None:
    bench = make_bench(tmp_path / "bench", num_short=1, num_long=0, num_edits=0, num_frames=4).bench
    results = Results(tmp_path / "results")
    sampled = bench.sampled(bench.cases[0])
    red = np.zeros_like(sampled.frames)
    red[..., 0] = 255
    for name, reach_px in REACH_PX.items():
        results.begin(MethodRecord(name=name, kind="folder", settings={}, bench=fingerprint(bench), dilate_px=reach_px))
        results.keep(name, "s-0", red, Outcome(status="ok", seconds=1.0), fps=sampled.fps)
    study = tmp_path / "study.db"
    facts = Facts(
        bench=bench.name, subsets=(), seed=0, num_cases=1, num_checks=0, methods=tuple(REACH_PX), short_side_px=480,
        shown=shown, left_out={},
    )  # fmt: skip
    make(study, facts, bench, results)
    with sqlite3.connect(study) as connection:
        files = dict(connection.execute("SELECT name, file FROM files"))
    for name, reach_px in REACH_PX.items():
        seen = ClipReader((videos_folder(study) / files[name]).read_bytes()).read().astype(int)
        hole = dilate(sampled.masks, max(0, reach_px))
        # Beyond the edge that fades over 4 px, and what 4:2:0 smears.
        far = ~dilate(hole, 8)
        assert np.abs(seen - red)[hole].mean() < 25, name
        wanted = sampled.frames if shown == "composited" else red
        assert far.mean() > 0.1
        assert np.abs(seen - wanted)[far].mean() < 8, name
