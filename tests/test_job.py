"""A build as a Ray job on a real head, in both forms that the cluster page names."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import vpdata
from benchmark.footage import scene, write_video
from vpdata.cli import main

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[1]
RAY = str(Path(sys.executable).with_name("ray"))
SETTINGS = ("--set", "cut.min_s=2", "--config", "configs/embedded.yaml")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "one.mp4", scene("plain", seed=3, num_frames=60, height_px=90, width_px=160).frames)
    return folder


@pytest.fixture(scope="module")
def cluster(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a client of a head on loopback, started from the checkout with a token of its own."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    gcs, dashboard = _free_port(), _free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "VIRTUAL_ENV"))}
    environment = clean | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "VPDATA_INPUT": str(videos),
        "VPDATA_OUTPUT": str(videos.parent / "literal"),
    }
    # The address of the last head stays in RAY_TMPDIR, and its sockets want a short path.
    short_folder = tempfile.mkdtemp(prefix="ray")
    environment["RAY_TMPDIR"] = short_folder
    command = [RAY, "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={gcs}"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", "--num-cpus=4"]
    head = subprocess.Popen(
        command, cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    try:
        assert head.stdout is not None
        assert any("--block" in line or "will now block" in line for line in head.stdout), "the head did not start"
        yield environment | {"RAY_ADDRESS": f"http://127.0.0.1:{dashboard}"}
    finally:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait(60)
        shutil.rmtree(short_folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _submit(cluster: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [RAY, "job", "submit", *arguments]
    return subprocess.run(command, cwd=ROOT, env=cluster, capture_output=True, text=True, timeout=400, check=False)


def test_a_job_with_an_uploaded_checkout_makes_shards_that_pass_their_check(videos, cluster, tmp_path):
    script = (sys.executable, "pipelines/build_vpdata.py")
    places = ("--input", str(videos), "--output", str(tmp_path / "run"))
    job = _submit(cluster, "--working-dir", ".", "--", *script, *SETTINGS, *places)
    assert job.returncode == 0, job.stdout + job.stderr
    assert len(vpdata.open_dataset(tmp_path / "run")) == 1
    assert main(["check", str(tmp_path / "run")]) == 0


def test_the_literal_command_reads_the_environment_of_the_head(videos, cluster):
    job = _submit(cluster, "pipelines/build_vpdata.py")
    assert job.returncode == 0, job.stdout + job.stderr
    assert "the data set is empty" in job.stdout, "the clip is shorter than the default min_s"


@pytest.mark.parametrize("place", ["--input", "--output"])
def test_a_relative_place_is_refused_with_the_fix(cluster, place):
    job = _submit(cluster, "--", sys.executable, "pipelines/build_vpdata.py", place, "some/folder")
    assert job.returncode != 0
    assert "got the relative path 'some/folder'" in job.stdout
    assert "wanted an absolute path" in job.stdout
