"""The numbers of a hand-made run, against counts made by hand."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import ClassVar

import pyarrow.parquet as pq
import pytest

from tests.runs import make_run
from vpdata.codec import to_json
from vpdata.dataset import layout
from vpdata.dataset.card import card_text, write_card
from vpdata.dataset.export import export
from vpdata.dataset.index import SCORE_NAMES, read_index
from vpdata.dataset.measures import EDGES
from vpdata.dataset.run import Run, parquet_bytes
from vpdata.dataset.stats import collect, write_stats
from vpdata.errors import RunError
from vpdata.report import ReportSettings, write_report
from vpdata.storage import Folder


@pytest.fixture(scope="module")
def stats(finished_run):
    return collect(finished_run)


def histogram(stats, name):
    return next(one for one in stats.histograms if one.name == name)


def counts_by_edge(one, counts) -> dict[float, int]:
    """Lower edge of each bin that is not empty to its count."""
    return {edge: count for edge, count in zip(one.edges, counts, strict=False) if count}


def test_funnel_counts_every_stage_and_every_reason(stats):
    # 5 good videos, one empty file, one video that gives two clips (one still, one near-duplicate) and a short rest.
    found = [(row.stage, row.num_in, row.num_out, row.dropped, row.dropped_tracks) for row in stats.funnel]
    assert found == [
        ("cut", 7, 7, {"empty_file": 1, "too_short": 1}, {}),
        ("detect", 7, 7, {}, {}),
        ("track", 7, 7, {}, {}),
        ("caption", 7, 7, {}, {}),
        ("filter", 7, 6, {"motion": 1}, {"track_area": 1}),
        ("pack", 6, 5, {"near_duplicate": 1}, {}),
    ]


def test_clips_that_leave_a_step_enter_the_next(stats):
    for before, after in zip(stats.funnel, stats.funnel[1:], strict=False):
        assert before.num_out == after.num_in
        assert after.num_in - after.num_out == sum(after.dropped.values())


def test_totals_are_those_of_the_shards(stats, finished_run):
    shards = finished_run.folder.child(layout.SHARDS)
    assert (stats.num_sources, stats.num_videos, stats.num_clips, stats.num_tracks) == (7, 5, 5, 10)
    assert (stats.num_shards, stats.num_bytes) == (3, sum(shards.path(name).stat().st_size for name in shards.names()))
    assert stats.hours == pytest.approx(5 * 2 / 3600)


def test_labels_and_licences_are_counted_over_kept_clips(stats):
    assert stats.labels == {"blue square": 5, "red square": 5}
    assert stats.licences == {"CC-BY-4.0": 3, "unknown": 2}


def test_score_falls_into_its_bin_before_and_after_the_rules(stats):
    sharpness = histogram(stats, "sharpness")
    # 100.0 is beyond the last edge; every third clip has no sharpness.
    assert counts_by_edge(sharpness, sharpness.kept) == {0.5: 4}
    assert counts_by_edge(sharpness, sharpness.measured) == {0.5: 6}
    assert sharpness.num_missing == 1


def test_track_measures_are_counted_per_track(stats):
    area = histogram(stats, "track.mean_area_frac")
    # 16 x 16 and 24 x 24 px of 96 x 64: 0.042 and 0.094.
    assert counts_by_edge(area, area.kept) == {0.02: 5, 0.05: 5}
    assert counts_by_edge(area, area.measured) == {0.02: 7, 0.05: 7}
    coverage = histogram(stats, "track.coverage_frac")
    assert counts_by_edge(coverage, coverage.kept) == {0.75: 5, 0.95: 5}
    tracks = histogram(stats, "num_tracks")
    assert counts_by_edge(tracks, tracks.kept) == {2.0: 5}
    duration = histogram(stats, "duration_s")
    assert counts_by_edge(duration, duration.measured) == {2.0: 7}


def test_score_that_nobody_measured_has_no_histogram(stats):
    assert "exposure" not in [one.name for one in stats.histograms]


def test_every_score_has_bins():
    assert set(SCORE_NAMES) <= set(EDGES)
    assert all(list(edges) == sorted(set(edges)) for edges in EDGES.values())


class NotingFolder(Folder):
    """Notes each file that is opened; with a barrier two of a stage must be at once."""

    opened: ClassVar[list[str]] = []
    barrier: ClassVar[threading.Barrier | None] = None

    def child(self, name: str) -> Folder:
        return NotingFolder(super().child(name).uri)

    def size(self, name: str) -> int:
        self.opened.append(f"{Path(self.uri).name}/{name}")
        if self.barrier is not None and name in ("part-00000.parquet", "part-00001.parquet"):
            self.barrier.wait(timeout=10)
        return super().size(name)


def test_each_file_is_opened_once_for_statistics_card_and_report(run):
    noting = Run(NotingFolder(run.folder.uri))
    NotingFolder.opened.clear()
    stats = write_stats(noting)
    parts = [name for name in NotingFolder.opened if "/part-" in name and ".rejects." not in name]
    assert sorted(parts) == sorted(
        f"{folder}/part-{number:05d}.parquet" for folder in layout.STAGE_FOLDERS.values() for number in range(3)
    )
    assert len(NotingFolder.opened) == len(set(NotingFolder.opened))
    NotingFolder.opened.clear()
    write_card(noting, stats)
    write_report(noting.folder, ReportSettings(max_clips=0, max_rejects=0), stats=stats)
    # The report draws its own samples of clips and rejects.
    assert not [name for name in NotingFolder.opened if "/part-" in name and ".rejects." not in name]
    assert run.folder.read(layout.STATS) == to_json(collect(run))
    assert run.folder.read(layout.CARD) == card_text(run.config(), stats).encode()


def test_parts_are_read_at_once(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run", num_clips=4, clips_per_part=2)
    monkeypatch.setattr(NotingFolder, "barrier", threading.Barrier(2))
    assert collect(Run(NotingFolder(run.folder.uri))) == collect(run)


def test_stats_file_says_the_same(finished_run, run):
    write_stats(run)
    written = json.loads(run.folder.read(layout.STATS))
    assert written["num_clips"] == 5
    assert written["funnel"][4]["dropped_tracks"] == {"track_area": 1}
    assert len(written["histograms"][0]["measured"]) == len(written["histograms"][0]["edges"]) - 1


def test_run_that_is_not_packed_has_a_funnel_and_keeps_nothing(tmp_path):
    stats = collect(make_run(tmp_path / "run", num_clips=1, packed=False))
    assert [row.num_out for row in stats.funnel] == [3, 3, 3, 3, 2, 1]
    assert (stats.num_clips, stats.num_shards, stats.labels) == (0, 0, {})
    assert "kept 0 clips" in str(stats)


def test_run_that_kept_nothing_is_counted(tmp_path):
    stats = collect(make_run(tmp_path / "run", num_clips=0))
    assert (stats.num_sources, stats.num_clips, stats.histograms) == (0, 0, ())


def test_index_of_an_older_or_a_newer_release_is_counted(stats, run, tmp_path):
    name = "index/vpdata-000001.parquet"
    table = pq.read_table(io.BytesIO(run.folder.read(name)))
    run.folder.write(name, parquet_bytes(table.drop(["text_alignment"]).append_column("later", table["motion"])))
    counted = collect(run)
    assert (counted.histograms, counted.labels, counted.licences) == (stats.histograms, stats.labels, stats.licences)
    assert export(run, tmp_path / "out", format="hf").num_rows == 5
    run.folder.write(name, parquet_bytes(table.drop(["video_licence"])))
    with pytest.raises(RunError, match=r"vpdata-000001\.parquet lacks the column video_licence.*--redo pack"):
        collect(run)


def test_any_reader_takes_a_score_that_one_index_is_older_than_for_null(run):
    folder, names = run.folder.child("index"), run.folder.child("index").names()
    old = pq.read_table(io.BytesIO(folder.read(names[1]))).drop(["motion"])
    folder.write(names[1], parquet_bytes(old))
    table = read_index(folder, names, ["motion", "id", "tracks.list.element.label"])
    assert table.column_names == ["motion", "id", "tracks"]
    assert [value is None for value in table["motion"].to_pylist()] == [False, False, True, True, False]
    assert read_index(folder, names[1:2], ["motion"])["motion"].to_pylist() == [None, None]
    with pytest.raises(RunError, match="lacks the column depth"):
        read_index(folder, names, ["depth"])


def test_text_names_every_reason(stats):
    text = str(stats)
    for word in ("kept 5 clips", "empty_file 1", "track_area 1 (tracks)", "near_duplicate 1", "CC-BY-4.0 3"):
        assert word in text


def test_masks_are_never_fetched(run):
    # The bytes of the masks' columns are overwritten in every part: whoever reads them fails.
    for path in Path(run.folder.uri).glob("[3-5]-*/part-?????.parquet"):
        data, groups = bytearray(path.read_bytes()), pq.read_metadata(path)
        for group in map(groups.row_group, range(groups.num_row_groups)):
            for column in map(group.column, range(groups.num_columns)):
                if ".masks." in column.path_in_schema:
                    start, size = column.dictionary_page_offset, column.total_compressed_size
                    data[start : start + size] = b"?" * size
        path.write_bytes(data)
    with pytest.raises(RunError, match=r"part-00000\.parquet is damaged"):
        list(run.records("track"))
    assert collect(run).num_tracks == 10
