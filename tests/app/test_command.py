"""The server: where it listens, whom it answers, what it gives away, and what it leaves behind."""

from __future__ import annotations

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

pytest.importorskip("gradio")
pytest.importorskip("peft")

from gradio_client import Client, handle_file
from gradio_client.client import Job
from gradio_client.exceptions import AppError
from gradio_client.utils import Status

from tests.app.conftest import NUM_FRAMES, Film, free_port, settings_with
from vpdata.app.command import running
from vpdata.app.limits import AppSettings, LimitSettings
from vpdata.cli import main
from vpdata.errors import StorageError

# A busy machine may take seconds for a page.
TIMEOUT_S = 60


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port
    return port


def opened(url: str) -> Client:
    """A page without a browser."""
    return Client(url, verbose=False, download_files=False, analytics_enabled=False)


def wait_until(job: Job, status: Status) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while job.status().code is not status:
        assert time.monotonic() < deadline, f"is {job.status().code}"
        time.sleep(0.05)


def test_page_listens_on_loopback_alone(url: str) -> None:
    # All of 127.0.0.0/8 is this machine: a server on 0.0.0.0 would answer here too.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port_of(url)), timeout=5)


def test_site_whose_name_points_here_is_refused(url: str) -> None:
    assert httpx.get(url, timeout=TIMEOUT_S).status_code == 200
    evil = {"Host": f"evil.example:{port_of(url)}"}
    assert httpx.get(url, headers=evil, timeout=TIMEOUT_S).status_code == 400


def sent_from(url: str, *, origin: str | None, host: str | None = None) -> int:
    """Status of an upload that a browser sends for a page of `origin`."""
    headers = {name: value for name, value in (("Origin", origin), ("Host", host)) if value is not None}
    files = {"files": ("a.mp4", b"film")}
    return httpx.post(f"{url}gradio_api/upload", files=files, headers=headers, timeout=TIMEOUT_S).status_code


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://evil.example", 403), ("null", 403), ("http://127.0.0.1:1", 403), ("own", 200), (None, 200)],
)
def test_other_site_cannot_have_a_browser_upload(url: str, origin: str | None, status: int) -> None:
    assert sent_from(url, origin=url.rstrip("/") if origin == "own" else origin) == status


def test_open_page_answers_its_own_site_alone(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # so that the page of the other tests has its own back
    app, inpaint = settings
    app = replace(app, allowed_hosts=("inpaint.example.org",))
    with running(app, inpaint, host="0.0.0.0", port=free_port()) as url:
        assert sent_from(url, origin="http://evil.example") == 403
        assert sent_from(url, origin="null") == 403
        assert sent_from(url, origin="http://evil.example", host="evil.example") == 400
        assert sent_from(url, origin="http://10.0.0.5:7860", host="10.0.0.5:7860") == 200
        # A proxy that passes the name on, and one that does not.
        assert sent_from(url, origin="https://inpaint.example.org", host="inpaint.example.org") == 200
        assert sent_from(url, origin="https://inpaint.example.org") == 200
        assert sent_from(url, origin="https://evil.example", host="inpaint.example.org") == 403


@pytest.mark.slow
def test_pages_that_upload_the_same_file_each_have_it(url: str, film: Film) -> None:
    # The server keeps equal uploads as one file.
    def facts(page: Client) -> str:
        page.predict(handle_file(film.path), api_name="/claim")
        return page.predict(api_name="/take_in")[1]

    pages = [opened(url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert [f"{NUM_FRAMES} frames" in told for told in pool.map(facts, pages)] == [True] * 4


@pytest.mark.slow
def test_page_cut_off_for_a_moment_goes_on_and_uploads_go(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # so that the page of the other tests has its own back
    grace_s = 3
    with running(*settings_with(tmp_path, "wan", grace_s=grace_s), host="127.0.0.1", port=free_port()) as url:
        root = Path(os.environ["GRADIO_TEMP_DIR"])
        page = opened(url)
        with httpx.stream("GET", f"{url}gradio_api/heartbeat/{page.session_hash}", timeout=TIMEOUT_S) as beating:
            beats = beating.iter_lines()  # which ends the connection when it goes
            assert "ALIVE" in next(beats)
            page.predict(handle_file(film.path), api_name="/claim")
            page.predict(api_name="/take_in")
        time.sleep(grace_s / 3)
        shown = page.predict(3, api_name="/show_frame")
        time.sleep(2 * grace_s)
        assert httpx.get(shown["url"], timeout=TIMEOUT_S).status_code == 200
        page.predict(4, api_name="/show_frame")
        assert {path.parts[len(root.parts)] for path in root.rglob("*") if path.is_file()} == {"pages"}
    assert not root.exists()


@pytest.mark.slow
def test_jobs_that_may_wait_are_bounded_and_hold_up_no_click(
    settings, film: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # so that the page of the other tests has its own back
    app, inpaint = settings
    inpaint = replace(inpaint, sampling=replace(inpaint.sampling, num_steps=200))
    with running(replace(app, max_waiting=1), inpaint, host="127.0.0.1", port=free_port()) as url:
        at_work, waiting, third = (opened(url) for _ in range(3))
        for page in (at_work, waiting, third):
            page.predict(handle_file(film.path), api_name="/claim")
            page.predict(api_name="/take_in")
        at_work.predict("moving object", api_name="/find")
        at_work.predict(api_name="/begin")
        making = at_work.submit("Fill it with", "a red ball", api_name="/make")
        wait_until(making, Status.PROGRESS)
        waiting.predict(api_name="/begin")
        finding = waiting.submit("moving object", api_name="/find")
        wait_until(finding, Status.IN_QUEUE)
        assert third.predict(3, api_name="/show_frame")
        with pytest.raises(AppError, match="Jobs of 1 other pages wait"):
            third.predict(api_name="/begin")
        assert not making.done()
        at_work.predict(api_name="/cancel")
        finding.result()
        third.predict(api_name="/begin")


@pytest.mark.slow
def test_pages_that_hold_too_much_together_can_upload_no_more(
    settings, film: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # so that the page of the other tests has its own back
    app, inpaint = settings
    with running(replace(app, max_held_mb=1), inpaint, host="127.0.0.1", port=free_port()) as url:
        for _ in range(1_000_000 // film.path.stat().st_size):
            opened(url).predict(handle_file(film.path), api_name="/claim")
        one_more = opened(url)
        with pytest.raises(AppError, match="fill the space that this server has"):
            one_more.predict(handle_file(film.path), api_name="/claim")


@pytest.mark.parametrize("path", ["/etc/hostname", "/etc/../etc/hostname", "../../../../etc/hostname", __file__])
def test_no_file_of_the_machine_is_given_away(url: str, path: str) -> None:
    assert httpx.get(f"{url}gradio_api/file={path}", timeout=TIMEOUT_S).status_code in (403, 404)


def test_port_in_use_is_said(url: str, settings) -> None:
    with (
        pytest.raises(StorageError, match="try another --port"),
        running(*settings, host="127.0.0.1", port=port_of(url)),
    ):
        pass


def test_command_without_weights_says_which_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["app"]) == 1
    assert "give --weights" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["https://inpaint.example.org", "inpaint.example.org:443", "Inpaint.example.org", ""])
def test_host_that_no_browser_would_send_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="wanted such as inpaint"):
        AppSettings(allowed_hosts=(name,))


def test_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="max_mb"):
        LimitSettings(max_mb=0)
