"""Writing a report: numbers as Markdown and LaTeX, and a page with its folder of videos."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmark.bench import Bench, Case
from benchmark.metrics.settings import Protocol
from benchmark.report.facts import METHOD_HEADS, Facts, facts_of
from benchmark.report.latex import latex
from benchmark.report.markdown import markdown
from benchmark.report.media import CaseMedia, case_media
from benchmark.report.numbers import SUBSETS
from benchmark.report.page_data import case_data, measures_of, table_data
from benchmark.report.scores import read_scores
from benchmark.report.tables import Average, Table, tables
from benchmark.results import Results, check_name
from vpdata.config import nearest
from vpdata.errors import ConfigError, RunError, StorageError
from vpdata.report.document import document
from vpdata.storage import Folder

PAGE, MARKDOWN, LATEX, MEDIA = "report.html", "report.md", "report.tex", "report"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings:
    """What is shown."""

    protocol: Protocol = "clean"
    reference: str | None = None
    """Whom other methods differ from; None: the first by name that has a usable result."""
    average: Average = "pixels"
    """How cases weigh in means and differences; the paper's protocol has a weighing of its own."""
    side_px: int = 240
    """Longest short side of a player's video."""
    has_videos: bool = True
    has_latex_intervals: bool = False
    """Whether LaTeX has intervals too, which makes its tables twice as wide."""

    def __post_init__(self) -> None:
        if self.side_px < 16:
            raise ConfigError(f"got a side of {self.side_px} px, wanted at least 16")
        if self.protocol == "paper" and self.average != "pixels":
            raise ConfigError(
                f"got an average over {self.average} of the paper's protocol, which is published over frames"
            )


def write_report(bench: Bench, results: Results, output: Folder, settings: ReportSettings) -> Facts:
    """The page, the Markdown, the LaTeX tables and the folder of videos, in `output`; equal input gives equal bytes.

    RunError where the scores are not of these results and this benchmark. ConfigError for an unknown reference, and for
    a method that is called like the folder of videos, which is emptied first.
    """
    scores = read_scores(bench, results, settings.protocol)
    if MEDIA in scores.methods:
        raise ConfigError(f"got a method {MEDIA!r}, which is the report's own folder; give the method another name")
    facts = facts_of(bench, results, scores)
    made = list(tables(scores, _reference(settings, facts), settings.average))
    output.write(MARKDOWN, markdown(facts, made).encode())
    output.write(LATEX, latex(facts, made, has_intervals=settings.has_latex_intervals).encode())
    # The old page goes first and the new one comes last, so that there is never a page whose videos are not its own.
    output.remove(PAGE)
    output.child(MEDIA).remove_all()
    media: dict[str, dict[str, Any]] = {}
    if settings.has_videos:
        folder = output.child(MEDIA)
        usable = [method.name for method in facts.methods if method.problem is None]
        for case in scores.cases:
            _log.info("videos of %s", case.id)
            try:
                videos = case_media(
                    bench, results, case, methods=usable, dilate_px=scores.dilate_px[0], side_px=settings.side_px
                )
            except (RunError, StorageError) as error:
                _log.warning("no videos of %s: %s", case.id, error)
                continue
            media[case.id] = _write_media(folder, case, videos, dilate_px=scores.dilate_px[0])
    measures = measures_of(scores)
    shown = Shown(
        facts=facts,
        tables=made,
        num_cases=len(scores.cases),
        measures=[measure.data() for measure in measures],
        cases=[case_data(scores, case, measures, media.get(case.id)) for case in scores.cases],
    )
    output.write(PAGE, bench_page(shown))
    return facts


def _reference(settings: ReportSettings, facts: Facts) -> str:
    names = [method.name for method in facts.methods]
    if settings.reference is None:
        return next((method.name for method in facts.methods if method.num_ok), names[0])
    if settings.reference not in names:
        near = nearest(settings.reference, names)
        raise ConfigError(f"got the reference {settings.reference!r}, wanted one of {', '.join(names)}{near}")
    return settings.reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The content of a page; a leaderboard has no single cases."""

    facts: Facts
    tables: Sequence[Table]
    num_cases: int
    measures: Sequence[dict[str, Any]] = ()
    """What cases are sorted by."""
    cases: Sequence[dict[str, Any]] = ()


def bench_page(shown: Shown) -> bytes:
    """One HTML file; videos are read from the folder beside it."""
    page = {
        **asdict(shown.facts),
        "method_heads": METHOD_HEADS,
        "method_cells": {one.name: one.cells for one in shown.facts.methods},
        "num_cases": shown.num_cases,
        "subsets": {subset: SUBSETS[subset] for subset in dict.fromkeys(table.subset for table in shown.tables)},
        "tables": [table_data(table) for table in shown.tables],
        "measures": shown.measures,
        "cases": shown.cases,
    }
    return document("benchmark.report", "bench", title=f"{shown.facts.bench} · VPBench", blocks={"bench": page})


def _write_media(folder: Folder, case: Case, media: CaseMedia, *, dilate_px: int) -> dict[str, Any]:
    """Write the files; what the page must know of them."""
    name = check_name(case.id)
    folder.write(f"{name}.mp4", media.video)
    folder.write(f"{name}.jpg", media.poster)
    return {
        "tiles": dict(media.tiles),
        "size": media.size_px,
        "fps": float(media.fps),
        "num_frames": media.num_frames,
        "dilate_px": dilate_px,
    }
