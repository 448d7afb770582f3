"""The commands as a user runs them: start, start again, kill, export."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from benchmark.__main__ import main
from benchmark.study.store import Store
from tests.benchmark.benches import make_bench
from tests.benchmark.study.conftest import NUM_INVITED
from tests.benchmark.study.studies import METHODS, ROOT, Participant, Served, make_material, options, served, start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_material(tmp_path, num_cases=2)
    return tmp_path


def serve_in_vain(folder: Path, capsys: pytest.CaptureFixture[str], *extra: str) -> str:
    """What the command says when it refuses to serve."""
    assert main(["study", "serve", *options(folder, participants=2), *extra]) == 1
    return capsys.readouterr().err


def test_what_is_printed(study: Served):
    text = "\n".join(study.printed)
    assert len(study.links) == len(set(study.links)) == NUM_INVITED
    assert all(link.startswith(f"{study.url}/#") for link in study.links)
    assert study.url.startswith("http://127.0.0.1:")
    assert "4 cases, 1 checks, methods all-blue, all-grey, all-red" in text
    assert "warning: 50 cases were asked for" in text
    assert "left out: s-3: all-red: it ran out of memory" in text


@pytest.mark.slow
def test_the_same_command_goes_on_with_what_was_answered_and_invites_only_new_people(folder: Path):
    with served(folder, participants=1) as server:
        (token,) = server.tokens
        first = Participant(server, token)
        assert first.answer(1).status_code == 204
        before = first.page()
    with served(folder, participants=2) as server:
        assert [link.partition("#")[2].partition("-")[0] for link in server.links] == ["2"]
        assert Participant(server, token).page() == before
        assert before["answered"] == 1


def test_a_lost_link_is_replaced_while_the_study_runs_and_its_answers_stay(folder: Path, capsys):
    with served(folder, participants=2) as server:
        lost, other = server.tokens
        assert Participant(server, lost).answer(1).status_code == 204
        command = ["study", "links", str(folder / "study.db"), "--participants"]
        assert main([*command, "1", "--url", f"{server.url}/"]) == 0
        number, link = capsys.readouterr().out.strip().split(": ", 1)
        assert number == "participant 1"
        assert link.startswith(f"{server.url}/#1-")
        assert Participant(server, lost).client.get("/api/page").status_code == 401
        assert Participant(server, link.partition("#")[2]).page()["answered"] == 1
        assert Participant(server, other).page()["answered"] == 0
        assert main([*command, "1,3"]) == 1
        assert "got the participants [3], wanted some of 1 to 2" in capsys.readouterr().err
        assert Participant(server, link.partition("#")[2]).page()["answered"] == 1


@pytest.mark.slow
def test_asking_for_videos_that_nobody_has_is_slowed_down_and_holds_up_no_participant(folder: Path):
    with served(folder, participants=1) as server, httpx.Client(base_url=server.url) as stranger:
        codes = [stranger.get(f"/videos/{number}").status_code for number in range(60)]
        assert codes[0] == 404
        assert codes[-1] == 429
        participant = Participant(server, server.tokens[0])
        for address in participant.page()["page"]["videos"]:
            assert participant.client.get(address).status_code == 200


@pytest.mark.slow
def test_no_answer_that_was_confirmed_is_lost_when_the_server_is_killed(folder: Path):
    """Four people answer without pause while the process is killed; then it is started again."""
    server = start(folder, participants=4)
    confirmed: dict[str, dict[int, int]] = {token: {} for token in server.tokens}
    under_way = threading.Event()

    def take_part(token: str) -> None:
        participant = Participant(server, token)
        try:
            while page := participant.page()["page"]:
                place = int(token[0]) % len(page["videos"])
                if participant.answer(page["ballot"], place).status_code == 204:
                    confirmed[token][page["ballot"]] = place
                    under_way.set()
        except httpx.TransportError:
            pass  # killed

    threads = [threading.Thread(target=take_part, args=(token,)) for token in server.tokens]
    for thread in threads:
        thread.start()
    assert under_way.wait(60)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    for thread in threads:
        thread.join()
    assert any(confirmed.values())
    with sqlite3.connect(folder / "study.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        # A page has all three answers or none.
        assert connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM answers GROUP BY participant, ballot HAVING count(*) <> 3)"
        ).fetchone() == (0,)
        kept = set(connection.execute("SELECT participant, ballot, place FROM answers"))
    for token, answers in confirmed.items():
        for ballot, place in answers.items():
            assert (int(token[0]), ballot, place) in kept
    with served(folder, participants=4) as again:
        for token in confirmed:
            participant = Participant(again, token)
            participant.answer_all(place=0)
            assert participant.page()["page"] is None


def test_export_while_the_study_runs(study: Served, material: Path, newcomer, tmp_path: Path):
    newcomer().answer_all()
    out = tmp_path / "out"
    command = [sys.executable, "-m", "benchmark", "study", "export", str(material / "study.db"), "--output", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    results = json.loads((out / "results.json").read_text())
    assert results["facts"]["methods"] == list(METHODS)
    assert (out / "results.md").read_text() in done.stdout
    assert (out / "answers.csv").stat().st_mode & 0o777 == 0o600
    rows = (out / "answers.csv").read_text().splitlines()
    store = Store(material / "study.db")
    assert len(rows) >= 1 + 15
    assert len(store.answers()) >= len(rows) - 1
    store.close()


def test_options_that_do_not_fit_are_refused_with_what_to_do(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert "did you mean 'all-red'" in serve_in_vain(folder, capsys, "--methods", "all-rad,all-grey")
    assert "wanted 2 to 8 different ones" in serve_in_vain(folder, capsys, "--methods", "all-red,all-red")
    assert "wanted 2 to 8 different ones" in serve_in_vain(folder, capsys, "--methods", "all-red")
    assert "none of these subsets" in serve_in_vain(folder, capsys, "--subsets", "davis")
    assert "without --public-url" in serve_in_vain(folder, capsys, "--host", "0.0.0.0")
    assert "wanted such as https://" in serve_in_vain(folder, capsys, "--public-url", "study.example.org")
    assert not (folder / "study.db").exists()


def test_results_on_another_benchmark_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    make_bench(folder / "bench", num_short=2, num_long=0, num_edits=0, num_frames=6)
    # Without a free port nothing is served that would have to be stopped.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        message = serve_in_vain(folder, capsys, "--port", str(taken.getsockname()[1]))
    assert "results on another benchmark" in message
    assert not (folder / "study.db").exists()


def test_another_study_in_the_same_file_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    with served(folder, participants=1, extra=["--show", "raw"]):
        pass
    message = serve_in_vain(folder, capsys, "--methods", "all-red,all-blue", "--seed", "3", "--show", "raw")
    assert "seed is 0, not 3" in message
    assert "methods is" in message
    assert "give the same options or another --output" in message
    # As a study from before there was a choice.
    assert "give the same options, --show raw too, or another --output" in serve_in_vain(folder, capsys)
    next((folder / "study.db.videos").glob("*.mp4")).unlink()
    assert "lacks 1 videos" in serve_in_vain(folder, capsys, "--show", "raw")


@pytest.mark.parametrize("content", [None, b"", b"not a database, but long enough to be looked at as one" * 20])
def test_a_file_that_is_no_study_is_refused(tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "study.db"
    if content is not None:
        path.write_bytes(content)
    assert main(["study", "export", str(path)]) == 1
    assert "is no study" in capsys.readouterr().err


def test_a_result_that_is_damaged_leaves_its_case_out_alone(folder: Path):
    (folder / "results" / "all-red" / "s-1.mkv").write_bytes(b"damaged")
    with served(folder, participants=1) as server:
        assert any("left out: s-1: all-red: the result is corrupt" in line for line in server.printed)
        assert Participant(server, server.tokens[0]).page()["total"] == 3
