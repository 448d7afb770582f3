"""A folder of results gives back every bit, and says why where it cannot."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from benchmark.results import (
    BadResult,
    Frames,
    MethodRecord,
    Outcome,
    Results,
    encode_lossless,
    open_results,
)
from vpdata.errors import ConfigError, RunError

FPS = Fraction(30000, 1001)
TELEA = MethodRecord(name="telea", kind="telea", settings={"radius_px": 3.0}, bench="0123")
OK = Outcome(status="ok", seconds=1.5, peak_memory_mb=100.0)


@pytest.fixture
def frames() -> Frames:
    """Noise of an odd size: what no lossy step and no subsampling of colour would survive."""
    return np.random.default_rng(0).integers(0, 256, (5, 33, 47, 3), dtype=np.uint8)


@pytest.fixture
def results(tmp_path: Path, frames: Frames) -> Results:
    """One method with one case, `red-ball`."""
    results = Results(tmp_path / "results")
    results.begin(TELEA)
    results.keep("telea", "red-ball", frames, OK, fps=FPS)
    return results


def test_what_is_kept_is_read_back_bit_by_bit(results: Results, frames: Frames) -> None:
    again = open_results(results.root)
    assert again.methods == ("telea",)
    assert again.method("telea") == TELEA
    outcome = again.outcome("telea", "red-ball")
    assert (outcome.status, outcome.seconds, outcome.shape) == ("ok", 1.5, (5, 33, 47))
    np.testing.assert_array_equal(again.frames("telea", "red-ball", shape=(5, 33, 47)), frames)


def test_a_kept_video_is_lossless_rgb_to_ffmpeg_too(results: Results, frames: Frames) -> None:
    path = results.video("telea", "red-ball")
    reader = imageio_ffmpeg.read_frames(str(path), pix_fmt="rgb24", output_params=["-fps_mode", "passthrough"])
    facts = next(reader)
    assert facts["codec"].startswith("ffv1")
    assert facts["fps"] == pytest.approx(29.97)
    theirs = [np.frombuffer(data, np.uint8).reshape(33, 47, 3) for data in reader]
    np.testing.assert_array_equal(np.stack(theirs), frames)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (64, 64)])
def test_equal_frames_give_equal_bytes_at_any_size(size: tuple[int, int]) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (3, *size, 3), dtype=np.uint8)
    assert encode_lossless(frames, fps=FPS) == encode_lossless(frames.copy(), fps=FPS)
    assert encode_lossless(frames, fps=FPS) != encode_lossless(255 - frames, fps=FPS)


def test_a_case_that_was_not_run_has_failed(results: Results) -> None:
    assert not results.has_outcome("telea", "blue-box")
    outcome = results.outcome("telea", "blue-box")
    assert outcome.status == "failed"
    assert "not run" in (outcome.reason or "")
    with pytest.raises(BadResult, match="not run"):
        results.frames("telea", "blue-box")


def test_the_reason_of_a_failure_is_kept_and_replaces_an_older_video(results: Results) -> None:
    results.keep_failure("telea", "red-ball", Outcome(status="failed", reason="it took more than 60 s"))
    assert results.has_outcome("telea", "red-ball")
    assert not results.video("telea", "red-ball").exists()
    with pytest.raises(BadResult, match="it took more than 60 s"):
        results.frames("telea", "red-ball")


@pytest.mark.parametrize("shape", [(6, 33, 47), (5, 47, 33), (5, 33, 46)])
def test_another_shape_than_wanted_is_named(results: Results, shape: tuple[int, int, int]) -> None:
    with pytest.raises(BadResult, match=r"got 5 frames of 47 x 33 px, wanted \d frames of \d+ x \d+ px"):
        results.frames("telea", "red-ball", shape=shape)


def test_a_damaged_or_missing_video_is_corrupt(results: Results) -> None:
    path = results.video("telea", "red-ball")
    whole = path.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:-1], whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], b""):
        path.write_bytes(damaged)
        with pytest.raises(BadResult, match=r"corrupt: red-ball\.mkv"):
            results.frames("telea", "red-ball")
    path.unlink()
    with pytest.raises(BadResult, match="is missing"):
        results.frames("telea", "red-ball")


def test_a_file_that_is_no_such_video_is_corrupt_though_its_hash_fits(results: Results, frames: Frames) -> None:
    results.keep("telea", "other", frames[:, :20], OK, fps=FPS)
    outcome = json.loads(results.root.joinpath("telea/other.json").read_text())
    for shape in ([5, 33, 47], [4, 20, 47], [6, 20, 47]):
        results.root.joinpath("telea/other.json").write_text(json.dumps(outcome | {"shape": shape}))
        with pytest.raises(BadResult, match="corrupt: got"):
            results.frames("telea", "other")


@pytest.mark.parametrize("text", ["", "{", '{"status": "fine"}', '{"status": "ok", "seconds": "many"}', "\xff"])
def test_a_damaged_outcome_has_failed(results: Results, text: str) -> None:
    results.root.joinpath("telea/red-ball.json").write_bytes(text.encode("latin-1"))
    assert results.outcome("telea", "red-ball").status == "failed"
    with pytest.raises(BadResult, match=r"corrupt: red-ball\.json"):
        results.frames("telea", "red-ball")


def test_results_of_other_settings_are_not_mixed(results: Results) -> None:
    results.begin(replace(TELEA, code_version="2"))
    assert results.has_outcome("telea", "red-ball")
    assert results.method("telea") == TELEA, "the version of the results that are there"
    other = replace(TELEA, settings={"radius_px": 5.0}, dilate_px=8)
    with pytest.raises(
        RunError, match=r"telea/method\.yaml is of another 'telea': settings, dilate_px differ; .* --redo"
    ):
        results.begin(other)
    assert results.has_outcome("telea", "red-ball")
    results.begin(other, redo=True)
    assert results.method("telea") == other
    assert not results.has_outcome("telea", "red-ball")


def test_results_that_nothing_is_known_of_are_listed_and_not_added_to(results: Results) -> None:
    results.root.joinpath("telea/method.yaml").unlink()
    results.root.joinpath("My Method").mkdir()
    results.root.joinpath("My Method/red-ball.mkv").write_bytes(b"")
    results.root.joinpath("scored/clean").mkdir(parents=True)
    results.root.joinpath("scores.parquet").write_bytes(b"")
    # As `study export` and `leaderboard add` may write them here.
    for name in ("study.db.results/results.json", "leaderboards/vpbench.json"):
        results.root.joinpath(name).parent.mkdir()
        results.root.joinpath(name).write_text("{}")
    assert results.methods == ("My Method", "telea")
    with pytest.raises(ConfigError, match=r"telea/method\.yaml is missing"):
        results.method("telea")
    with pytest.raises(ConfigError, match="got the name 'My Method'"):
        results.method("My Method")
    with pytest.raises(ConfigError, match=r"telea/method\.yaml is missing.*--redo"):
        results.begin(TELEA)
    results.keep_failure("telea", "red-ball", Outcome(status="failed", reason="it crashed"))
    with pytest.raises(ConfigError, match=r"telea/method\.yaml is missing.*--redo"):
        results.begin(TELEA)
    results.begin(TELEA, redo=True)
    assert results.method("telea") == TELEA
    assert not results.has_outcome("telea", "red-ball")


def test_results_on_another_benchmark_are_told(results: Results) -> None:
    assert results.method("telea", bench="0123") == TELEA
    with pytest.raises(ConfigError, match="results on another benchmark: got 0123, wanted 4567"):
        results.method("telea", bench="4567")


def test_the_fingerprint_is_of_all_that_is_known_of_the_results(results: Results, frames: Frames) -> None:
    found = [results.fingerprint("telea", cases) for cases in (["red-ball"], ["red-ball", "blue-box"])]
    results.keep("telea", "blue-box", frames, OK, fps=FPS)
    found.append(results.fingerprint("telea", ["red-ball", "blue-box"]))
    results.keep("telea", "red-ball", 255 - frames, OK, fps=FPS)
    found.append(results.fingerprint("telea", ["red-ball", "blue-box"]))
    results.begin(replace(TELEA, dilate_px=8), redo=True)
    found.append(results.fingerprint("telea", ["red-ball", "blue-box"]))
    assert len(set(found)) == 5
    assert results.fingerprint("telea", ["red-ball", "blue-box"]) == found[-1]


def test_a_folder_that_was_renamed_is_refused(results: Results) -> None:
    results.root.joinpath("telea").rename(results.root / "best")
    with pytest.raises(ConfigError, match="of the method 'telea', but lies in the folder of 'best'"):
        results.method("best")


@pytest.mark.parametrize("name", ["", "..", "../telea", "a/b", "Telea", "a b", "a\n", ".hidden", "x" * 81])
def test_names_that_are_no_file_names_are_refused(results: Results, frames: Frames, name: str) -> None:
    with pytest.raises(ConfigError, match="got the name"):
        results.keep(name, "red-ball", frames, OK, fps=FPS)
    with pytest.raises(ConfigError, match="got the name"):
        results.outcome("telea", name)


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no results"):
        open_results(tmp_path)
