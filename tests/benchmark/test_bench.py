"""A benchmark's folder is read back as it was drawn, at the frames and the size that its protocol asks for."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmark.bench import Sampling, cases_table, open_bench
from tests.benchmark.benches import make_bench
from vpdata.dataset.run import parquet_bytes
from vpdata.errors import ConfigError, RunError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_bench(tmp_path_factory.mktemp("bench"))


def test_cases_come_in_the_order_of_their_ids_with_what_was_drawn(made):
    bench = pickle.loads(pickle.dumps(made.bench))
    assert [case.id for case in bench.cases] == ["edit-s-0", "l-0", "s-0", "s-1"]
    for case in bench.cases:
        assert np.array_equal(bench.masks(case), made.masks[case.id])
        grey = [
            frames.astype(float) @ (0.2126, 0.7152, 0.0722) for frames in (bench.frames(case), made.frames[case.id])
        ]
        assert np.abs(grey[0] - grey[1]).mean() < 2
    edit = bench.case("edit-s-0")
    assert (edit.prompt, edit.object_prompt) == ("A green ball moves.", "a green ball")
    with pytest.raises(KeyError, match="s-7"):
        bench.case("s-7")


def test_sampling_takes_frames_by_time_and_shortens_short_cases_alone(made):
    short, long = made.bench.case("s-0"), made.bench.case("l-0")
    sampling = Sampling(fps=Fraction(8), num_frames=4)
    # 12 frames a second at 8: every 1.5th, and the half goes to the later frame.
    assert sampling.frames_of(short) == (0, 2, 3, 5)
    assert sampling.frames_of(long)[-2:] == (24, 26)
    assert len(sampling.frames_of(long)) == 18
    assert sampling.fps_of(short) == 8
    faster = Sampling(fps=Fraction(30), num_frames=None)
    assert (faster.frames_of(short), faster.fps_of(short)) == (tuple(range(9)), 12)


def test_sampled_case_has_the_size_of_the_protocol_and_no_hole_is_lost(tmp_path):
    made = make_bench(
        tmp_path, num_long=0, num_edits=0, sampling={"fps": 4, "height_px": 24, "width_px": 40, "num_frames": 3}
    )
    case = made.bench.case("s-0")
    sampled = made.bench.sampled(case)
    assert sampled.frames.shape == (3, 24, 40, 3)
    assert sampled.frames.dtype == np.uint8
    assert sampled.fps == 4
    truth = made.masks["s-0"][[0, 3, 6]]
    rows, columns = np.nonzero(truth[1])
    assert sampled.masks[1][rows * 24 // 48, columns * 40 // 64].all()


def test_damage_is_named_with_the_file(tmp_path):
    made = make_bench(tmp_path, num_short=3, num_long=0, num_edits=0)
    bench = made.bench
    mask = tmp_path / "masks/s-0.json"
    whole = json.loads(mask.read_text())
    empty = json.dumps({**whole, "counts": [None] * 9})
    mask.write_text(empty)
    with pytest.raises(
        RunError, match=r"masks/s-0\.json: it has other bytes than were written; make the benchmark again"
    ):
        bench.masks(bench.case("s-0"))
    unhashed = replace(bench.case("s-0"), mask_sha256=None)
    assert not bench.masks(unhashed).any()
    mask.write_text(json.dumps({**whole, "counts": ["0Z", *whole["counts"][1:]]}))
    with pytest.raises(RunError, match=r"masks/s-0\.json: .*run lengths"):
        bench.masks(unhashed)
    mask.write_text(json.dumps({**whole, "counts": whole["counts"][:-1]}))
    with pytest.raises(RunError, match="got 8 masks of 64x48 px, wanted 9"):
        bench.masks(unhashed)
    mask.write_text("{")
    with pytest.raises(RunError, match=r"masks/s-0\.json"):
        bench.masks(unhashed)
    video = tmp_path / "videos/s-1.mp4"
    video.write_bytes(video.read_bytes()[:-5])
    with pytest.raises(RunError, match=r"videos/s-1\.mp4"):
        bench.frames(bench.case("s-1"))


def test_other_folders_and_sizes_are_refused(tmp_path):
    with pytest.raises(RunError, match=r"holds no bench\.yaml"):
        open_bench(tmp_path)
    with pytest.raises(ValueError, match="both or neither"):
        Sampling(height_px=4)
    made = make_bench(tmp_path, num_short=1, num_long=0, num_edits=0)
    (made.folder / "bench.yaml").write_text("name: x\nsampling: {frames: 3}\n")
    with pytest.raises(ConfigError, match=r"unknown setting .*sampling\.frames"):
        open_bench(tmp_path)


@pytest.mark.parametrize("text", ["[", "[name, sampling]", "name: drawn", "{name: ../up, sampling: {}}", "\xff"])
def test_damaged_facts_are_named(tmp_path, text):
    make_bench(tmp_path, num_short=1, num_long=0, num_edits=0)
    (tmp_path / "bench.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=r"(?s)bench\.yaml is damaged: .*; make the benchmark again"):
        open_bench(tmp_path)


def test_damaged_cases_are_named(tmp_path):
    made = make_bench(tmp_path, num_short=1, num_long=0, num_edits=0)
    table = pq.read_table(tmp_path / "cases.parquet")
    (case,) = made.bench.cases
    contents = {
        "damaged": [b"garbage", parquet_bytes(table.drop_columns("clip_id"))],
        "no hash of its": [parquet_bytes(table.drop_columns("mask_sha256"))],
        "'../s-0' has .* an id of other signs": [parquet_bytes(cases_table([replace(case, id="../s-0")]))],
    }
    for message, files in contents.items():
        for content in files:
            (tmp_path / "cases.parquet").write_bytes(content)
            with pytest.raises(RunError, match=rf"(?s)cases\.parquet.* {message}.*; make the benchmark again"):
                open_bench(tmp_path)
