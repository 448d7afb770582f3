from __future__ import annotations

import json
import logging
import shutil
from threading import Thread

import pytest
from filelock import FileLock

from benchmark.__main__ import main
from tests.benchmark.benches import make_bench
from tests.benchmark.report.conftest import Made, make_results
from vpdata.models.weights import WEIGHTS_VARIABLE


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch):
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)


def add(made: Made, results, board, *options: str) -> int:
    where = ["--bench", str(made.bench), "--results", str(results), "--board", str(board)]
    return main(["leaderboard", "add", *where, *options])


def names(board) -> list[str]:
    return [entry["method"]["name"] for entry in json.loads(board.read_text())["entries"]]


def test_results_are_measured_anew_and_stand_beside_those_of_others(made: Made, tmp_path, capsys) -> None:
    board = tmp_path / "board.json"
    make_results(made.bench, tmp_path / "first", ("dark",))
    # What lies beside the results is not believed: these scores are of another method.
    forged = tmp_path / "first/scores.parquet"
    forged.write_bytes(b"forged")
    assert add(made, tmp_path / "first", board) == 0
    assert add(made, made.results.root, board) == 0
    assert forged.read_bytes() == b"forged"
    assert names(board) == ["dark", "darker", "truth"]
    make_results(made.bench, tmp_path / "third", ("given",), first_frame_given=True, given_version=2)
    assert add(made, tmp_path / "third", board) == 0
    capsys.readouterr()
    assert main(["leaderboard", "show", "--board", str(board)]) == 0
    shown = capsys.readouterr().out
    assert main(["report", "--bench", str(made.bench), "--results", str(made.results.root), "--output", str(tmp_path),
                 "--no-videos"]) == 0  # fmt: skip
    means = [line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("| darker | ")]
    assert means[1] in shown
    # One is the list of methods, and half are tables of edits.
    assert shown.count("| given† |") == (shown.count("| dark |") - 1) / 2 > 0
    assert (tmp_path / "board.html").is_file()


def test_adding_twice_changes_nothing_and_one_name_is_one_method(made: Made, tmp_path, capsys) -> None:
    board = tmp_path / "board.json"
    make_results(made.bench, tmp_path / "first", ("dark",))
    assert add(made, tmp_path / "first", board) == 0
    before = board.read_bytes()
    assert add(made, tmp_path / "first", board) == 0
    assert board.read_bytes() == before
    make_results(made.bench, tmp_path / "second", ("dark",), dilate_px=9)
    assert add(made, tmp_path / "second", board) == 1
    assert "holds other results of 'dark'" in capsys.readouterr().err
    assert board.read_bytes() == before
    assert add(made, tmp_path / "second", board, "--replace") == 0
    assert "hole grown by 9 px" in board.read_text()


def test_what_others_add_while_results_are_measured_stays(made: Made, tmp_path, caplog) -> None:
    board, other = tmp_path / "board.json", tmp_path / "other.json"
    make_results(made.bench, tmp_path / "first", ("dark",))
    assert add(made, made.results.root, other) == 0

    class Other(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shutil.copy(other, board)

    scorer = logging.getLogger("benchmark.metrics.scorer")
    caplog.set_level(logging.INFO, scorer.name)
    assert not board.exists()
    scorer.addHandler(handler := Other())
    try:
        assert add(made, tmp_path / "first", board) == 0
    finally:
        scorer.removeHandler(handler)
    assert names(board) == ["dark", "darker", "truth"]


def test_who_adds_waits_for_who_is_adding(made: Made, tmp_path) -> None:
    board = tmp_path / "board.json"
    make_results(made.bench, tmp_path / "first", ("dark",))
    adding = Thread(target=add, args=(made, tmp_path / "first", board))
    with FileLock(tmp_path / ".board.json.lock"):
        adding.start()
        adding.join(timeout=3)
        assert adding.is_alive()
        assert not board.exists()
    adding.join(timeout=60)
    assert names(board) == ["dark"]


def test_results_on_another_benchmark_or_of_nobody_are_refused(made: Made, tmp_path, capsys) -> None:
    board = tmp_path / "board.json"
    other = make_bench(tmp_path / "bench", num_short=1, num_long=0, num_edits=0, num_frames=6)
    make_results(other.folder, tmp_path / "elsewhere", ("dark",))
    assert add(made, tmp_path / "elsewhere", board) == 1
    assert "dark/method.yaml: results on another benchmark" in capsys.readouterr().err
    make_results(made.bench, tmp_path / "first", ("dark",))
    (tmp_path / "first/dark/method.yaml").unlink()
    assert add(made, tmp_path / "first", board) == 1
    assert "dark/method.yaml is missing" in capsys.readouterr().err
    assert not board.exists()


def test_what_was_measured_otherwise_is_refused(made: Made, tmp_path, capsys) -> None:
    board = tmp_path / "board.json"
    make_results(made.bench, tmp_path / "first", ("dark",))
    assert add(made, tmp_path / "first", board) == 0
    assert add(made, tmp_path / "first", board, "--dilate", "2") == 1
    assert "not measured as those of the leaderboard: settings" in capsys.readouterr().err
    # Told before anything is measured, which these results, being none, would not survive.
    make_results(made.bench, tmp_path / "second", ("truth",))
    (tmp_path / "second/truth/method.yaml").unlink()
    assert add(made, tmp_path / "second", board, "--dilate", "2") == 1
    assert "not measured as those of the leaderboard: settings" in capsys.readouterr().err
    # As written before boards kept it, and by metrics of another version.
    content = json.loads(board.read_text())
    before = {name: value for name, value in content.items() if name != "version"}
    for other, version in [(before, "one that it does not say"), (content | {"version": 99}, 99)]:
        board.write_text(json.dumps(other))
        assert add(made, tmp_path / "first", board) == 1
        message = capsys.readouterr().err
        assert f"version of the metrics: got {content['version']}, wanted {version}; name another --board" in message
        assert main(["leaderboard", "show", "--board", str(board)]) == 0
    # What is kept there as memory may be the GPU's.
    content["entries"][0]["method"] |= {"peak_memory_mb": 71234.0}
    for version, is_shown in ((content["version"], True), (3, False), (None, False)):
        board.write_text(json.dumps(content | {"version": version}))
        assert main(["leaderboard", "show", "--board", str(board)]) == 0
        assert ("71234" in capsys.readouterr().out) is is_shown
    board.write_text('{"bench": 3}')
    assert main(["leaderboard", "show", "--board", str(board)]) == 1
    assert "is no leaderboard" in capsys.readouterr().err
