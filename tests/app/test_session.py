"""Files of a session, and which paths a browser may name."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import pytest

from vpdata.app.session import Cancelled, Sessions

GRACE_S = 0.5


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    (tmp_path / "root").mkdir()
    return Sessions(tmp_path / "root", grace_s=GRACE_S)


def test_every_page_has_files_of_its_own_which_go_with_it(sessions: Sessions) -> None:
    one, other = sessions.of("one"), sessions.of("other")
    assert sessions.of("one") is one
    for session in (one, other):
        session.new_file("video", ".mp4").write_text("film")
    sessions.close("one")
    assert not one.folder.exists()
    assert other.folder.exists()
    sessions.close_all()
    assert list(sessions.folder.iterdir()) == []


def test_page_that_was_left_is_closed_after_a_while(sessions: Sessions) -> None:
    left, open_one = sessions.of("left"), sessions.of("open")
    sessions.leave("left")
    assert left.folder.exists()
    deadline = time.monotonic() + 20
    while left.folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert open_one.folder.exists()
    assert sessions.of("left") is not left


def test_page_that_was_only_cut_off_keeps_its_files(sessions: Sessions) -> None:
    session = sessions.of("one")
    sessions.leave("one")
    assert sessions.of("one") is session
    time.sleep(3 * GRACE_S)
    assert sessions.of("one") is session
    assert session.folder.exists()
    # It is closed in the end like any other, and by the end of the server at once.
    sessions.leave("one")
    sessions.close_all()
    assert not session.folder.exists()


def test_page_that_is_silent_for_long_is_closed_although_no_connection_ended(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vpdata.app.session._SILENT_S", 2.0)
    silent, asking = sessions.of("silent"), sessions.of("asking")
    deadline = time.monotonic() + 20
    while silent.folder.exists():
        assert sessions.of("asking") is asking
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert asking.folder.exists()


def test_page_at_work_is_not_silent(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vpdata.app.session._SILENT_S", 0.2)
    session = sessions.of("one")
    with session.job():
        time.sleep(0.7)
        session.check()
        assert session.folder.exists()
    sessions.close_all()


def test_files_of_all_pages_are_counted(sessions: Sessions) -> None:
    for name, num_bytes in {"one": 1000, "other": 234}.items():
        (sessions.of(name).folder / "file").write_bytes(bytes(num_bytes))
    assert sessions.held_bytes() == 1234
    sessions.close("one")
    assert sessions.held_bytes() == 234


def test_newest_file_of_a_kind_replaces_the_older_under_another_name(sessions: Sessions) -> None:
    session = sessions.of("one")
    first = session.new_file("mask", ".json")
    first.write_text("1")
    kept = session.new_file("video", ".mp4")
    kept.write_text("film")
    second = session.new_file("mask", ".json")
    assert second.name != first.name
    assert not first.exists()
    assert kept.exists()


def test_only_what_was_uploaded_is_taken(sessions: Sessions, tmp_path: Path) -> None:
    root = sessions.root
    (root / "3fe1").mkdir()
    uploaded = root / "3fe1" / "in.mp4"
    uploaded.write_text("film")
    outside = tmp_path / "secret.mp4"
    outside.write_text("secret")
    (root / "3fe1" / "link.mp4").symlink_to(outside)
    of_another = sessions.of("one").new_file("video", ".mp4")
    of_another.write_text("film")
    assert sessions.upload_at(str(uploaded)) == uploaded
    refused = [outside, root / "3fe1/../../secret.mp4", root / "3fe1/link.mp4", root / "none.mp4", of_another, root]
    assert [sessions.upload_at(str(path)) for path in refused] == [None] * len(refused)
    assert sessions.upload_at(None) is None
    assert sessions.upload_at("in\0.mp4") is None


def test_two_pages_with_one_upload_hold_it_each(sessions: Sessions) -> None:
    uploaded = sessions.root / "3fe1" / "in.mp4"
    uploaded.parent.mkdir()
    uploaded.write_text("film")
    one, other = sessions.of("one"), sessions.of("other")
    one.claim(uploaded)
    other.claim(uploaded)
    uploaded.unlink()
    assert one.take_claimed().read_text() == "film"
    sessions.close("one")
    assert other.take_claimed().read_text() == "film"
    assert other.take_claimed() is None


def test_newest_upload_is_taken_in_and_older_ones_go(sessions: Sessions, tmp_path: Path) -> None:
    session = sessions.of("one")
    for text in ("older", "newer"):
        (tmp_path / text).write_text(text)
        session.claim(tmp_path / text)
    assert session.take_claimed().read_text() == "newer"
    assert len(list(session.folder.iterdir())) == 1


def test_upload_that_another_job_has_taken_stops_nothing(sessions: Sessions, tmp_path: Path) -> None:
    # Two uploads whose jobs both wait to be run: the first takes the newer, and the second must not stop it.
    session = sessions.of("one")
    (tmp_path / "film").write_text("film")
    session.claim(tmp_path / "film")
    with session.job():
        second = threading.Thread(target=session.make_way)
        second.start()
        time.sleep(0.2)  # it waits for this job
        assert second.is_alive()
        assert session.take_claimed() is not None
        session.check()
        assert not session.make_way()
        session.check()
    second.join()


def test_page_that_has_left_keeps_nobody_from_the_models(sessions: Sessions) -> None:
    left, here = sessions.of("left"), sessions.of("here")
    left.is_waiting = True
    assert sessions.num_waiting(besides=here) == 1
    sessions.leave("left")
    assert sessions.num_waiting(besides=here) == 0


def test_upload_is_copied_where_it_cannot_be_linked(sessions: Sessions) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        if Path(folder).stat().st_dev == sessions.root.stat().st_dev:
            pytest.skip("no second disk here")
        uploaded = Path(folder) / "in.mp4"
        uploaded.write_text("film")
        sessions.of("one").claim(uploaded)
    assert sessions.of("one").take_claimed().read_text() == "film"


def test_stop_ends_the_running_job_and_not_the_next(sessions: Sessions) -> None:
    session = sessions.of("one")
    is_running, ended = threading.Event(), threading.Event()

    def work() -> None:
        try:
            with session.job():
                is_running.set()
                while True:
                    session.check()
                    time.sleep(0.01)
        except Cancelled:
            ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert is_running.wait(timeout=10)
    session.stop()
    thread.join(timeout=10)
    assert ended.is_set()
    with session.job():
        session.check()
