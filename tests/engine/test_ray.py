"""The Ray engine: same bytes as the local one, lost actors, and what a cluster must prove first."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ray._private.ray_constants import AUTOSCALER_RESOURCE_REQUEST_CHANNEL
from ray.autoscaler.sdk import request_resources
from ray.experimental import internal_kv

from tests.engine.builds import build, results, start_driver, write_sources
from tests.engine.connections import cut_connections
from tests.engine.tiny_stages import EndlessJob, OnceBroken, TinyCut, TinyDetect, TinyFilter
from vpdata.engine.crew import WorkerLost
from vpdata.engine.ray import RayCrew, connected
from vpdata.errors import ConfigError
from vpdata.stages.base import Resources

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]
SMALL = Resources(cpus=0.25, memory_gb=0.3)
THREE = [TinyCut(resources=SMALL), TinyDetect(resources=SMALL), TinyFilter(resources=SMALL)]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sources(tmp_path_factory.mktemp("sources"), ["2", "3 detect:abort@1", "", "1", "0", "4"])


@pytest.fixture(scope="module")
def local_results(sources: Path) -> dict[str, str]:
    run = sources.parent / "local"
    build(sources, run, stages=THREE)
    return results(run)


USES_RAY_TWICE = """
import ctypes
# What was registered first runs last: Ray's threads go on when all of its own is destroyed, as they may by chance.
libc = ctypes.CDLL(None)
libc.__cxa_atexit(ctypes.cast(libc.sleep, ctypes.c_void_p), ctypes.c_void_p(40), None)
import ray
from vpdata.engine.ray import connected
for _ in range(2):
    with connected("local"):
        ray.get(ray.remote(lambda: 1).remote())
"""


@pytest.mark.slow
def test_process_that_used_ray_twice_ends_well() -> None:
    done = subprocess.run([sys.executable, "-c", USES_RAY_TWICE], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_ray_with_all_stages_at_once_gives_the_bytes_of_the_local_engine(
    sources: Path, local_results: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    build(sources, tmp_path / "run", kind="ray", stages=THREE)
    assert results(tmp_path / "run") == local_results
    told = capfd.readouterr().err.splitlines()
    assert told[0].startswith("plan: all stages at once")
    assert all(line.startswith(("plan", "  ", "cut", "detect", "filter", "pack")) for line in told), told
    assert any(line.endswith("a worker died (SIGABRT); going on one item at a time") for line in told), told
    assert [line.rpartition(" (")[2] for line in told if line.startswith("filter part")][-1] == "3/3 parts)"


@pytest.mark.slow
def test_ray_started_by_a_build_leaves_no_token_behind(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", ["1"])
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-m", "tests.engine.builds", str(sources), str(tmp_path / "run"), "ray", "1", "0"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    subprocess.run(command, check=True, timeout=120, env=clean | {"HOME": str(home)}, cwd=ROOT)
    assert not list(home.iterdir())


@pytest.mark.slow
def test_a_killed_actor_is_replaced_and_changes_no_byte(
    sources: Path, local_results: dict[str, str], tmp_path: Path
) -> None:
    driver = start_driver(sources, tmp_path / "run", kind="ray", sleep_s=0.2)
    deadline = time.monotonic() + 180
    while not (actors := _actors_of(driver.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(actors[0], signal.SIGKILL)
    assert driver.wait(120) == 0, driver.stderr.read()
    assert results(tmp_path / "run") == local_results


@pytest.mark.slow
def test_the_address_that_a_killed_head_left_is_not_waited_for(
    sources: Path, local_results: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="ray") as short_folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        Path(short_folder, "ray").mkdir()
        Path(short_folder, "ray/ray_current_cluster").write_text(f"127.0.0.1:{free.getsockname()[1]}")
        monkeypatch.setenv("RAY_TMPDIR", short_folder)
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        build(sources, tmp_path / "run", kind="ray", stages=THREE, engine={"ray_address": "auto"})
    assert results(tmp_path / "run") == local_results


@pytest.mark.slow
def test_what_can_never_fit_is_refused_with_the_numbers(sources: Path, tmp_path: Path) -> None:
    greedy = [TinyCut(resources=Resources(cpus=1000)), TinyFilter(resources=SMALL)]
    with pytest.raises(ConfigError, match=r"stage cut can never run here: got .* cpu.*wanted 1 x \(1000 cpu"):
        build(sources, tmp_path / "run", kind="ray", stages=greedy)


@pytest.mark.slow
def test_a_request_to_grow_ends_with_the_wait(sources: Path, tmp_path: Path) -> None:
    """Else the cluster would keep nodes for it long after the build."""
    greedy = [TinyCut(resources=Resources(cpus=1000)), TinyFilter(resources=SMALL)]
    with connected("local"):
        request_resources(num_cpus=1)
        assert internal_kv._internal_kv_get(AUTOSCALER_RESOURCE_REQUEST_CHANNEL) != b"[]"
        with pytest.raises(ConfigError, match="stage cut can never run here"):
            build(sources, tmp_path / "run", kind="ray", stages=greedy, engine={"wait_for_s": 1.0})
        assert internal_kv._internal_kv_get(AUTOSCALER_RESOURCE_REQUEST_CHANNEL) == b"[]"


@pytest.fixture
def head(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Ray head on loopback with a token of its own; the environment that leads to it."""
    (tmp_path / "token").write_text(secrets.token_hex(32))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = clean | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    # Ray leaves the address of the last head in RAY_TMPDIR; not in the one that the user's own clusters share.
    with socket.socket() as free, tempfile.TemporaryDirectory(prefix="ray") as short_folder:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        environment["RAY_TMPDIR"] = short_folder
        command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=2"]
        command += [f"--port={address.partition(':')[2]}", "--node-ip-address=127.0.0.1", "--include-dashboard=false"]
        process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert any("--block" in line or "will now block" in line for line in process.stdout)
        yield environment | {"RAY_ADDRESS": address}
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


@pytest.mark.slow
def test_a_running_cluster_is_joined_checked_and_left_running(
    sources: Path, local_results: dict[str, str], head: dict[str, str], tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.engine.builds",
        str(sources),
        str(tmp_path / "run"),
        "ray",
        "1",
        "0",
        "auto",
    ]
    for _ in range(2):
        built = subprocess.run(command, cwd=ROOT, env=head, stderr=subprocess.PIPE, text=True, timeout=200, check=False)
        assert built.returncode == 0, built.stderr
        assert results(tmp_path / "run") == local_results
        assert not [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith("probe")]
        shutil.rmtree(tmp_path / "run")


@pytest.mark.slow
def test_what_breaks_one_process_once_does_not_stop_the_build(sources: Path, tmp_path: Path) -> None:
    broken = OnceBroken(settings={"flag": str(tmp_path / "flag")}, resources=SMALL)
    summary = build(sources, tmp_path / "run", kind="ray", stages=[THREE[0], broken, THREE[2]])
    assert (tmp_path / "flag").exists()
    assert summary.num_clips == 10


@pytest.mark.slow
def test_worker_that_cannot_be_reached_is_ended_before_another_takes_over(tmp_path: Path) -> None:
    with connected("local"):
        hand = RayCrew([]).start(EndlessJob(resources=SMALL, flag=tmp_path / "flag"))
        hand.ready().result(60)
        told = hand.run("part-00000")
        while not (tmp_path / "flag").exists():
            time.sleep(0.05)
        child = psutil.Process(int((tmp_path / "flag").read_text()))
        cut_connections(child.parent())
        with pytest.raises(WorkerLost, match="unavailable") as caught:
            told.result(60)
        assert caught.value.had_begun
        _, alive = psutil.wait_procs([child], timeout=5)
        assert not alive


def _actors_of(pid: int) -> list[int]:
    """Processes below this one whose title says that they are our actors."""
    below = [child for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]
    own = [int(child) for child in below if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"ray::Worker")]
    return own + [actor for child in below for actor in _actors_of(int(child))]
