"""Running methods on a benchmark: on Ray, going on after a stop, and through whatever a method does."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vpdata
from benchmark.__main__ import main
from benchmark.bench import Bench
from benchmark.methods.settings import MethodSettings
from benchmark.results import BadResult, Outcome, Results, open_results
from benchmark.running import fingerprint, record_of, run
from tests.benchmark.benches import MadeBench, make_bench
from tests.benchmark.methods import programs
from vpdata.engine.ray import connected
from vpdata.errors import RunError

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


def ran(bench: Bench, methods: dict[str, MethodSettings], output: Path, **options: Any) -> Results:
    """After a run that refuses no method."""
    results = Results(output)
    assert run(bench, methods, results, **options) == {}
    return results


def statuses(results: Results, method: str) -> dict[str, str]:
    return {case_id: results.outcome(method, case_id).status for case_id in ("edit-s-0", "l-0", "s-0", "s-1")}


def test_all_cases_get_a_result_and_a_second_run_does_nothing(made: MadeBench, tmp_path: Path) -> None:
    methods = {"copy": COPY, "green": stand_in("array", workers=2, cpus=0.5)}
    results = ran(made.bench, methods, tmp_path)
    for name in methods:
        assert set(statuses(results, name).values()) == {"ok"}
    frames = results.frames("green", "s-0", shape=(9, 48, 64))
    assert np.all(frames[made.masks["s-0"]] == (10, 200, 60))
    record = open_results(tmp_path).method("green")
    assert (record.kind, record.bench, record.first_frame_given) == ("command", fingerprint(made.bench), False)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.[jm]*")}
    ran(made.bench, methods, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.[jm]*")} == written


def test_a_stopped_run_goes_on(made: MadeBench, tmp_path: Path) -> None:
    results = ran(made.bench, {"copy": COPY}, tmp_path, cases=[made.bench.case("s-0")])
    before = results.video("copy", "s-0").stat().st_mtime_ns
    assert statuses(results, "copy") == {"edit-s-0": "failed", "l-0": "failed", "s-0": "ok", "s-1": "failed"}
    ran(made.bench, {"copy": COPY}, tmp_path)
    assert set(statuses(results, "copy").values()) == {"ok"}
    assert results.video("copy", "s-0").stat().st_mtime_ns == before


def test_results_of_another_version_are_told_and_each_outcome_says_its_own(
    made: MadeBench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cases = [made.bench.case("s-0"), made.bench.case("s-1")]
    record, _ = record_of("copy", COPY, made.bench)
    results = Results(tmp_path)
    results.begin(replace(record, code_version="0.0.1"))
    older = Outcome(status="ok", code_version="0.0.1")
    results.keep("copy", "s-0", made.frames["s-0"], older, fps=Fraction(12))
    ran(made.bench, {"copy": COPY}, tmp_path, cases=cases)
    assert f"first results are of vpdata 0.0.1, what is run now is of {vpdata.__version__}" in caplog.text
    assert results.method("copy").code_version == "0.0.1"
    versions = [results.outcome("copy", case.id).code_version for case in cases]
    assert versions == ["0.0.1", vpdata.__version__]
    caplog.clear()
    ran(made.bench, {"copy": COPY}, tmp_path, cases=cases)
    assert not caplog.text, "nothing was run"


def test_videos_that_are_missing_or_damaged_are_counted_and_made_again(
    made: MadeBench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "methods.yaml").write_text("copy: {kind: copy}\n")
    options = ["--bench", str(made.folder), "--config", str(tmp_path / "methods.yaml"), "--cases", "s-0,s-1"]
    arguments = ["run", *options, "--output", str(tmp_path / "results")]
    assert main(arguments) == 0
    results = Results(tmp_path / "results")
    whole = {case_id: results.video("copy", case_id).read_bytes() for case_id in ("s-0", "s-1")}
    damaged = bytearray(whole["s-1"])
    damaged[-1] ^= 1
    results.video("copy", "s-0").unlink()
    results.video("copy", "s-1").write_bytes(damaged)
    capsys.readouterr()
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert "copy: 1 of 2 cases, " in out
    assert "copy, s-1: the result is corrupt: s-1.mkv has other bytes than were written; --retry runs it again" in out
    assert results.video("copy", "s-0").read_bytes() == whole["s-0"]
    assert main([*arguments, "--retry"]) == 0
    assert "copy: 2 of 2 cases, " in capsys.readouterr().out
    assert results.video("copy", "s-1").read_bytes() == whole["s-1"]


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
    results = ran(made.bench, {"bad": stand_in(what, **settings), "copy": COPY}, tmp_path)
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
    results = ran(made.bench, methods, tmp_path / "results", cases=cases)
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
    refused = run(made.bench, {**found, "again": COPY}, results, cases=cases)
    assert list(refused) == ["found"]
    assert re.search(r"weights differ; .* --redo", refused["found"])
    assert results.outcome("again", "s-0").status == "ok"
    assert "wanted uint8" in (results.outcome("found", "s-0").reason or ""), "it is as it was"
    ran(made.bench, found, tmp_path / "results", cases=cases, redo=True)
    np.testing.assert_array_equal(results.frames("found", "s-0"), made.frames["s-0"])


@pytest.mark.slow
def test_failures_are_left_alone_unless_they_are_to_be_tried_again(made: MadeBench, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    shutil.copy(programs.__file__, program)
    program.write_text("raise SystemExit(9)")
    command = [sys.executable, str(program), "array", "{frames}", "{masks}", "{output}"]
    settings = MethodSettings(kind="command", options={"command": command, "result": "made.npy"})
    cases = [made.bench.case("s-0")]
    results = ran(made.bench, {"late": settings}, tmp_path / "results", cases=cases)
    shutil.copy(programs.__file__, program)
    ran(made.bench, {"late": settings}, tmp_path / "results", cases=cases)
    assert "status 9" in (results.outcome("late", "s-0").reason or "")
    ran(made.bench, {"late": settings}, tmp_path / "results", cases=cases, retry=True)
    assert results.outcome("late", "s-0").status == "ok"


@pytest.mark.slow
def test_a_method_that_cannot_be_loaded_fails_on_all_cases(
    made: MadeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("diffusers")
    options = {"weights": str(tmp_path), "device": "cpu"}
    methods = {"vace": MethodSettings(kind="wan_vace", options=options), "copy": COPY}
    results = ran(made.bench, methods, tmp_path / "results")
    assert set(statuses(results, "vace").values()) == {"failed"}
    assert "cannot be loaded as a VACE pipeline" in (results.outcome("vace", "l-0").reason or "")
    assert set(statuses(results, "copy").values()) == {"ok"}


def test_what_asks_for_more_than_there_is_fails_alone(made: MadeBench, tmp_path: Path) -> None:
    results = ran(made.bench, {"big": MethodSettings(kind="copy", gpus=99), "copy": COPY}, tmp_path)
    assert set(statuses(results, "big").values()) == {"failed"}
    reason = results.outcome("big", "l-0").reason or ""
    assert re.search(r"wants 1 CPUs and 99 GPUs, but the largest node has .* 0 GPUs", reason)
    assert set(statuses(results, "copy").values()) == {"ok"}


@pytest.mark.slow
def test_weights_that_are_not_there_cost_no_other_method_and_no_result(made: MadeBench, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    found = MethodSettings(kind="folder", options={"folder": str(folder), "result": "{case}.npy"})
    results = ran(made.bench, {"theirs": found, "copy": COPY}, tmp_path / "results")
    assert set(statuses(results, "theirs").values()) == {"failed"}
    assert "holds no files that are wanted" in (results.outcome("theirs", "s-0").reason or "")
    assert results.method("theirs").weights is None
    assert set(statuses(results, "copy").values()) == {"ok"}

    folder.mkdir()
    np.save(folder / "s-0.npy", made.frames["s-0"])
    ran(made.bench, {"theirs": found}, results.root, retry=True)
    assert results.outcome("theirs", "s-0").status == "ok"
    known = results.method("theirs").weights
    assert known
    (folder / "s-0.npy").unlink()
    ran(made.bench, {"theirs": found}, results.root, redo=True)
    assert results.outcome("theirs", "s-0").status == "ok", "nothing could take its place"
    assert results.method("theirs").weights == known


def test_a_mask_that_is_gone_costs_its_own_case_alone(tmp_path: Path) -> None:
    made = make_bench(tmp_path / "bench", num_short=2, num_long=0, num_edits=0)
    (made.folder / "masks/s-0.json").unlink()
    results = ran(made.bench, {"copy": COPY}, tmp_path / "results")
    assert "the case itself cannot be read" in (results.outcome("copy", "s-0").reason or "")
    assert results.outcome("copy", "s-1").status == "ok"


@pytest.mark.slow
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


@pytest.mark.slow
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
    # Another setting under a name that has results: not run, and the others are.
    assert main([*arguments, "--cases", "s-0", "--set", "copy.dilate_px=3"]) == 1
    said = capsys.readouterr()
    assert "copy: not run: copy/method.yaml is of another 'copy': dilate_px differ" in said.out
    assert "mine: 0 of 1 cases" in said.out
    assert main([*arguments, "--cases", "s-9"]) == 1
    assert "s-9, which drawn does not have" in capsys.readouterr().err


def test_edits_that_a_method_cannot_do_are_neither_tried_nor_faults(
    made: MadeBench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # No node has room for a worker, as none is to be started.
    program = "{kind: command, give_first_frame: true, gpus: 99, options: {command: [a, '{frames}{masks}{output}']}}"
    (tmp_path / "methods.yaml").write_text(f"theirs: {program}\n")
    options = ["--bench", str(made.folder), "--config", str(tmp_path / "methods.yaml")]
    arguments = ["run", *options, "--output", str(tmp_path / "results")]
    for _ in range(2):
        assert main([*arguments, "--cases", "edit-s-0", "--retry"]) == 0
        assert "theirs: 0 of 1 cases, 1 edits not tried, which have no true first frame" in capsys.readouterr().out
    reason = Results(tmp_path / "results").outcome("theirs", "edit-s-0").reason
    assert "an edit has no true first frame" in (reason or "")
    assert main([*arguments, "--cases", "edit-s-0,s-0"]) == 1
    assert "wants 1 CPUs and 99 GPUs" in (Results(tmp_path / "results").outcome("theirs", "s-0").reason or "")


@pytest.mark.parametrize(("option", "message"), [("--methods", "got no method, "), ("--cases", "got no case, ")])
def test_a_list_of_none_is_refused(
    made: MadeBench, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, message: str
) -> None:
    (tmp_path / "methods.yaml").write_text("copy: {kind: copy}\n")
    options = ["--bench", str(made.folder), "--config", str(tmp_path / "methods.yaml")]
    assert main(["run", *options, "--output", str(tmp_path / "results"), option, ""]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_kind_whose_packages_are_missing_is_not_run_alone(
    made: MadeBench, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "benchmark.methods.wan_vace", None)
    (tmp_path / "methods.yaml").write_text("vace: {kind: wan_vace}\ncopy: {kind: copy}\n")
    options = ["--bench", str(made.folder), "--config", str(tmp_path / "methods.yaml"), "--cases", "s-0"]
    assert main(["run", *options, "--output", str(tmp_path / "results")]) == 1
    out = capsys.readouterr().out
    assert "vace: not run: the kind 'wan_vace' needs a package that is not installed" in out
    assert "copy: 1 of 1 cases" in out


def test_a_record_tells_all_that_decides_and_no_home(made: MadeBench) -> None:
    program = "/home/somebody/program.py"
    options = {"command": ["python", program, "{frames}", "{masks}", "{output}"], "version": "1.2"}
    settings = MethodSettings(kind="command", options=options, dilate_px=8, give_first_frame=True)
    record, problem = record_of("theirs", settings, made.bench)
    assert not problem
    assert (record.dilate_px, record.first_frame_given, record.settings["version"]) == (8, True, "1.2")
    assert record.settings["command"][1] == "program.py"
    assert "somebody" not in str(record)


@pytest.mark.slow
def test_results_of_edits_that_were_given_their_first_frame_are_refused(made: MadeBench, tmp_path: Path) -> None:
    """As all were, until records had a version of what is given."""
    results = Results(tmp_path)
    for is_given in (False, True):
        name, settings = f"copy-{is_given}".lower(), replace(COPY, give_first_frame=is_given)
        record, _ = record_of(name, settings, made.bench)
        results.begin(replace(record, given_version=1))
        refused = run(made.bench, {name: settings}, results, cases=[made.bench.case("edit-s-0")])
        assert list(refused) == [name] * is_given
        assert all("given_version differ" in reason for reason in refused.values())


def test_programs_in_two_folders_of_one_name_are_two_methods(made: MadeBench, tmp_path: Path) -> None:
    def settings(version: str) -> MethodSettings:
        command = ["python", "tool.py", "{frames}", "{masks}", "{output}"]
        return MethodSettings(kind="command", options={"command": command, "run_in": f"/home/somebody/{version}/tool"})

    first, again, second = (record_of("tool", settings(version), made.bench)[0] for version in ("v1", "v1", "v2"))
    assert first == again
    assert "somebody" not in str(first)
    results = Results(tmp_path)
    results.begin(first)
    with pytest.raises(RunError, match=r"of another 'tool': weights differ"):
        results.begin(second)


def test_what_was_held_out_of_a_training_is_told_and_makes_no_other_method(made: MadeBench, tmp_path: Path) -> None:
    record, _ = record_of("ours", COPY, made.bench)
    weights, results = {"context_encoder": "0123"}, Results(tmp_path)
    results.begin(replace(record, weights=weights))
    told = weights | {"held out of context_encoder": "vpbench 4567"}
    results.begin(replace(record, weights=told))
    assert results.method("ours").weights == told
    with pytest.raises(RunError, match=r"of another 'ours': weights differ"):
        results.begin(replace(record, weights=told | {"context_encoder": "89ab"}))
