"""The page in a real browser, from `file://`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.report.chromium import Page
from tests.report.conftest import HOSTILE, NUM_CLIPS
from vpdata.dataset.run import Run
from vpdata.report import ReportSettings, write_report

pytestmark = pytest.mark.browser

CARDS = "document.querySelectorAll('#gallery .card')"
FOCUSED = "document.activeElement"


def report_of(run: Run) -> Path:
    return run.folder.path("report.html")


def starting(selector: str, text: str) -> str:
    """JavaScript for the first element of `selector` whose text begins so."""
    return f"[...document.querySelectorAll('{selector}')].find((one) => one.textContent.startsWith('{text}'))"


def open_clips(page: Page, run: Run, query: str = "") -> None:
    page.open(report_of(run), fragment=f"#clips{query}")
    page.wait_for(f"{CARDS}.length")


@pytest.mark.parametrize("fragment", ["", "#clips", "#rejects"])
def test_every_view_opens_without_a_complaint_and_asks_only_for_files_of_the_report(
    page: Page, report_run: Run, fragment: str
) -> None:
    page.open(report_of(report_run), fragment=fragment)
    page.wait_for("document.querySelector('main > section:not([hidden]) :is(.card, tbody td)')")
    root = report_of(report_run).parent.as_uri()
    assert page.problems == []
    assert page.requested
    assert all(url.startswith((f"{root}/report/", f"{root}/report.html")) for url in page.requested)


def test_overview_shows_headline_funnel_and_histograms(page: Page, report_run: Run) -> None:
    page.open(report_of(report_run))
    page.wait_for("document.querySelector('#strip .card')")
    assert page.run("document.title").startswith("run <b>")
    assert page.run("document.querySelector('h1').textContent").startswith(f"{NUM_CLIPS} clips from 29 source videos")
    steps = page.run("[...document.querySelectorAll('.step span')].map((one) => one.textContent)")
    assert steps == ["cut", "detect", "track", "caption", "filter", "pack"]
    drops = page.run("[...document.querySelectorAll('.funnel .drops li')].map((one) => one.textContent)")
    assert drops == ["empty file1", "too short1", "motion1", "static1", "track area1", "near duplicate1"]
    motion = starting("figure", "motion")
    assert page.run(f"{motion}.textContent").startswith("motionat least 0.1")
    assert page.run(f"{motion}.querySelectorAll('.bound').length") == 1
    assert "What was dropped at the stage that measured it is not counted" in page.run("document.body.textContent")


def test_gallery_plays_loops_and_switches_the_masks(page: Page, report_run: Run) -> None:
    open_clips(page, report_run)
    assert page.run(f"{CARDS}.length") == 24
    page.wait_for("document.querySelector('#gallery video')?.currentTime > 0")
    top = "document.querySelector('#gallery video').offsetTop"
    assert page.run(top) < 0
    page.press("m")
    assert page.run(top) == 0


def test_page_loads_only_the_media_in_sight(page: Page, report_run: Run) -> None:
    page.resize(1200, 400)
    open_clips(page, report_run)
    page.wait_for("document.querySelector('#gallery video')")
    posters = {url for url in page.requested if url.endswith(".jpg")}
    assert 0 < len(posters) < 24
    assert page.run("document.querySelectorAll('video').length") < 24


def test_search_filters_and_says_how_many(page: Page, report_run: Run) -> None:
    open_clips(page, report_run)
    page.press("/")
    page.wait_for(f"{FOCUSED}.id === 'clips-q'")
    page.type("crosses  CLIP 17:")
    page.wait_for(f"{CARDS}.length === 1")
    assert page.run(f"{CARDS}[0].querySelector('.caption').textContent") == "Clip 17: a red square crosses a blue one."
    assert page.run("document.querySelector('#clips-count').textContent") == f"1 clip of {NUM_CLIPS}"


def test_sort_orders_by_the_score_and_puts_missing_values_last(page: Page, report_run: Run) -> None:
    open_clips(page, report_run, "?sort=motion:down")
    notes = page.run(f"[...{CARDS}].map((one) => one.querySelector('.note').textContent)")
    # Motion is 0.5 plus the clip's number; 27 clips, 24 on a page.
    assert notes == [f"2 s · motion {number + 0.5:g}" for number in range(26, 2, -1)]
    for direction in ("up", "down"):
        open_clips(page, report_run, f"?sort=sharpness:{direction}&page=2")
        last = page.run(f"[...{CARDS}].map((one) => one.querySelector('.note').textContent)")
        assert last == ["2 s · sharpness –"] * 3


def test_pages_and_labels_are_chosen_with_the_controls(page: Page, report_run: Run) -> None:
    open_clips(page, report_run)
    disabled = "[...document.querySelectorAll('#clips-pages button')].map((one) => one.disabled)"
    assert page.run(disabled) == [True, False]
    page.run("document.querySelector('#clips-pages button:last-child').click()")
    page.wait_for(f"{CARDS}.length === {NUM_CLIPS - 24}")
    assert page.run(disabled) == [False, True]
    page.run("document.querySelector('#clips-label').value = 'blue square'")
    page.run("document.querySelector('#clips-label').dispatchEvent(new Event('input'))")
    page.wait_for(f"document.querySelector('#clips-count').textContent === '{NUM_CLIPS - 1} clips of {NUM_CLIPS}'")


def test_text_from_the_run_stays_text(page: Page, report_run: Run) -> None:
    open_clips(page, report_run, "?q=onerror")
    assert page.run(f"{CARDS}.length") == 1
    assert page.run(f"{CARDS}[0].querySelector('.caption').textContent") == HOSTILE
    page.run(f"{CARDS}[0].click()")
    page.wait_for("document.querySelector('dialog[open] h2')")
    assert page.run("document.querySelector('dialog h2').textContent") == HOSTILE
    assert page.run("document.querySelectorAll('dialog img[onerror], .caption b, .track b, h2 b').length") == 0
    page.open(report_of(report_run), fragment="#rejects?q=onerror")
    page.wait_for("document.querySelectorAll('#reject-rows tr').length === 1")
    assert HOSTILE in page.run("document.querySelector('#reject-rows').textContent")
    assert page.problems == []


def test_policy_refuses_markup_and_foreign_scripts(page: Page, report_run: Run) -> None:
    open_clips(page, report_run)
    refused = "(() => {{ try {{ {}; return 'ran'; }} catch (error) {{ return error.name; }} }})()"
    assert page.run(refused.format("document.body.innerHTML = '<b>x</b>'")) == "TypeError"
    assert page.run(refused.format("scriptUrls.createScriptURL('https://example.org/a.js')")) == "TypeError"
    assert page.run(refused.format("document.createElement('script').src = 'a.js'")) == "TypeError"


def test_rejects_are_reached_from_the_funnel_and_searched(page: Page, report_run: Run) -> None:
    page.open(report_of(report_run))
    page.wait_for("document.querySelector('.drops a')")
    page.run(f"{starting('.drops a', 'too short')}.click()")
    page.wait_for("document.querySelectorAll('#reject-rows tr').length === 1")
    cells = page.run("[...document.querySelectorAll('#reject-rows td')].map((one) => one.textContent)")
    assert cells[:4] == ["too shortcut", "1.0", ">= 2.0", "footage/zz copy.mp400:02.0 to 00:03.0"]
    page.open(report_of(report_run), fragment="#rejects")
    page.wait_for("document.querySelectorAll('#reject-rows tr').length === 6")
    page.press("/")
    page.wait_for(f"{FOCUSED}.id === 'rejects-q'")
    page.type("looks like")
    page.wait_for("document.querySelectorAll('#reject-rows tr').length === 1")


def test_keys_move_through_the_gallery_and_the_detail_view(page: Page, report_run: Run) -> None:
    open_clips(page, report_run)
    at = f"[...{CARDS}].indexOf({FOCUSED})"
    page.run(f"{CARDS}[0].focus()")
    page.press("ArrowRight")
    assert page.run(at) == 1
    columns = page.run("getComputedStyle(document.querySelector('#gallery')).gridTemplateColumns.split(' ').length")
    page.press("ArrowDown")
    assert page.run(at) == 1 + columns
    page.press("Home")
    page.press("Enter")
    page.wait_for("document.querySelector('dialog[open] h2')")
    title = page.run("document.querySelector('dialog h2').textContent")
    page.press("ArrowRight")
    page.wait_for(f"document.querySelector('dialog h2').textContent !== {json.dumps(title)}")
    page.press("ArrowLeft")
    page.wait_for(f"document.querySelector('dialog h2').textContent === {json.dumps(title)}")
    page.press("Escape")
    page.wait_for("!document.querySelector('dialog[open]') && !location.hash.includes('clip=')")
    assert page.run(at) == 0


def test_tab_reaches_everything_in_the_order_of_reading(page: Page, report_run: Run) -> None:
    open_clips(page, report_run)
    seen = []
    for _ in range(9):
        page.press("Tab")
        seen.append(page.run(f"Object.values({FOCUSED}.dataset)[0] || {FOCUSED}.id || {FOCUSED}.className"))
    assert seen == ["overview", "clips", "rejects", "masks", "motion", "clips-q", "clips-label", "clips-sort", "card"]


def test_detail_shows_tracks_scores_and_provenance(page: Page, report_run: Run) -> None:
    open_clips(page, report_run, "?q=Clip+22:")
    page.run(f"{CARDS}[0].click()")
    page.wait_for("document.querySelector('dialog[open] dl')")
    text = page.run("document.querySelector('dialog').textContent")
    assert "a blue square" in text
    assert "on 75 % of frames" in text
    assert "footage/squares 22.mp4" in text
    assert "CC-BY-4.0" in text
    assert page.run("document.querySelectorAll('.lane').length") == 2
    assert page.run(f"{starting('.bullets tr', 'motion')}.textContent") == "motion22.5at least 0.1"


def test_page_without_its_folder_says_what_is_missing(page: Page, report_run: Run, tmp_path: Path) -> None:
    page.open(Path(shutil.copy(report_of(report_run), tmp_path / "report.html")), fragment="#clips")
    page.wait_for("!document.querySelector('#problem').hidden")
    assert page.run("document.querySelector('#problem').textContent") == (
        "report/data/clips.js cannot be read: the folder report/ must lie beside this page."
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(page: Page, report_run: Run, scheme: str) -> None:
    page.prefer(color_scheme=scheme)
    page.open(report_of(report_run))
    page.wait_for("document.querySelector('.step')")
    paper = luminance(page.run("getComputedStyle(document.body).backgroundColor"))
    assert (paper < 0.1) == (scheme == "dark")
    for selector in ("h1", "#facts", ".step b", "#funnel li:last-child .step b", ".drops span", ".axis", ".bars b"):
        text = luminance(page.run(f"getComputedStyle(document.querySelector({json.dumps(selector)})).color"))
        # WCAG 2.2, 1.4.3
        assert (max(text, paper) + 0.05) / (min(text, paper) + 0.05) >= 4.5, selector


def luminance(colour: str) -> float:
    """Relative luminance of a CSS `rgb(r, g, b)`, as WCAG defines it."""
    channels = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("fragment", ["", "#clips", "#rejects", "#clips?q=onerror"])
def test_nothing_is_wider_than_a_phone(page: Page, report_run: Run, fragment: str) -> None:
    page.resize(360, 740, mobile=True)
    page.open(report_of(report_run), fragment=fragment)
    page.wait_for("document.querySelector('main > section:not([hidden]) :is(.card, tbody td)')")
    assert page.run("document.documentElement.scrollWidth") == 360
    if "q=" in fragment:
        page.run(f"{CARDS}[0].click()")
        page.wait_for("document.querySelector('dialog[open] dl')")
        assert page.run("document.querySelector('dialog').scrollWidth") <= 360


def test_reduced_motion_shows_posters_until_asked(page: Page, report_run: Run) -> None:
    page.prefer(reduced_motion="reduce")
    open_clips(page, report_run)
    page.wait_for("document.querySelector('#gallery img')?.naturalWidth")
    assert page.run("document.querySelectorAll('video').length") == 0
    page.press("p")
    page.wait_for("document.querySelector('#gallery video')?.currentTime > 0")


def test_single_file_needs_nothing_beside_it(page: Page, report_run: Run, tmp_path: Path) -> None:
    name = write_report(report_run.folder, ReportSettings(loop_s=0.5, loop_short_side_px=32), single_file_sample=5)
    alone = Path(shutil.move(report_run.folder.path(name), tmp_path / "alone.html"))
    page.open(alone, fragment="#clips")
    page.wait_for(f"{CARDS}.length === 5")
    page.wait_for("document.querySelector('#gallery video')?.currentTime > 0")
    page.run(f"{CARDS}[0].click()")
    page.wait_for("document.querySelector('dialog[open] dl')")
    assert page.problems == []
    assert {url.partition("#")[0] for url in page.requested if not url.startswith("data:")} == {alone.as_uri()}
