"""The page in a real browser, from `file://`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmark.bench import open_bench
from benchmark.report.writing import ReportSettings, write_report
from tests.benchmark.report.conftest import REASON, Made
from tests.report.chromium import Page
from tests.report.conftest import HOSTILE
from vpdata.storage import Folder

pytestmark = pytest.mark.browser

ROWS = "[...document.querySelectorAll('#table tbody th')].map((one) => one.firstChild.textContent)"
CASES = "[...document.querySelectorAll('#case-list a')].map((one) => new URLSearchParams(one.hash.slice(6)).get('id'))"


@pytest.fixture(scope="module")
def report(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("page")
    write_report(open_bench(made.bench), made.results, Folder(output), ReportSettings(reference="truth"))
    return output / "report.html"


@pytest.mark.parametrize("fragment", ["", "#tables?place=hole&kind=truth", "#cases", "#case?id=s-0", "#methods"])
@pytest.mark.parametrize("width_px", [1200, 360])
def test_every_view_opens_without_a_complaint_and_fits_the_screen(
    page: Page, report: Path, fragment: str, width_px: int
) -> None:
    page.resize(width_px, 800, mobile=width_px < 500)
    page.open(report, fragment=fragment)
    page.wait_for("document.querySelector('main > section:not([hidden]) :is(td, canvas, #case-list p)')")
    assert page.run("document.documentElement.scrollWidth") <= width_px
    root = report.parent.as_uri()
    assert all(url.startswith((f"{root}/report/", f"{root}/report.html")) for url in page.requested)
    assert page.problems == []


def test_tables_show_methods_beside_quoted_rows_and_sort_by_any_column(page: Page, report: Path) -> None:
    page.open(report)
    quoted = [f"{one}, quoted: table 2" for one in ("ProPainter", "COCOCO", "Cog-Inp", "VideoPainter")]
    assert page.run(ROWS) == ["dark", "darker", "truth", *quoted]
    page.run(
        "[...document.querySelectorAll('#table button')].find((one) => one.textContent.startsWith('PSNR')).click()"
    )
    page.wait_for("document.querySelector('#table [aria-sort]')")
    assert page.run(ROWS)[:3] == ["truth", "dark", "darker"]
    assert "2 of 3" in page.run("document.querySelector('#table tbody').textContent")
    assert REASON in page.run("document.querySelector('#whys').textContent")
    assert "first frame not given" in page.run("document.querySelector('#table').textContent")
    assert "score --protocol paper has theirs" in page.run("document.querySelector('#table-note').textContent")


def test_tables_stay_sorted_by_the_same_metric_in_another_region(page: Page, report: Path) -> None:
    page.open(report)
    page.run(
        "[...document.querySelectorAll('#table button')].find((one) => one.textContent.startsWith('Flicker')).click()"
    )
    page.wait_for("document.querySelector('#table [aria-sort]')")
    # Known pixels have no temporal consistency, so that flicker is in another column.
    for place in ("known", "hole"):
        page.run(f"change('place', '{place}')")
        page.wait_for(f"document.querySelector('#tables-place').value === '{place}'")
        assert page.run("document.querySelector('#table [aria-sort]').textContent").startswith("Flicker")


def test_cases_come_worst_first_by_any_metric(page: Page, report: Path) -> None:
    page.open(report, fragment="#cases?subset=S&method=darker")
    assert page.run(CASES)[0] == "s-2"
    worst = page.run(CASES)
    page.run("(() => { const s = document.querySelector('#cases-order'); s.value = 'best'; s.onchange(); })()")
    page.wait_for("location.hash.includes('best')")
    assert page.run(CASES)[:2] == worst[:0:-1]
    assert page.run("document.querySelector('#case-list').textContent").count(HOSTILE) == 3


def test_players_show_the_same_frame_of_every_output(page: Page, report: Path, made: Made, tmp_path: Path) -> None:
    page.open(report, fragment="#case?id=s-0")
    page.wait_for("film && film.video.readyState >= 2")
    page.run("document.querySelector('[aria-label=\"Frame on\"]').click()")
    page.wait_for("document.querySelector('.bar output').textContent === 'frame 2 of 6'")
    page.run("const s = document.querySelector('.bar input'); s.value = 4; s.dispatchEvent(new Event('input')); 0")
    page.wait_for("document.querySelector('.bar output').textContent === 'frame 5 of 6' && !film.video.seeking")
    bench = open_bench(made.bench)
    truth = bench.sampled(bench.case("s-0")).frames[4].astype(int)
    shown = {name: canvas(page, name, tmp_path) for name in ("Truth", "dark", "darker")}
    for name, levels in (("Truth", 0), ("dark", 25), ("darker", 51)):
        wanted = truth - np.minimum(truth, levels)
        assert np.abs(shown[name] - wanted.mean(axis=(0, 1))).max() < 6, name
    page.press("c")
    back = canvas(page, "darker", tmp_path)
    hole = bench.sampled(bench.case("s-0")).masks[4][..., None]
    assert np.abs(back - np.where(hole, truth - np.minimum(truth, 51), truth).mean(axis=(0, 1))).max() < 6


def test_a_failed_result_is_its_reason_in_the_place_of_a_player(page: Page, report: Path) -> None:
    page.open(report, fragment="#case?id=s-2")
    page.wait_for("film && film.video.readyState >= 2")
    assert page.run("[...document.querySelectorAll('.player canvas')].map((one) => one.ariaLabel)") == [
        "Truth", "Hole", "dark", "truth",
    ]  # fmt: skip
    assert page.run("document.querySelector('.player .empty').textContent") == REASON
    assert page.run("document.querySelectorAll('script:not([type])').length") == 1


def canvas(page: Page, name: str, folder: Path) -> np.ndarray:
    """Mean RGB of what a player shows on the screen."""
    find = f"document.querySelector('canvas[aria-label=\"{name}\"]')"
    page.run(f"{find}.scrollIntoView({{block: 'center'}})")
    x, y, width, height = page.run(
        f"(({{x, y, width, height}}) => [x, y, width, height])({find}.getBoundingClientRect())"
    )
    page.screenshot(folder / "shot.png")
    shot = cv2.imread(str(folder / "shot.png"))[..., ::-1]
    # Without the rounded corners and the last, blended pixels.
    inner = shot[round(y) + 6 : round(y + height) - 6, round(x) + 6 : round(x + width) - 6]
    return inner.reshape(-1, 3).mean(axis=0)
