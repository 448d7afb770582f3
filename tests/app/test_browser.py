"""What a user does on the page, in a real browser."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from benchmark.footage import scene, write_video
from tests.app.conftest import HEIGHT, NUM_FRAMES, WIDTH, Film, free_port, settings_with
from tests.inpaint.footage import decoded
from tests.report.chromium import Page
from vpdata.app.command import running

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE_S = 120
REFUSALS = {"long": "at most 3 s", "large": "exceed the maximum", "many pixels": "too large", "text": "cannot be used"}
TOAST = "document.querySelector('.toast-wrap')?.textContent ?? ''"


def opened(page: Page, url: str) -> Page:
    page.visit(url)
    page.wait_for("document.querySelector('#dropzone input[type=file]')")
    return page


def upload(page: Page, path: Path) -> None:
    page.choose_file("#dropzone input[type=file]", path)


def with_film(page: Page, url: str, film: Film) -> Page:
    upload(opened(page, url), film.path)
    page.wait_for("document.querySelector('#picture img')?.naturalWidth > 0", timeout_s=PATIENCE_S)
    return page


def place(page: Page, selector: str) -> tuple[float, float, float, float]:
    """Left, top, width and height of an element, which is scrolled to."""
    script = "(one => { one.scrollIntoView({block: 'center'}); return one.getBoundingClientRect().toJSON() })"
    box = page.run(f"{script}(document.querySelector({json.dumps(selector)}))")
    return box["x"], box["y"], box["width"], box["height"]


def press(page: Page, selector: str) -> None:
    """Click on an element as soon as it is there, takes clicks, and is no longer moved by what loads above it."""
    page.wait_for(f"document.querySelector({json.dumps(selector)})?.disabled === false")
    page.wait_for("[...document.querySelectorAll('video')].every(one => !one.src || one.readyState >= 1)")
    before = None
    while (now := place(page, selector)) != before:
        before = now
        time.sleep(0.1)
    page.click(now[0] + now[2] / 2, now[1] + now[3] / 2)


def downloaded(page: Page, selector: str, folder: Path) -> Path:
    """The file that a button gives."""
    folder.mkdir()
    page.download_to(folder)
    press(page, selector)
    deadline = time.monotonic() + PATIENCE_S
    while not (found := list(folder.glob("*.mp4"))):
        assert time.monotonic() < deadline, f"got {list(folder.iterdir())}"
        time.sleep(0.1)
    return found[0]


def click_picture(page: Page, x_frac: float, y_frac: float) -> None:
    """Click at a place of the frame that is shown, and wait for the mark."""
    page.wait_for("document.querySelector('#picture img')?.complete")
    time.sleep(0.2)  # the page takes clicks again a moment after the picture is there
    before = page.run("document.querySelector('#picture img').src")
    x, y, width, height = place(page, "#picture img")
    page.click(x + width * x_frac, y + height * y_frac)
    page.wait_for(f"document.querySelector('#picture img').src !== {json.dumps(before)}")


def write(page: Page, selector: str, text: str) -> None:
    page.run(f"document.querySelector({json.dumps(selector)}).focus()")
    page.type(text)


def finished(page: Page, selector: str, word: str) -> None:
    page.wait_for(f"document.querySelector('{selector}').textContent.includes('{word}')", timeout_s=PATIENCE_S)


def find(page: Page, film: Film) -> None:
    click_picture(page, *film.point(0))
    press(page, "#find")
    finished(page, "#found", "frames")


def test_object_is_clicked_filled_and_compared(page: Page, url: str, film: Film, tmp_path: Path) -> None:
    with_film(page, url, film)
    facts = page.run("document.querySelector('#facts').textContent")
    assert f"{WIDTH} × {HEIGHT} px, {NUM_FRAMES} frames, 1.2 s, 25 fps" in facts
    find(page, film)
    address = page.run("document.querySelector('#overlay video').src")
    (tmp_path / "overlay.mp4").write_bytes(httpx.get(address, timeout=60).raise_for_status().content)
    overlay = decoded(tmp_path / "overlay.mp4")
    before = decoded(film.path).astype(int)
    tinted = np.abs(overlay - before).max(axis=3) > 25
    # The hole is the object and 8 px around it.
    truth = np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((17, 17))) > 0 for mask in film.masks])
    assert (tinted & truth).sum() / (tinted | truth).sum() > 0.7
    write(page, "#text textarea", "a red ball")
    press(page, "#make")
    page.wait_for("/Part \\d of 3, step \\d of 4/.test(document.querySelector('#made').textContent)")
    finished(page, "#made", "Finished")
    after = decoded(downloaded(page, "#download", tmp_path / "downloads"))
    assert after.shape == before.shape
    difference = np.abs(after - before).mean(axis=3)
    assert difference[film.masks].mean() > 10
    far = ~np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((49, 49))) > 0 for mask in film.masks])
    assert difference[far].mean() < 3
    assert not [one for one in page.requested if one.startswith("http") and not one.startswith(url)]


def test_what_a_job_warns_of_is_shown_until_it_is_closed(page: Page, url: str, film: Film) -> None:
    with_film(page, url, film)
    write(page, "#names textarea", "moving object, <b>person</b>")
    press(page, "#find")
    finished(page, "#found", "frames")
    assert "'<b>person</b>' was not found in the video" in page.run(TOAST)


def test_slider_shows_the_same_frame_before_on_its_left_and_after_on_its_right(
    page: Page, url: str, film: Film, tmp_path: Path
) -> None:
    with_film(page, url, film)
    find(page, film)
    write(page, "#text textarea", "a red ball")
    press(page, "#make")
    finished(page, "#made", "Finished")
    page.wait_for("[...document.querySelectorAll('#compare video')].every(one => one.readyState >= 2)")
    page.wait_for("document.querySelector('#compare .before').currentTime > 0.2")
    press(page, "#compare .play")
    assert page.run("[...document.querySelectorAll('#compare video')].every(one => one.paused)")
    both = "[...document.querySelectorAll('#compare video')]"
    page.run(f"{both}.forEach(one => {{ one.currentTime = 0.41 }})")
    page.wait_for(f"{both}.every(one => !one.seeking)")
    time.sleep(0.3)  # until it is painted
    x, y, width, height = (round(value) for value in place(page, "#compare .pair"))
    x_frac, _ = film.point(10)
    shown = {}
    # The object is once on the right of the line, once on its left.
    for name, at_frac in (("after", x_frac - 0.3), ("before", x_frac + 0.3)):
        page.click(x + width * at_frac, y + height / 2)
        at = float(page.run("getComputedStyle(document.querySelector('#compare .pair')).getPropertyValue('--at')")[:-1])
        assert at == pytest.approx(100 * at_frac, abs=3)
        page.screenshot(tmp_path / "shot.png")
        shot = cv2.cvtColor(cv2.imread(str(tmp_path / "shot.png")), cv2.COLOR_BGR2RGB)[y : y + height, x : x + width]
        shown[name] = cv2.resize(shot, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(int)
    frame = decoded(film.path)[10].astype(int)
    inner = cv2.erode(film.masks[10].astype(np.uint8), np.ones((9, 9))) > 0
    assert np.abs(shown["before"] - frame)[inner].mean() < 15 < np.abs(shown["after"] - frame)[inner].mean()
    at = "document.querySelector('#compare input').value"
    value = float(page.run(at))
    page.press("ArrowLeft")
    assert float(page.run(at)) < value


def test_stopped_job_leaves_the_page_ready_for_the_next(page: Page, url: str, film: Film) -> None:
    with_film(page, url, film)
    find(page, film)
    write(page, "#text textarea", "a red ball")
    press(page, "#make")
    page.wait_for("document.querySelector('#made').textContent.includes('step')", timeout_s=PATIENCE_S)
    press(page, "#stop-making")
    finished(page, "#made", "Stopped")
    assert not page.run("document.querySelector('#compare')?.checkVisibility() ?? false")
    press(page, "#make")
    finished(page, "#made", "Finished")


def test_box_of_two_corners_is_tracked(page: Page, url: str, film: Film, tmp_path: Path) -> None:
    with_film(page, url, film)
    press(page, "#how label:nth-child(2) input")
    rows, columns = np.nonzero(film.masks[0])
    for corner in ((columns.min() / WIDTH, rows.min() / HEIGHT), (columns.max() / WIDTH, rows.max() / HEIGHT)):
        click_picture(page, *corner)
    press(page, "#find")
    finished(page, "#found", f"{NUM_FRAMES} of {NUM_FRAMES}")


def test_unknown_name_is_answered_as_text(page: Page, url: str, film: Film) -> None:
    with_film(page, url, film)
    write(page, "#names textarea, #names input", '<img src=x onerror="alert(1)">')
    press(page, "#find")
    page.wait_for(f"({TOAST}).includes('was not found')", timeout_s=PATIENCE_S)
    said = page.run(TOAST)
    assert "person, face and moving object" in said
    assert "give a box or a click, other words, or a mask file on the command line" in said
    assert not page.run("document.querySelector('.toast-wrap img')")
    assert not [one for one in page.problems if one.startswith("dialog")]


def test_first_frame_is_taken_and_goes_with_the_page(
    page: Page, film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # so that the page of the other tests has its own back
    cv2.imwrite(str(tmp_path / "first.png"), np.full((HEIGHT, WIDTH, 3), (0, 255, 0), np.uint8))
    (tmp_path / "text.png").write_text("no picture")
    settings = settings_with(tmp_path, "wan-i2v", grace_s=5)
    with running(*settings, host="127.0.0.1", port=free_port()) as url:
        with_film(page, url, film)
        find(page, film)
        write(page, "#text textarea", "a green ball")
        press(page, "#make")
        page.wait_for(f"({TOAST}).includes('must be given a first frame')", timeout_s=PATIENCE_S)
        page.choose_file("#first-frame input[type=file]", tmp_path / "text.png")
        page.wait_for(f"({TOAST}).includes('no picture that can be read')", timeout_s=PATIENCE_S)
        press(page, "#first-frame button[aria-label*=emove]")
        page.wait_for("document.querySelector('#first-frame input[type=file]')")
        page.choose_file("#first-frame input[type=file]", tmp_path / "first.png")
        page.wait_for("document.querySelector('#first-frame img')?.naturalWidth > 0", timeout_s=PATIENCE_S)
        press(page, "#make")
        finished(page, "#made", "Finished")
        after = decoded(downloaded(page, "#download", tmp_path / "downloads"))
        red, green, blue = after[0][cv2.erode(film.masks[0].astype(np.uint8), np.ones((9, 9))) > 0].mean(axis=0)
        assert green > max(red, blue) + 40
        root = Path(os.environ["GRADIO_TEMP_DIR"])
        assert [path for path in root.rglob("*") if path.is_file()]
        page.visit("data:text/html,elsewhere")
        deadline = time.monotonic() + PATIENCE_S
        while left := [path for path in root.rglob("*") if path.is_file()]:
            assert time.monotonic() < deadline, f"left: {left}"
            time.sleep(0.5)


def test_nothing_chosen_is_said(page: Page, url: str, film: Film) -> None:
    with_film(page, url, film)
    press(page, "#find")
    page.wait_for(f"({TOAST}).includes('Nothing is chosen yet')")
    page.wait_for("document.querySelector('#find').disabled === false")


@pytest.mark.parametrize("wrong", REFUSALS)
def test_upload_beyond_the_limits_is_refused_with_the_limit(page: Page, url: str, tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "in.mp4"
    message = {
        "long": "at most 3 s",
        "large": "exceed the maximum",
        "many pixels": "too large",
        "text": "cannot be used",
    }[wrong]
    if wrong == "text":
        path.write_text("no video")
    elif wrong == "large":
        path.write_bytes(bytes(1_100_000))
    else:
        frames = scene(
            "plain", seed=1, num_frames=100 if wrong == "long" else 5, height_px=120 if wrong == "long" else 240
        ).frames
        write_video(path, frames)
    upload(opened(page, url), path)
    page.wait_for(f"document.body.textContent.includes('{message}')", timeout_s=PATIENCE_S)
    assert not page.run("document.querySelector('#picture')?.checkVisibility() ?? false")


@pytest.mark.parametrize(("width_px", "height_px"), [(1200, 800), (390, 844)])
def test_page_is_no_wider_than_the_window(page: Page, url: str, film: Film, width_px: int, height_px: int) -> None:
    page.resize(width_px, height_px, mobile=width_px < 600)
    with_film(page, url, film)
    find(page, film)
    assert page.run("document.documentElement.scrollWidth") <= width_px
