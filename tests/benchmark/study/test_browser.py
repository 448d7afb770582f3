"""What participants do on the page, in a real browser."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.benchmark.study.studies import Participant, Served, served
from tests.report.chromium import Page, chromium

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE_S = 60
PHONE, LAPTOP = (390, 844), (1280, 800)
Link = Callable[[], str]


@pytest.fixture
def link(study: Served, newcomer: Callable[[], Participant]) -> Link:
    """The invitation of somebody whom no other test has."""
    return lambda: f"{study.url}/#{newcomer().client.headers['authorization'].split()[1]}"


def shown(page: Page, view: str) -> None:
    page.wait_for(f"document.getElementById('view-{view}')?.hidden === false", timeout_s=PATIENCE_S)


def press(page: Page, selector: str) -> None:
    """A real click, when the element takes one and has come to rest: pages move while their videos load."""
    name = json.dumps(selector)
    page.wait_for(f"document.querySelector({name})?.disabled === false", timeout_s=PATIENCE_S)
    script = "(one => { one.scrollIntoView({block: 'center'}); return one.getBoundingClientRect().toJSON() })"
    before, box = None, page.run(f"{script}(document.querySelector({name}))")
    while box != before:
        time.sleep(0.05)
        before, box = box, page.run(f"{script}(document.querySelector({name}))")
    page.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def begin(page: Page, address: str) -> None:
    page.visit(address)
    shown(page, "welcome")
    press(page, "#start")
    shown(page, "scene")


def choose(page: Page, **places: int) -> None:
    for question, place in places.items():
        press(page, f"input[name={question}][value='{place}']")
        page.wait_for(f"document.querySelector('input[name={question}]:checked')?.value === '{place}'")


def go_on(page: Page, *, answered: int) -> None:
    """Save, and wait until the page says so."""
    press(page, "#next")
    page.wait_for(f"document.getElementById('progress-bar').value === {answered}", timeout_s=PATIENCE_S)


def text(page: Page, name: str) -> str:
    return page.run(f"document.getElementById('{name}').textContent")


@pytest.mark.parametrize("size", [LAPTOP, PHONE])
def test_a_participant_goes_from_the_invitation_to_the_thanks(page: Page, link: Link, size: tuple[int, int]):
    page.resize(*size, mobile=size == PHONE)
    begin(page, link())
    for number in range(5):
        assert text(page, "scene-title") == f"Scene {number + 1} of 5"
        page.wait_for("videos.length === 4 && videos.every((one) => one.currentTime > 0)", timeout_s=PATIENCE_S)
        assert page.run("document.getElementById('next').disabled") is True
        choose(page, background=0, text=1, quality=2)
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        small = "[...document.querySelectorAll('.picks label, #next')].filter((one) => one.offsetHeight < 44).length"
        assert page.run(small) == 0
        go_on(page, answered=number + 1)
    shown(page, "done")
    assert "All 5 scenes" in text(page, "done-lead")
    assert page.problems == []
    assert all(url.startswith(("http://127.0.0.1:", "data:,")) for url in page.requested)


def test_the_same_link_goes_on_where_it_stopped(page: Page, link: Link):
    address = link()
    begin(page, address)
    choose(page, background=2, text=2, quality=2)
    go_on(page, answered=1)
    page.visit(address)
    shown(page, "welcome")
    assert "1 scene of 5 is answered" in text(page, "welcome-lead")
    press(page, "#start")
    shown(page, "scene")
    assert text(page, "scene-title") == "Scene 2 of 5"


def test_the_keyboard_alone_is_enough(page: Page, link: Link):
    page.visit(link())
    shown(page, "welcome")
    page.run("document.getElementById('start').focus()")
    page.press("Enter")
    shown(page, "scene")
    for name in ("background", "text", "quality"):
        page.run(f"document.querySelector('input[name={name}]').focus()")
        page.press("ArrowRight")
    assert page.run("Object.values(chosen()).join()") == "1,1,1"
    page.wait_for("!document.getElementById('next').disabled", timeout_s=PATIENCE_S)
    page.run("document.getElementById('next').focus()")
    page.press("Enter")
    page.wait_for("document.getElementById('progress-bar').value === 1", timeout_s=PATIENCE_S)


def test_videos_play_together_and_pause_together(page: Page, link: Link):
    begin(page, link())
    page.wait_for("videos.every((one) => !one.paused && one.currentTime > 0)", timeout_s=PATIENCE_S)
    press(page, "#play")
    page.wait_for("videos.every((one) => one.paused)")
    page.run("(seek => { seek.value = 0.5; seek.dispatchEvent(new Event('input')); })(document.getElementById('seek'))")
    page.wait_for("videos.every((one) => Math.abs(one.currentTime - 0.25) < 0.01 && one.paused)")
    press(page, "#slow")
    assert page.run("videos.every((one) => one.playbackRate === 0.5)")
    press(page, "#results li:nth-child(2) button")
    assert page.run("document.querySelectorAll('.wide').length") == 1


def test_a_link_that_is_no_invitation_says_so(page: Page, study: Served):
    page.visit(f"{study.url}/#1-AAAAAAAAAAAAAAAAAAAAAA")
    page.wait_for("!document.getElementById('problem').hidden")
    assert "not an invitation" in text(page, "problem-text")
    assert page.run("[...document.querySelectorAll('main > section, main > form')].every((one) => one.hidden)")


def test_text_of_the_benchmark_enters_as_text(page: Page, link: Link):
    begin(page, link())
    hostile = "<img src=x onerror=alert(1)>"
    page.run(f"scene.text = scene.region = {json.dumps(hostile)}; scene.instruction = null")
    page.run("drawScene({answered: 0, total: 5})")
    assert text(page, "region-text") == hostile
    assert page.run("document.querySelectorAll('img').length") == 0
    assert page.run(
        "(() => { try { document.body.innerHTML = 'x'; return 'taken'; } catch { return 'refused'; } })()"
    ) == ("refused")


def test_the_caption_of_a_region_without_words_is_told_as_that_of_the_video(page: Page, link: Link):
    begin(page, link())
    hint = "document.querySelector('input[name=text]').closest('fieldset').querySelector('p').textContent"
    for region, shown_text, head in (("a ball", "a ball", "in the region"), ("", "A ball rolls.", "whole video")):
        page.run(f"scene.text = 'A ball rolls.'; scene.region = '{region}'; scene.instruction = null")
        page.run("drawScene({answered: 0, total: 5})")
        assert text(page, "region-text") == shown_text
        assert head in text(page, "region-head")
        assert ("only that" in page.run(hint)) is bool(region)
        assert page.run("document.getElementById('whole').hidden") is not bool(region)


def test_without_a_connection_choices_stay_and_can_be_sent_again(page: Page, material: Path, tmp_path: Path):
    """The server stops while somebody answers, and comes back."""
    shutil.copytree(material / "bench", tmp_path / "bench")
    shutil.copytree(material / "results", tmp_path / "results")
    with served(tmp_path, participants=1) as server:
        begin(page, server.links[0])
        choose(page, background=1, text=1, quality=0)
        port = server.url.rpartition(":")[2]
    press(page, "#next")
    page.wait_for("!document.getElementById('problem').hidden", timeout_s=PATIENCE_S)
    assert "no connection" in text(page, "problem-text")
    assert page.run("chosen()") == {"background": 1, "text": 1, "quality": 0}
    with served(tmp_path, participants=1, extra=["--port", port]) as server:
        press(page, "#again")
        page.wait_for("document.getElementById('progress-bar').value === 1", timeout_s=PATIENCE_S)
        assert Participant(server, page.run("token()")).page()["answered"] == 1


@pytest.fixture
def three_pages(tmp_path: Path, page: Page) -> Iterator[list[Page]]:
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    assert executable is not None  # else `page` has skipped the test
    with ExitStack() as stack:
        others = [stack.enter_context(chromium(executable, tmp_path / f"profile-{number}")) for number in range(2)]
        yield [page, *others]


def test_three_people_at_once_answer_for_themselves(three_pages: list[Page], link: Link):
    addresses = [link() for _ in three_pages]
    for one, address in zip(three_pages, addresses, strict=True):
        begin(one, address)
    for place, one in enumerate(three_pages):
        choose(one, background=place, text=place, quality=place)
    for one in three_pages:
        go_on(one, answered=1)
    seen = {one.run("videos.map((video) => video.src).join()") for one in three_pages}
    assert len(seen) == 3
    for place, address in enumerate(addresses):
        url, _, token = address.partition("/#")
        headers = {"Authorization": f"Bearer {token}"}
        same = {"ballot": 1, "background": place, "text": place, "quality": place}
        other = same | {"text": (place + 1) % 3}
        assert httpx.post(f"{url}/api/answers", json=same, headers=headers).status_code == 204
        assert httpx.post(f"{url}/api/answers", json=other, headers=headers).status_code == 409
