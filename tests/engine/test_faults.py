"""Crashes, hangs and kills: nothing is lost, and only what is guilty is blamed."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engine.builds import build, results, start_driver, write_sources
from tests.engine.tiny_stages import OnceBroken, TinyCut, TinyDetect, TinyFilter
from vpdata.dataset.run import Run
from vpdata.errors import BackendError, ConfigError, Reason, RunError
from vpdata.records import Reject, Source
from vpdata.sources import Input, SourceSettings
from vpdata.stages.base import Resources
from vpdata.storage import Folder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")

SHORT = Resources(memory_gb=0.4, timeout_s=1.5)


def build_detecting(sources: Path, run: Path, **options: Any) -> list[Reject]:
    build(sources, run, stages=[TinyCut(), TinyDetect(resources=SHORT), TinyFilter()], **options)
    return list(Run(Folder(run)).rejects("detect"))


def kept(run: Path) -> list[str]:
    return [record.id for record in Run(Folder(run)).records("filter")]


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        pytest.param("abort", Reason.WORKER_CRASH, marks=pytest.mark.slow),
        ("exit", Reason.WORKER_CRASH),
        pytest.param("leak", Reason.WORKER_CRASH, marks=pytest.mark.slow),
        pytest.param("hang", Reason.TIMEOUT, marks=pytest.mark.slow),
    ],
)
def test_the_one_clip_that_ends_its_worker_is_found_among_its_batch(deed: str, reason: Reason, tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", ["2", f"3 detect:{deed}@1"])
    rejects = build_detecting(sources, tmp_path / "run")
    clips = [record.id for record in Run(Folder(tmp_path / "run")).records("cut")]
    assert [(reject.id, reject.reason) for reject in rejects] == [(clips[3], reason)]
    assert kept(tmp_path / "run") == [clip for clip in clips if clip != clips[3]]


@pytest.mark.slow
def test_a_source_that_crashes_cut_takes_no_other_with_it(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", ["2", "2 cut:abort", "2"])
    build(sources, tmp_path / "run", engine={"videos_per_part": 3})
    run = Run(Folder(tmp_path / "run"))
    bad = list(run.sources())[1]
    assert [reject.id for reject in run.rejects("cut") if reject.reason is Reason.WORKER_CRASH] == [bad.id]
    assert len(kept(tmp_path / "run")) == 4


def test_what_breaks_one_process_once_does_not_stop_the_build(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sources = write_sources(tmp_path / "sources", ["2"] * 4)
    build(sources, tmp_path / "run", stages=[TinyCut(), OnceBroken(settings={"flag": f"{tmp_path}/x"}), TinyFilter()])
    assert len(kept(tmp_path / "run")) == 8
    assert "RuntimeError: CUDA error" in caplog.text


@pytest.mark.slow
def test_a_clip_at_which_the_machine_runs_out_of_memory_is_named_and_not_charged(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", ["2", "3 detect:kill@1"])
    with pytest.raises(RunError) as caught:
        build_detecting(sources, tmp_path / "run")
    clips = [record.id for record in Run(Folder(tmp_path / "run")).records("cut")]
    killed = rf"killed 5 times from outside \(SIGKILL\), the last time at record {clips[3]};"
    assert re.search(rf"{killed}.* fewer detect\.resources\.workers, or a lower memory_gb", str(caught.value))
    # All before it is kept.
    (piece,) = (tmp_path / "run/2-detect/progress").glob("part-00000.0000002-0000003.*.json")
    assert clips[2] in piece.read_text()


class SlowInput(Input):
    """A server that takes twice as long as an item may."""

    @contextmanager
    def local_file(self, source: Source) -> Iterator[Path]:
        with super().local_file(source) as path:
            time.sleep(3.0)
            yield path


@pytest.mark.slow
def test_a_slow_download_is_not_the_items_time(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", ["1"])
    stages = [TinyCut(resources=Resources(memory_gb=0.4, timeout_s=1.5)), TinyFilter()]
    build(sources, tmp_path / "run", stages=stages, source=SlowInput(str(sources), SourceSettings()))
    assert len(kept(tmp_path / "run")) == 1


def test_a_crash_while_loading_is_the_models_fault(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", ["1"])
    with pytest.raises(BackendError, match=r"stage cut: its process died while it was loading \(SIGABRT\)"):
        build(sources, tmp_path / "run", stages=[TinyCut(settings={"setup": "abort"}), TinyFilter()])


def test_a_model_that_needs_more_than_its_memory_is_a_wrong_setting(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", ["1"])
    with pytest.raises(ConfigError, match=r"stage cut: got .* GB in use before its first item.*resources\.memory_gb"):
        build(sources, tmp_path / "run", stages=[TinyCut(resources=Resources(memory_gb=0.01)), TinyFilter()])


@pytest.mark.slow
def test_a_second_live_build_is_refused_and_works_once_the_first_is_killed(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", ["2"] * 8)
    first = start_driver(sources, tmp_path / "run", sleep_s=2.0)
    try:
        _wait_for_line(first, "cut part")
        with pytest.raises(RunError, match=rf"is in use by pid {first.pid} on "):
            build(sources, tmp_path / "run")
    finally:
        first.kill()
    # Not reaped: the dead holder is a zombie, as it is in a container without an init process.
    second = start_driver(sources, tmp_path / "run")
    assert second.wait(120) == 0
    first.wait()
    assert len(kept(tmp_path / "run")) == 16


def test_a_build_whose_lease_was_replaced_stops_before_its_next_write(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", ["2"] * 4)
    driver = start_driver(sources, tmp_path / "run", sleep_s=0.2)
    _wait_for_line(driver, "cut part")
    lease = tmp_path / "run" / "lease.json"
    lease.write_bytes(lease.read_bytes().replace(b'"id": "', b'"id": "other'))
    _, told = driver.communicate(timeout=120)
    assert driver.returncode != 0
    assert "has lost its lease" in told
    assert b"other" in lease.read_bytes()
    assert not (tmp_path / "run" / "pack-plan.parquet").exists()


def test_worker_in_native_code_ends_with_its_driver(tmp_path: Path) -> None:
    driver = start_driver(write_sources(tmp_path / "sources", ["1 cut:compute"]), tmp_path / "run", workers=1)
    _wait_for_line(driver, "plan")
    (child,) = _wait_for_children(driver.pid)
    while _cpu_s(child) < 2.5:
        time.sleep(0.1)
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 1.0
    while _is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def killed_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = ["2", "3 detect:abort@1", "", "1", "0", "4", "2"]
    return write_sources(tmp_path_factory.mktemp("killed") / "sources", texts)


@pytest.fixture(scope="module")
def undisturbed(killed_sources: Path) -> dict[str, str]:
    """What a run gives that nobody kills."""
    run = killed_sources.parent / "undisturbed"
    build_detecting(killed_sources, run)
    return results(run)


@pytest.mark.slow
def test_kills_of_driver_and_workers_change_no_byte(
    killed_sources: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    _kill_again_and_again(killed_sources, tmp_path / "run", random.Random(0), num_kills=2)
    assert results(tmp_path / "run") == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_twenty_kills_of_driver_and_workers_change_no_byte(
    seed: int, killed_sources: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    assert _kill_again_and_again(killed_sources, tmp_path / "run", random.Random(seed), num_kills=4) >= 4
    assert results(tmp_path / "run") == undisturbed


def _kill_again_and_again(sources: Path, run: Path, rng: random.Random, *, num_kills: int) -> int:
    """Kill the driver or its workers at seeded moments, then let the same command end; how many were killed."""
    killed = 0
    while killed < num_kills:
        driver = start_driver(sources, run, sleep_s=0.02)
        for _ in range(rng.randrange(4)):
            _wait_for_line(driver, "part-")
        time.sleep(rng.uniform(0.0, 0.5))
        children = _children(driver.pid)
        if children and rng.random() < 0.5:
            os.kill(rng.choice(children), signal.SIGKILL)
            killed += 1
            time.sleep(rng.uniform(0.0, 0.5))
        if driver.poll() is None:
            driver.kill()
            killed += 1
        driver.wait()
    assert start_driver(sources, run).wait(120) == 0
    return killed


def _wait_for_line(driver: Any, text: str) -> None:
    """Read what the driver says until a line holds `text`, or to its end."""
    for line in driver.stderr:
        if text in line:
            return


def _wait_for_children(pid: int) -> list[int]:
    while not (found := _children(pid)):
        time.sleep(0.05)
    return found


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return sorted(int(child) for task in tasks for child in task.read_text().split())
