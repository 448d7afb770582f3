"""A Ray head on loopback, started from the checkout as docs/cluster.md says, and jobs submitted to it."""

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
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RAY = str(Path(sys.executable).with_name("ray"))


@contextmanager
def ray_head(**variables: str) -> Iterator[dict[str, str]]:
    """The environment of a client of a head that has a token of its own; a job inherits `variables`."""
    gcs, dashboard, agent = (_free_port() for _ in range(3))
    # The address of the last head stays in RAY_TMPDIR, and its sockets want a short path.
    short_folder = Path(tempfile.mkdtemp(prefix="ray"))
    token = short_folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "VIRTUAL_ENV"))}
    environment = {
        **clean,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_TMPDIR": str(short_folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        **variables,
    }
    command = [RAY, "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={gcs}"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", "--num-cpus=5"]
    # Takes the jobs; its usual port is another cluster's where there is one on this machine.
    command += [f"--dashboard-agent-listen-port={agent}"]
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


def submit(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `ray job submit` in the checkout to the job's end; its output is what the job printed."""
    command = [RAY, "job", "submit", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
