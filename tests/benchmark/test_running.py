"""Running methods on a benchmark: on Ray, going on after a stop, and through whatever a method does."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.__main__ import main
from benchmark.methods.settings import MethodSettings
from benchmark.results import BadResult, Results, open_results
from benchmark.running import fingerprint, record_of, run
from tests.benchmark.benches import MadeBench, make_bench
from tests.benchmark.methods import programs
from vpdata.engine.ray import connected
from vpdata.errors import ConfigError, RunError

pytestmark = pytest.mark.ray

COPY = MethodSettings(kind="copy")


def stand_in(what: str, **settings: Any) -> MethodSettings:
    command = [sys.executable, programs.__file__, what, "{frames}", "{masks}", "{output}", "{prompt_file}"]
    return MethodSettings(kind="command", options={"command": command, "result": "made.npy"}, **settings)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeBench:
    """Two short cases, one long and an edit."""
    return make_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module", autouse=True)
def _one_cluster() -> Iterator[None]:
    with connected("local"):
        yield


def statuses(results: Results, method: str) -> dict[str, str]:
    return {case_id: results.outcome(method, case_id).status for case_id in ("edit-s-0", "l-0", "s-0", "s-1")}


def test_all_cases_get_a_result_and_a_second_run_does_nothing(made: MadeBench, tmp_path: Path) -> None:
    methods = {"copy": COPY, "green": stand_in("array", workers=2, cpus=0.5)}
    results = run(made.bench, methods, tmp_path)
    for name in methods:
        assert set(statuses(results, name).values()) == {"ok"}
    frames = results.frames("green", "s-0", shape=(9, 48, 64))
    assert np.all(frames[made.masks["s-0"]] == (10, 200, 60))
    record = open_results(tmp_path).method("green")
    assert (record.kind, record.bench, record.first_frame_given) == ("command", fingerprint(made.bench), False)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.[jm]*")}
    run(made.bench, methods, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.[jm]*")} == written


def test_a_stopped_run_goes_on(made: MadeBench, tmp_path: Path) -> None:
    results = run(made.bench, {"copy": COPY}, tmp_path, cases=[made.bench.case("s-0")])
    before = results.video("copy", "s-0").stat().st_mtime_ns
    assert statuses(results, "copy") == {"edit-s-0": "failed", "l-0": "failed", "s-0": "ok", "s-1": "failed"}
    run(made.bench, {"copy": COPY}, tmp_path)
    assert set(statuses(results, "copy").values()) == {"ok"}
    assert results.video("copy", "s-0").stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "settings", "reason"),
    [
        ("kills_worker", {}, "its process died"),
        ("hangs", {"time_limit_s": 30.0}, "it took more than 30 s"),
    ],
)
def test_what_kills_or_hangs_costs_its_own_case_alone(
    made: MadeBench, tmp_path: Path, what: str, settings: dict[str, Any], reason: str
) -> None:
    results = run(made.bench, {"bad": stand_in(what, **settings), "copy": COPY}, tmp_path)
    assert statuses(results, "bad") == {"edit-s-0": "ok", "l-0": "failed", "s-0": "ok", "s-1": "ok"}
    assert reason in (results.outcome("bad", "l-0").reason or "")
    assert set(statuses(results, "copy").values()) == {"ok"}


@pytest.mark.slow
def test_wrong_answers_are_failures_that_can_be_tried_again(made: MadeBench, tmp_path: Path) -> None:
    cases = [made.bench.case("s-0")]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    np.save(elsewhere / "s-0.npy", made.frames["s-0"][:-1])
    options = {"folder": str(elsewhere), "result": "{case}.npy"}
    methods = {
        "nan": stand_in("nan"),
        "small": stand_in("small"),
        "found": MethodSettings(kind="folder", options=options),
        "copy": COPY,
    }
    results = run(made.bench, methods, tmp_path / "results", cases=cases)
    for name, reason in [
        ("nan", "NaN or infinite"),
        ("small", r"uint8 \[9, 46, 64, 3\], wanted uint8 \[9, 48, 64, 3\]"),
        ("found", r"uint8 \[8, 48, 64, 3\], wanted uint8 \[9, 48, 64, 3\]"),
    ]:
        with pytest.raises(BadResult, match=reason):
            results.frames(name, "s-0")
    assert results.outcome("copy", "s-0").status == "ok"

    np.save(elsewhere / "s-0.npy", made.frames["s-0"])
    found = {"found": methods["found"]}
    with pytest.raises(RunError, match=r"weights differ; .* --redo"):
        run(made.bench, found, tmp_path / "results", cases=cases)
    run(made.bench, found, tmp_path / "results", cases=cases, redo=True)
    np.testing.assert_array_equal(results.frames("found", "s-0"), made.frames["s-0"])


@pytest.mark.slow
def test_failures_are_left_alone_unless_they_are_to_be_tried_again(made: MadeBench, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    shutil.copy(programs.__file__, program)
    program.write_text("raise SystemExit(9)")
    command = [sys.executable, str(program), "array", "{frames}", "{masks}", "{output}"]
    settings = MethodSettings(kind="command", options={"command": command, "result": "made.npy"})
    cases = [made.bench.case("s-0")]
    results = run(made.bench, {"late": settings}, tmp_path / "results", cases=cases)
    shutil.copy(programs.__file__, program)
    run(made.bench, {"late": settings}, tmp_path / "results", cases=cases)
    assert "status 9" in (results.outcome("late", "s-0").reason or "")
    run(made.bench, {"late": settings}, tmp_path / "results", cases=cases, retry=True)
    assert results.outcome("late", "s-0").status == "ok"


@pytest.mark.slow
def test_a_method_that_cannot_be_loaded_fails_on_all_cases(
    made: MadeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("diffusers")
    options = {"weights": str(tmp_path), "device": "cpu"}
    methods = {"vace": MethodSettings(kind="wan_vace", options=options), "copy": COPY}
    results = run(made.bench, methods, tmp_path / "results")
    assert set(statuses(results, "vace").values()) == {"failed"}
    assert "cannot be loaded as a VACE pipeline" in (results.outcome("vace", "l-0").reason or "")
    assert set(statuses(results, "copy").values()) == {"ok"}


def test_what_asks_for_more_than_there_is_stops_before_anything_runs(made: MadeBench, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"wants 1 CPUs and 99 GPUs, but the largest node has .* 0 GPUs"):
        run(made.bench, {"copy": COPY, "big": MethodSettings(kind="copy", gpus=99)}, tmp_path)
    assert not list(tmp_path.glob("copy/*.json"))


def test_relative_paths_are_from_where_the_command_was_given(
    made: MadeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    np.save("mine/s-0.npy", made.frames["s-0"])
    Path("methods.yaml").write_text("mine: {kind: folder, options: {folder: mine, result: '{case}.npy'}}")
    arguments = ["run", "--bench", str(made.folder), "--config", "methods.yaml", "--output", "results"]
    assert main([*arguments, "--cases", "s-0"]) == 0
    assert open_results("results").outcome("mine", "s-0").status == "ok"


def test_the_command_counts_what_failed(made: MadeBench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.joinpath("methods.yaml").write_text(
        "copy: {kind: copy}\n"
        f"mine: {{kind: folder, options: {{folder: {made.folder}/videos, result: 'not-{{case}}.mp4'}}}}\n"
    )
    options = ["--bench", str(made.folder), "--config", str(tmp_path / "methods.yaml")]
    arguments = ["run", *options, "--output", str(tmp_path / "results")]
    assert main([*arguments, "--methods", "copy,mine", "--cases", "s-0,s-1"]) == 1
    out = capsys.readouterr().out
    assert "copy: 2 of 2 cases, " in out
    assert "mine: 0 of 2 cases" in out
    assert main([*arguments, "--cases", "s-9"]) == 1
    assert "s-9, which drawn does not have" in capsys.readouterr().err


def test_a_record_tells_all_that_decides_and_no_home(made: MadeBench) -> None:
    program = "/home/somebody/program.py"
    options = {"command": ["python", program, "{frames}", "{masks}", "{output}"], "version": "1.2"}
    settings = MethodSettings(kind="command", options=options, dilate_px=8, give_first_frame=True)
    record = record_of("theirs", settings, made.bench)
    assert (record.dilate_px, record.first_frame_given, record.settings["version"]) == (8, True, "1.2")
    assert record.settings["command"][1] == "program.py"
    assert "somebody" not in str(record)
