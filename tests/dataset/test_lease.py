"""One build or training at a time, and a dead one never stands in the way."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from vpdata.dataset import lease
from vpdata.errors import RunError
from vpdata.storage import Folder


def _leave(folder: Path, **changes: object) -> None:
    """A lease as another build would leave it: of this live process unless `changes` say otherwise."""
    with lease.hold(Folder(folder)):
        content = json.loads((folder / "lease.json").read_text())
    (folder / "lease.json").write_text(json.dumps(content | changes))


def hold(folder: Path, *, waits: bool = False) -> AbstractContextManager[lease.LeaseProof]:
    return lease.hold(Folder(folder), waits=waits)


def test_a_lease_is_gone_when_its_build_ends(tmp_path: Path) -> None:
    with lease.hold(Folder(tmp_path)) as proof:
        assert (tmp_path / "lease.json").exists()
        proof.check()
    assert not (tmp_path / "lease.json").exists()


def test_a_live_holder_is_named(tmp_path: Path) -> None:
    _leave(tmp_path)
    with pytest.raises(RunError, match=f"pid {os.getpid()} on {socket.gethostname()} since 20"), hold(tmp_path):
        pass


def test_a_lease_of_an_older_version_is_a_lease(tmp_path: Path) -> None:
    _leave(tmp_path)
    content = json.loads((tmp_path / "lease.json").read_text())
    del content["since_unix_s"]
    (tmp_path / "lease.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=f"pid {os.getpid()} on {socket.gethostname()};"), hold(tmp_path):
        pass


def test_a_dead_holder_on_this_host_is_replaced_at_once(tmp_path: Path) -> None:
    _leave(tmp_path, pid=2**22 - 1)
    with lease.hold(Folder(tmp_path)) as proof:
        proof.check()


def test_a_pid_that_is_used_again_is_not_the_holder(tmp_path: Path) -> None:
    _leave(tmp_path, started="1")
    with lease.hold(Folder(tmp_path)) as proof:
        proof.check()


def test_a_holder_elsewhere_is_replaced_only_without_heartbeat(tmp_path: Path) -> None:
    _leave(tmp_path, host="elsewhere", beat_unix_s=time.time() - 50)
    with pytest.raises(RunError, match="elsewhere"), lease.hold(Folder(tmp_path)):
        pass
    _leave_again = json.loads((tmp_path / "lease.json").read_text()) | {"beat_unix_s": time.time() - 61}
    (tmp_path / "lease.json").write_text(json.dumps(_leave_again))
    with lease.hold(Folder(tmp_path)) as proof:
        proof.check()


def test_a_holder_in_another_container_is_replaced_only_without_heartbeat(tmp_path: Path) -> None:
    _leave(tmp_path, pid_namespace=1, pid=2**22 - 1)
    with pytest.raises(RunError, match=f"pid {2**22 - 1} on {socket.gethostname()} since"), hold(tmp_path):
        pass
    _leave(tmp_path / "silent", pid_namespace=1, beat_unix_s=time.time() - 61)
    with hold(tmp_path / "silent") as proof:
        proof.check()


def test_a_holder_in_a_pid_namespace_of_its_own_is_seen_alive(tmp_path: Path) -> None:
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no PID namespaces here")
    code = """
import sys
from vpdata.dataset import lease
from vpdata.storage import Folder
with lease.hold(Folder(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
    command = [*unshare, sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match=f"on {socket.gethostname()} since"), hold(tmp_path):
            pass
        holder.stdin.close()
    assert holder.returncode == 0
    with hold(tmp_path) as proof:
        proof.check()


def test_who_waits_replaces_a_holder_elsewhere_that_stays_silent(tmp_path: Path) -> None:
    _leave(tmp_path, host="elsewhere", beat_unix_s=time.time() - lease.DEAD_AFTER_S + 2)
    with hold(tmp_path, waits=True) as proof:
        proof.check()


def test_who_waits_replaces_a_holder_here_that_is_about_to_end(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "1.5"]) as ending:
        started = Path(f"/proc/{ending.pid}/stat").read_text().split()[21]
        _leave(tmp_path, pid=ending.pid, started=started)
        reaping = threading.Thread(target=ending.wait)
        reaping.start()
        with hold(tmp_path, waits=True) as proof:
            proof.check()
        reaping.join()


@pytest.mark.parametrize("host", [socket.gethostname(), "elsewhere"])
def test_who_waits_is_refused_when_the_holder_renews_its_lease(tmp_path: Path, host: str) -> None:
    _leave(tmp_path, host=host)
    beating = threading.Timer(1.5, _leave_again, [tmp_path])
    beating.start()
    with pytest.raises(RunError, match=f"on {host} since"), hold(tmp_path, waits=True):
        pass
    beating.join()


def _leave_again(folder: Path) -> None:
    content = json.loads((folder / "lease.json").read_text())
    Folder(folder).write("lease.json", json.dumps(content | {"beat_unix_s": time.time()}).encode())


def test_nobody_waits_longer_than_the_dead_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "DEAD_AFTER_S", 1.0)
    _leave(tmp_path)
    with pytest.raises(RunError, match="is in use by"), hold(tmp_path, waits=True):
        pass


def test_of_two_that_replace_one_dead_holder_one_is_stopped_before_it_begins(tmp_path: Path) -> None:
    _leave(tmp_path, host="other", beat_unix_s=0.0)

    def replace_too() -> None:
        while '"other"' in (text := _text(tmp_path)) or not text:
            time.sleep(0.01)
        (tmp_path / "lease.json").write_text(json.dumps(json.loads(text) | {"id": "that of the second", "pid": 1}))

    second = threading.Thread(target=replace_too)
    second.start()
    with pytest.raises(RunError, match=r"lost its lease .held by .*, pid 1 now"), hold(tmp_path):
        pass
    second.join()


def _text(folder: Path) -> str:
    try:
        return (folder / "lease.json").read_text()
    except FileNotFoundError:
        return ""


def test_a_lost_lease_is_noticed_and_left_to_its_new_holder(tmp_path: Path) -> None:
    with lease.hold(Folder(tmp_path)) as proof:
        content = json.loads((tmp_path / "lease.json").read_text()) | {"id": "other", "host": "elsewhere", "pid": 7}
        (tmp_path / "lease.json").write_text(json.dumps(content))
        with pytest.raises(RunError, match=r"lost its lease \(held by elsewhere, pid 7 now"):
            proof.check()
    assert json.loads((tmp_path / "lease.json").read_text())["id"] == "other"


class Deaf(Folder):
    """Of a store whose first answer is lost: its client asks again and hears that the file is there."""

    def create(self, name: str, data: bytes) -> bool:
        super().create(name, data)
        return super().create(name, data)


def test_a_lease_whose_first_answer_was_lost_is_held(tmp_path: Path) -> None:
    with lease.hold(Deaf(tmp_path)) as proof:
        proof.check()
    assert not (tmp_path / "lease.json").exists()


def test_the_heartbeat_renews_the_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.01)
    with lease.hold(Folder(tmp_path)):
        first = json.loads((tmp_path / "lease.json").read_text())["beat_unix_s"]
        deadline = time.monotonic() + 10
        while json.loads((tmp_path / "lease.json").read_text())["beat_unix_s"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)
