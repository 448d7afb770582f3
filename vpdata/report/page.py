"""The report of a run: `report.html`, and the folder `report/` with the media and data that it loads on demand."""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from vpdata.dataset import layout
from vpdata.dataset.reader import open_dataset
from vpdata.dataset.run import Run
from vpdata.dataset.stats import Stats, collect
from vpdata.errors import ConfigError, RunError
from vpdata.report.document import document
from vpdata.report.drawing import TRACK_COLOURS, css_colour
from vpdata.report.loops import ClipMedia, make_media, media_span
from vpdata.report.overview import overview, rule_bounds
from vpdata.report.sampling import sample_clips, sample_rejects
from vpdata.report.view import as_script_data, clip_detail, clip_summary, reject_row
from vpdata.storage import Folder

SINGLE_FILE = "report-sample.html"
MAX_SINGLE_FILE_CLIPS = 50
_CLIPS_PER_CHUNK = 100
_NUM_HIGHLIGHTS = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings:
    """How much of a run its report shows. Counts and histograms always cover the whole run."""

    max_clips: int = 5000
    """Clips in the gallery."""
    max_loops: int = 1000
    """Clips of the gallery that play; the others have a poster. A loop costs about half a second of one core."""
    max_rejects: int = 1000
    loop_s: float = 2.5
    loop_short_side_px: int = 240
    seed: int = 0
    """Of the samples of clips and rejects."""

    def __post_init__(self) -> None:
        if min(self.max_clips, self.max_loops, self.max_rejects) < 0:
            raise ValueError("got a negative max_clips, max_loops or max_rejects, wanted 0 or more")
        if self.loop_s <= 0 or self.loop_short_side_px < 16:
            raise ValueError(
                f"got loops of {self.loop_s} s and {self.loop_short_side_px} px, wanted over 0 s and at least 16 px"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """One clip of the gallery."""

    summary: dict[str, Any]
    detail: dict[str, Any]
    media: ClipMedia


def write_report(
    folder: Folder, settings: ReportSettings, *, single_file_sample: int | None = None, stats: Stats | None = None
) -> str:
    """Write the report of a finished run; returns the name of the page in the run folder.

    With `single_file_sample` the page is `report-sample.html`: it holds that many clips (at most 50) and needs no other
    file. `stats` are the run's numbers, counted here where they are not given. Equal runs and settings give equal
    bytes. RunError where the run is not finished.
    """
    if single_file_sample is not None and not 1 <= single_file_sample <= MAX_SINGLE_FILE_CLIPS:
        raise ConfigError(f"got --sample {single_file_sample}, wanted 1 to {MAX_SINGLE_FILE_CLIPS} clips in one file")
    run = Run(folder)
    stats = stats or collect(run)
    if not folder.exists(layout.PACK_PLAN):
        raise RunError(
            f"{folder.uri} is not finished; run the same `vpdata build` or `vpdata import` again, then the report"
        )
    count = settings.max_clips if single_file_sample is None else single_file_sample
    ids = sample_clips(folder, count=count, seed=settings.seed)
    rejects = [reject_row(one) for one in sample_rejects(run, count=settings.max_rejects, seed=settings.seed)]
    page = overview(stats, rule_bounds(run.config()))
    page |= {
        "name": Path(folder.uri).resolve().name if folder.is_local else folder.uri.rpartition("/")[2],
        "colours": [css_colour(number + 1) for number in range(len(TRACK_COLOURS))],
        "clips_per_chunk": _CLIPS_PER_CHUNK,
        "media_embedded": single_file_sample is not None,
    }
    shown = _shown(folder, ids, settings, [one.name for one in stats.histograms])
    if single_file_sample is None:
        _write_folder(folder, page, shown, rejects)
        return layout.REPORT_PAGE
    _write_single_file(folder, page, shown, rejects)
    return SINGLE_FILE


def _shown(folder: Folder, ids: Sequence[str], settings: ReportSettings, measures: Sequence[str]) -> Iterator[_Shown]:
    """The clips with their media, in the order of `ids`, drawn on all cores and at most a chunk ahead."""
    if not ids:
        return
    dataset = open_dataset(folder.uri).select(ids)
    position_of = {one: position for position, one in enumerate(dataset.ids)}

    def show(turn: int) -> _Shown:
        sample, has_loop = dataset[position_of[ids[turn]]], turn < settings.max_loops
        record = sample.record
        try:
            media = make_media(
                sample.mp4,
                record,
                short_side_px=settings.loop_short_side_px,
                loop_s=settings.loop_s,
                with_loop=has_loop,
            )
        except RunError as error:
            raise RunError(f"{sample.id}: {error}") from error
        return _Shown(
            summary=clip_summary(record, measures=measures, has_loop=has_loop),
            detail=clip_detail(record, loop_frames=media_span(record, loop_s=settings.loop_s)),
            media=media,
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(ids), _CLIPS_PER_CHUNK):
            stop = min(start + _CLIPS_PER_CHUNK, len(ids))
            yield from pool.map(show, range(start, stop))
            _log.info("report: %d of %d clips drawn", stop, len(ids))


def _write_folder(folder: Folder, page: dict[str, Any], shown: Iterator[_Shown], rejects: list[dict[str, Any]]) -> None:
    report = folder.child(layout.REPORT_FOLDER)
    # The old page goes first and the new one comes last, so that there is never a page whose media are not its own.
    folder.remove(layout.REPORT_PAGE)
    report.remove_all()
    summaries = []
    for name, content in _chunks(_saved(shown, report.child("media")), rejects):
        report.write(f"data/{name}.js", f'vpdata.receive("{name}",{as_script_data(content)});\n'.encode())
        if name == "clips":
            summaries = content
    page |= {"highlights": summaries[:_NUM_HIGHLIGHTS]}
    folder.write(layout.REPORT_PAGE, _html(page, {}))


def _write_single_file(
    folder: Folder, page: dict[str, Any], shown: Iterator[_Shown], rejects: list[dict[str, Any]]
) -> None:
    media: dict[str, dict[str, str]] = {}
    chunks = dict(_chunks(_inlined(shown, media), rejects))
    page |= {"highlights": chunks["clips"][:_NUM_HIGHLIGHTS]}
    folder.write(SINGLE_FILE, _html(page, chunks | {"media": media}))


def _chunks(shown: Iterator[_Shown], rejects: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Name and content of what the page loads on demand; the summaries of all clips come last."""
    yield "rejects", rejects
    summaries: list[dict[str, Any]] = []
    while chunk := list(islice(shown, _CLIPS_PER_CHUNK)):
        yield f"details-{len(summaries) // _CLIPS_PER_CHUNK:04d}", {one.summary["id"]: one.detail for one in chunk}
        summaries += [one.summary for one in chunk]
    yield "clips", summaries


def _saved(shown: Iterator[_Shown], folder: Folder) -> Iterator[_Shown]:
    """`shown`, with the media of each written to files on the way."""
    for one in shown:
        for suffix, data in _media_files(one.media):
            folder.write(f"{one.summary['id']}.{suffix}", data)
        yield one


def _inlined(shown: Iterator[_Shown], media: dict[str, dict[str, str]]) -> Iterator[_Shown]:
    """`shown`, with the media of each put into `media` as `data:` URLs on the way."""
    types = {"jpg": "image/jpeg", "mp4": "video/mp4"}
    for one in shown:
        media[one.summary["id"]] = {
            suffix: f"data:{types[suffix]};base64,{base64.b64encode(data).decode()}"
            for suffix, data in _media_files(one.media)
        }
        yield one


def _media_files(media: ClipMedia) -> list[tuple[str, bytes]]:
    return [("jpg", media.poster)] + ([("mp4", media.loop)] if media.loop is not None else [])


def _html(page: dict[str, Any], chunks: dict[str, Any]) -> bytes:
    return document(
        "vpdata.report",
        "page",
        title=f"{page['name']} · vpdata",
        blocks={"run": page, **chunks},
    )
