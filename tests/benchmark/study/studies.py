"""A small study: a drawn benchmark, results of three methods, and its server as a user starts it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmark.results import MethodRecord, Outcome, Results
from benchmark.running import fingerprint
from benchmark.study.ballots import QUESTIONS
from tests.benchmark.benches import make_bench

ROOT = Path(__file__).parents[3]
COLOURS = {"all-blue": (0, 0, 255), "all-grey": (128, 128, 128), "all-red": (255, 0, 0)}
METHODS = tuple(COLOURS)


@dataclass(kw_only=True)
class Served:
    """A server that runs, and the links that it printed."""

    url: str
    links: list[str]
    process: subprocess.Popen[str]
    printed: list[str] = field(default_factory=list)

    @property
    def tokens(self) -> list[str]:
        return [link.partition("#")[2] for link in self.links]


def make_material(folder: Path, *, num_cases: int = 3) -> None:
    """`bench` and `results` in a folder; each method fills the hole with one colour."""
    bench = make_bench(folder / "bench", num_short=num_cases, num_long=0, num_edits=1, num_frames=6).bench
    results = Results(folder / "results")
    for method in METHODS:
        results.begin(MethodRecord(name=method, kind="colour", settings={}, bench=fingerprint(bench)))
        for case in bench.cases:
            sampled = bench.sampled(case)
            frames = sampled.frames.copy()
            frames[sampled.masks] = COLOURS[method]
            results.keep(method, case.id, frames, Outcome(status="ok", seconds=1.0), fps=sampled.fps)


def fail_case(folder: Path, method: str, case_id: str) -> None:
    Results(folder / "results").keep_failure(method, case_id, Outcome(status="failed", reason="it ran out of memory"))


def options(folder: Path, *, participants: int, extra: Sequence[str] = ()) -> list[str]:
    """Of `study serve`, with a free port."""
    return [
        "--bench", str(folder / "bench"), "--results", str(folder / "results"), "--methods", ",".join(METHODS),
        "--participants", str(participants), "--checks", "1", "--port", "0", "--output", str(folder / "study.db"),
        *extra,
    ]  # fmt: skip


def start(folder: Path, *, participants: int, extra: Sequence[str] = ()) -> Served:
    """The command of the documentation, until it says that it serves."""
    command = [
        sys.executable,
        "-m",
        "benchmark",
        "study",
        "serve",
        *options(folder, participants=participants, extra=extra),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line.rstrip("\n"))
        if line.startswith("serving on "):
            break
    else:
        raise AssertionError("\n".join(printed))
    url = printed[-1].split()[2].rstrip(";")
    # Once it answers, it takes signals.
    httpx.get(url)
    links = [line.split()[-1] for line in printed if line.startswith("participant ")]
    return Served(url=url, links=links, process=process, printed=printed)


@contextmanager
def served(folder: Path, *, participants: int, extra: Sequence[str] = ()) -> Iterator[Served]:
    """As `start`, stopped as by Ctrl-C."""
    server = start(folder, participants=participants, extra=extra)
    try:
        yield server
    finally:
        server.process.send_signal(signal.SIGINT)
        server.process.wait(timeout=30)


class Participant:
    """Talks to the server as the page does."""

    def __init__(self, server: Served, token: str) -> None:
        self.client = httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def page(self) -> dict:
        reply = self.client.get("/api/page")
        assert reply.status_code == 200, reply.text
        return reply.json()

    def answer(self, ballot: int, place: int = 0, **places: int) -> httpx.Response:
        """`place` is the answer to all questions that are not named."""
        answers = dict.fromkeys(QUESTIONS, place) | places
        return self.client.post("/api/answers", json={"ballot": ballot, **answers})

    def answer_all(self, place: int = 0) -> int:
        """How many pages there were."""
        num_pages = 0
        while page := self.page()["page"]:
            assert self.answer(page["ballot"], place).status_code == 204
            num_pages += 1
        return num_pages
