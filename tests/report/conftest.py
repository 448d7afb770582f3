"""A browser, and small runs with their reports."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.report.chromium import Page, chromium
from tests.runs import RUN_CONFIG, make_run
from vpdata import codec
from vpdata.dataset import layout
from vpdata.dataset.run import Run, parquet_bytes, read_rows
from vpdata.dataset.shards import PackEntry, write_shard
from vpdata.errors import Reason
from vpdata.records import Record, Reject
from vpdata.report import ReportSettings, write_report

NUM_CLIPS = 27
HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)"> \u2028 <b>bold</b> & "q" {{x}}'
"""Stands as caption, label, uri and detail of the run of `report_run`."""


@pytest.fixture(scope="session")
def _browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        message = "no chromium here: apt-get install chromium"
        if "browser" in os.environ.get("VPDATA_REQUIRE", "").split(","):
            pytest.fail(message)
        pytest.skip(message)
    with chromium(executable, tmp_path_factory.mktemp("chromium") / "profile") as page:
        yield page


@pytest.fixture
def page(_browser: Page) -> Page:
    """The one tab, as large as a laptop's, light and with motion."""
    _browser.resize(1200, 800)
    _browser.prefer(color_scheme="light", reduced_motion="no-preference")
    return _browser


@pytest.fixture(scope="session")
def report_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A packed run of 27 clips, one of them hostile, with its report."""
    run = make_packed_run(tmp_path_factory.mktemp("report") / "run <b>", num_clips=NUM_CLIPS)
    write_report(run.folder, ReportSettings(loop_s=0.5, loop_short_side_px=32))
    return run


def make_packed_run(folder: Path, *, num_clips: int) -> Run:
    """`make_run`, with rules, and `HOSTILE` in the first clip and in a reject."""
    run = make_run(folder, num_clips=num_clips, clips_per_part=num_clips, packed=False)
    config = RUN_CONFIG | {"config": {"filter": {"rules": {"motion": {"min": 0.1}}}}}
    run.folder.write(layout.RUN_CONFIG, yaml.safe_dump(config).encode())
    part = layout.part_name(0)
    stage = run.stage_folder("filter")
    first, *others = read_rows(stage, layout.records_file(part), Record)
    stage.write(layout.records_file(part), parquet_bytes(codec.to_table([_hostile(first), *others], Record)))
    reject = Reject(
        id=first.id, stage="filter", reason=Reason.STATIC, detail=HOSTILE, got=HOSTILE, wanted="at most 0.5",
        video_id=first.clip.video.id, uri=HOSTILE, start_s=0.0, stop_s=2.0,
    )  # fmt: skip
    stage.write(layout.rejects_file("part-00001"), parquet_bytes(codec.to_table([reject], Reject)))
    entries = list(read_rows(run.folder, layout.PACK_PLAN, PackEntry))
    for shard in sorted({entry.shard for entry in entries}):
        write_shard(run, [entry for entry in entries if entry.shard == shard], shard=shard)
    return run


def _hostile(record: Record) -> Record:
    assert record.tracks
    assert record.captions
    return replace(
        record,
        tracks=(replace(record.tracks[0], label=HOSTILE), *record.tracks[1:]),
        captions=(replace(record.captions[0], text=HOSTILE), *record.captions[1:]),
    )
