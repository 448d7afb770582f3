"""Clusters of several nodes, all on this machine: what happens when one dies or comes late."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Thread

import psutil
import pytest
from ray import available_resources
from ray.cluster_utils import Cluster

from tests.engine.builds import build, results, write_sources
from tests.engine.tiny_stages import EndlessJob, TinyCut, TinyDetect, TinyFilter
from vpdata.engine import EngineSettings, dispatch, plan_text, ray
from vpdata.engine.plan import Node
from vpdata.engine.ray import RayCrew, connected
from vpdata.errors import BackendError
from vpdata.sources import Input, SourceSettings
from vpdata.stages.base import Resources

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ONE, TWO = (Resources(cpus=cpus, memory_gb=0.3, workers=1) for cpus in (1, 2))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head that holds no worker."""
    # As a Ray that this process starts; it looks once for a token.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with tempfile.TemporaryDirectory(prefix="ray") as short_folder:
        monkeypatch.setenv("RAY_TMPDIR", short_folder)
        cluster = Cluster()
        add_node(cluster, num_cpus=0)
        yield cluster
        cluster.shutdown()


def add_node(cluster: Cluster, *, num_cpus: int) -> psutil.Process:
    """Its raylet, which is above all its workers."""
    node = cluster.add_node(num_cpus=num_cpus, memory=4 * 10**9, object_store_memory=80 * 10**6)
    (raylet,) = node.all_processes["raylet"]
    return psutil.Process(raylet.process.pid)


def test_node_that_takes_all_workers_of_a_stage_with_it_does_not_stop_the_build(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sources = write_sources(tmp_path / "sources", ["2"] * 8)
    others = [TinyDetect(resources=ONE), TinyFilter(resources=ONE)]
    build(sources, tmp_path / "local", stages=[TinyCut(resources=TWO), *others], engine={"workers": 2})
    raylets = [add_node(cluster, num_cpus=2) for _ in range(2)]

    def lose_a_node() -> None:
        # The two small workers share a node, since there is no other room for them.
        while not (tmp_path / "run/1-cut/part-00000.parquet").exists() or sorted(map(num_actors, raylets)) != [1, 2]:
            time.sleep(0.05)
        lost = min(raylets, key=num_actors)
        monkeypatch.setattr(dispatch, "ROOM_WAIT_S", 3.0)
        for process in (lost, *lost.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()

    Thread(target=lose_a_node, daemon=True).start()
    stages = [TinyCut(resources=TWO, settings={"sleep_s": 1.0}), *others]
    build(sources, tmp_path / "run", kind="ray", stages=stages, engine={"ray_address": cluster.address})
    assert results(tmp_path / "run") == results(tmp_path / "local")
    (told,) = {message.partition(" wait, and ")[2] for message in caplog.messages if message.startswith("stage cut: ")}
    assert told == (
        "for 3 s the cluster has started none of its 1 worker(s), as if it had no room for them (each wants 2 cpu, "
        "0.3 GB); idle workers of stages behind it are stopped until it has one"
    )


def num_actors(raylet: psutil.Process) -> int:
    processes = [one.info for one in psutil.process_iter(["ppid", "cmdline"]) if one.info["ppid"] == raylet.pid]
    return sum(bool(one["cmdline"]) and one["cmdline"][0].startswith("ray::Worker") for one in processes)


def test_worker_holds_as_much_of_a_gpu_as_it_may_take_of_its_memory(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=2, num_gpus=2, memory=4 * 10**9, object_store_memory=80 * 10**6)
    need = Resources(cpus=1, memory_gb=0.3, gpus=0.5, gpu_memory_gb=40)
    with connected(cluster.address):
        crew = RayCrew([Node(cpus=2, gpus=2, memory_gb=4, gpu_memory_gb=48)])
        hand = crew.start(EndlessJob(resources=need, flag=tmp_path / "flag"))
        hand.ready().result(60)
        # 40 of 48 GB of one.
        assert available_resources()["GPU"] == pytest.approx(2 - 0.8333)
        hand.stop()


class HangingInput(Input):
    """No node but the driver's gets past it, as when a disk hangs."""

    def __reduce__(self) -> tuple[object, ...]:
        return time.sleep, (60.0,)


def plan(run: Path, cluster: Cluster, *, kind: type[Input] = Input, **engine: float) -> str:
    """The first line of a dry run."""
    settings = EngineSettings(ray_address=cluster.address, **engine)
    stages = [TinyCut(resources=TWO), TinyDetect(resources=ONE), TinyFilter(resources=ONE)]
    source = kind(str(write_sources(run.parent / "sources", ["1"])), SourceSettings())
    text = plan_text(str(run), source=source, stages=stages, engine=settings, kind="ray")
    return next(line for line in text.splitlines() if line.startswith("plan"))


def test_cluster_that_grows_is_waited_for_until_all_stages_fit_at_once(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_node(cluster, num_cpus=2)
    assert plan(tmp_path / "run", cluster, wait_for_s=0.5).startswith("plan: stage by stage, on 2 node(s)")
    assert "in 0.5 s the cluster has not grown to hold all stages at once" in caplog.messages
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(plan, tmp_path / "run", cluster, wait_for_s=60.0)
        time.sleep(1.0)
        add_node(cluster, num_cpus=2)
        assert waiting.result().startswith("plan: all stages at once, on 3 node(s)")


def test_node_that_has_just_died_or_hangs_is_named(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_node(cluster, num_cpus=2)
    monkeypatch.setattr(ray, "VISIT_S", 5.0)
    with pytest.raises(BackendError, match=f"no answer from {socket.gethostname()}, .* in 5 s: does a disk hang there"):
        plan(tmp_path / "run", cluster, kind=HangingInput)
    add_node(cluster, num_cpus=2).kill()
    monkeypatch.setattr(ray, "VISIT_S", 60.0)
    with pytest.raises(BackendError, match=f"{socket.gethostname()}, a node of the cluster, cannot be used: .*"):
        plan(tmp_path / "run", cluster)
