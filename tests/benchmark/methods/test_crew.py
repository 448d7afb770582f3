"""Processes that the cluster takes, cannot reach or has no room for yet."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
import pytest
import ray

from benchmark.methods import crew
from benchmark.methods.settings import MethodSettings
from benchmark.results import Results
from benchmark.running import run
from tests.benchmark.benches import make_bench
from tests.benchmark.test_running import stand_in
from tests.engine.connections import cut_connections
from vpdata.engine.ray import connected

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_what_the_memory_killer_takes_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray ends processes where this share of the memory is in use, as it always is here."""
    made = make_bench(tmp_path / "bench", num_short=1, num_long=0, num_edits=0)
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.01")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    results = Results(tmp_path / "results")
    with connected("local"):
        run(made.bench, {"hungry": MethodSettings(kind="copy")}, results)
    outcome = results.outcome("hungry", "s-0")
    assert outcome.status == "failed"
    assert "its process was killed: the node ran low on memory" in (outcome.reason or "")
    assert "fewer workers" not in (outcome.reason or ""), "there is one"


def test_a_process_that_cannot_be_reached_is_ended_before_another_takes_over(tmp_path: Path) -> None:
    made = make_bench(tmp_path / "bench", num_short=1, num_long=1, num_edits=0)
    results = Results(tmp_path / "results")
    workers: list[psutil.Process] = []

    def cut() -> None:
        deadline_s = time.monotonic() + 120
        while not workers and time.monotonic() < deadline_s:
            workers.extend(filter(_fills_a_case, psutil.Process().children(recursive=True)))
            time.sleep(0.05)
        cut_connections(workers[0])

    with connected("local"):
        cutting = threading.Thread(target=cut)
        cutting.start()
        cases = [made.bench.case("l-0"), made.bench.case("s-0")]
        run(made.bench, {"far": stand_in("hangs", time_limit_s=120.0)}, results, cases=cases)
        cutting.join()
        _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    assert "unavailable" in (results.outcome("far", "l-0").reason or "")
    assert results.outcome("far", "s-0").status == "ok"


def test_waiting_for_a_place_on_the_cluster_is_not_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that never gets a place neither fails the cases nor is waited for when the others are done."""
    monkeypatch.setattr(crew, "_LOAD_LIMIT_S", 10.0)
    made = make_bench(tmp_path / "bench", num_short=2, num_long=0, num_edits=0)
    results = Results(tmp_path / "results")
    with connected("local"):
        num_cpus = int(ray.cluster_resources()["CPU"])
        holders = [ray.remote(_Holder).options(num_cpus=1).remote() for _ in range(num_cpus)]
        ray.get([one.ready.remote() for one in holders])
        free = threading.Timer(15.0, lambda: ray.kill(holders[0]))
        free.start()
        started_s = time.monotonic()
        run(made.bench, {"copy": MethodSettings(kind="copy", workers=2)}, results)
        waited_s = time.monotonic() - started_s
        free.join()
    assert waited_s > 15
    assert [results.outcome("copy", case.id).reason for case in made.bench.cases] == [None, None]


class _Holder:
    """Holds a CPU."""

    def ready(self) -> None:
        pass


def _fills_a_case(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[:1] == ["ray::_Worker.run"]
    except psutil.NoSuchProcess:
        return False
