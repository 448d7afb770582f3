from __future__ import annotations

import json

import pytest

from benchmark.__main__ import main
from tests.benchmark.benches import make_bench
from tests.benchmark.report.conftest import Made, make_results
from vpdata.models.weights import VARIABLE


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def add(made: Made, results, board, *options: str) -> int:
    where = ["--bench", str(made.bench), "--results", str(results), "--board", str(board)]
    return main(["leaderboard", "add", *where, *options])


def test_results_are_measured_anew_and_stand_beside_those_of_others(made: Made, tmp_path, capsys) -> None:
    board = tmp_path / "board.json"
    make_results(made.bench, tmp_path / "first", ("dark",))
    # What lies beside the results is not believed: these scores are of another method.
    forged = tmp_path / "first/scores.parquet"
    forged.write_bytes(b"forged")
    assert add(made, tmp_path / "first", board) == 0
    assert add(made, made.results.root, board) == 0
    assert forged.read_bytes() == b"forged"
    assert [entry["method"]["name"] for entry in json.loads(board.read_text())["entries"]] == [
        "dark",
        "darker",
        "truth",
    ]
    capsys.readouterr()
    assert main(["leaderboard", "show", "--board", str(board)]) == 0
    shown = capsys.readouterr().out
    assert main(["report", "--bench", str(made.bench), "--results", str(made.results.root), "--output", str(tmp_path),
                 "--no-videos"]) == 0  # fmt: skip
    means = [line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("| darker | ")]
    assert means[1] in shown
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
    board.write_text('{"bench": 3}')
    assert main(["leaderboard", "show", "--board", str(board)]) == 1
    assert "is no leaderboard" in capsys.readouterr().err
