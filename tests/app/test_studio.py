"""Jobs of several sessions on one set of models."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.app.conftest import HEIGHT, NUM_FRAMES, WIDTH, Film
from tests.inpaint.footage import decoded
from vpdata.app.session import Cancelled, Session, Sessions
from vpdata.app.studio import Studio
from vpdata.errors import ConfigError
from vpdata.inpaint.options import FramePoint, Wanted, Words


@pytest.fixture(scope="module")
def studio(settings) -> Studio:
    app, inpaint = settings
    return Studio(inpaint, app.limits)


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    return Sessions(tmp_path, grace_s=60)


def with_object(studio: Studio, session: Session, film: Film) -> Session:
    """A session that has taken in the film and found its object."""
    session.claim(film.path)
    studio.take_in(session, lambda done, what: None)
    x, y = film.point(0)
    wanted = Wanted(points=(FramePoint(frame=0, point=(x * WIDTH, y * HEIGHT)),))
    _, num_holes = studio.find(session, wanted, lambda done, what: None)
    assert num_holes == NUM_FRAMES
    return session


@pytest.mark.slow
def test_jobs_of_two_pages_run_one_after_another_and_make_the_same(studio: Studio, sessions: Sessions, film) -> None:
    pages = [with_object(studio, sessions.of(name), film) for name in ("one", "other")]
    told: list[int] = []

    def make(index: int) -> Path:
        words = Words(prompts=((0, "a red ball"),))
        return studio.make(pages[index], words, lambda done, what: told.append(index))[0]

    with ThreadPoolExecutor(2) as pool:
        one, other = (decoded(path) for path in pool.map(make, range(2)))
    assert told in (sorted(told), sorted(told, reverse=True))
    assert set(told) == {0, 1}
    assert np.array_equal(one, other)


@pytest.mark.slow
def test_stopped_job_leaves_no_file(studio: Studio, sessions: Sessions, film) -> None:
    session = with_object(studio, sessions.of("one"), film)
    stopping = threading.Thread(target=session.stop)
    before = {path.name for path in session.folder.iterdir()}

    def stop_in_the_second_window(done: float, what: str) -> None:
        if what.startswith("Part 2") and not stopping.ident:
            stopping.start()  # it waits for the job to end
            time.sleep(0.1)

    with pytest.raises(Cancelled):
        studio.make(session, Words(remove=True), stop_in_the_second_window)
    stopping.join()
    assert {path.name for path in session.folder.iterdir()} == before


def test_same_file_again_stops_the_one_that_is_read_and_is_read_itself(
    studio: Studio, sessions: Sessions, film: Film
) -> None:
    session = sessions.of("one")
    session.claim(film.path)
    again: list[threading.Thread] = []

    def stop_and_take_in() -> None:
        session.make_way()
        studio.take_in(session, lambda done, what: None)

    def drop_it_again(done: float, what: str) -> None:
        if not again:
            session.claim(film.path)
            again.append(threading.Thread(target=stop_and_take_in))
            again[0].start()
        time.sleep(0.05)

    with pytest.raises(Cancelled):
        studio.take_in(session, drop_it_again)
    again[0].join()
    assert session.video is not None
    assert len(list(session.video.frames())) == NUM_FRAMES
    assert studio.take_in(session, lambda done, what: None) is None
    assert session.video is not None


def test_nothing_is_made_without_a_mask(studio: Studio, sessions: Sessions) -> None:
    with pytest.raises(ConfigError, match="no video yet"):
        studio.make(sessions.of("one"), Words(remove=True), lambda done, what: None)
