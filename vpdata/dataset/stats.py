"""What a run kept and what it dropped, in numbers: read column by column, so a million clips need little memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vpdata import codec
from vpdata.dataset import index, layout
from vpdata.dataset.measures import EDGES, Histogram, Tally
from vpdata.dataset.printable import printable
from vpdata.dataset.run import Run, in_order, num_rows, read_table
from vpdata.records import SCHEMA_VERSION
from vpdata.storage import Folder

NO_LICENCE = "unknown"
"""Under this name are counted the clips whose source said nothing of a licence."""
_TRACK_MEASURES = tuple(name.removeprefix("track.") for name in EDGES if name.startswith("track."))


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelRow:
    """What went into one step and what became of it."""

    stage: str
    """A stage that has run, or "pack": near-duplicates over the whole run, then the shards."""
    num_in: int
    """Source videos for `cut`, clips for all others."""
    num_out: int
    """Clips."""
    dropped: Mapping[str, int]
    """Reason to number of rejects: of videos and of spans of them in `cut`, of clips after it."""
    dropped_tracks: Mapping[str, int]
    """Reason to number of single tracks that were dropped from a clip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The numbers of a run; what is "kept" is in its shards."""

    schema_version: int
    funnel: tuple[FunnelRow, ...]
    num_sources: int
    num_videos: int
    """Source videos with at least one kept clip."""
    num_clips: int
    num_tracks: int
    num_shards: int
    num_bytes: int
    """Of all shards."""
    hours: float
    """Of kept clips."""
    labels: Mapping[str, int]
    """Label to number of kept tracks, the most frequent first."""
    licences: Mapping[str, int]
    """Licence of the source to number of kept clips, the most frequent first; `NO_LICENCE` where none was given."""
    histograms: tuple[Histogram, ...]
    """One for each name in `measures.EDGES` that anything has measured, in that order."""

    @property
    def dropped(self) -> dict[str, int]:
        """Reason to number of whole items that any step dropped, the most frequent first."""
        counts: Counter[str] = Counter()
        for row in self.funnel:
            counts.update(row.dropped)
        return _by_count(counts)

    def __str__(self) -> str:
        """A page for a terminal."""
        return "\n".join(_lines(self))


def collect(run: Run) -> Stats:
    """Count a run, finished or not. RunError where the folder is no run."""
    run.config()
    kept = _Kept()
    for table in _index_tables(run):
        kept.add(table)
    shards, sources = run.folder.child(layout.SHARDS), run.stage_folder("source")
    names = shards.names(".tar")
    num_sources = sum(in_order(lambda part: num_rows(sources, layout.records_file(part)), run.parts("source")))
    stages = {stage: _count_stage(run, stage) for stage in layout.STAGE_NAMES}
    measured: dict[str, Tally] = {}
    for stage in stages.values():
        # Of the first stage in which a measure appears.
        measured = stage.tallies | measured
    return Stats(
        schema_version=SCHEMA_VERSION,
        funnel=tuple(_funnel(run, stages, num_sources)),
        num_sources=num_sources,
        num_videos=len(kept.videos),
        num_clips=kept.num_clips,
        num_tracks=sum(kept.labels.values()),
        num_shards=len(names),
        num_bytes=sum(in_order(shards.size, names)),
        hours=kept.seconds / 3600,
        labels=_by_count(kept.labels),
        licences=_by_count(kept.licences),
        histograms=_histograms(measured, kept.tallies),
    )


def write_stats(run: Run) -> Stats:
    """Write `stats.json` and return what it says."""
    stats = collect(run)
    run.folder.write(layout.STATS, codec.to_json(stats))
    return stats


@dataclass(slots=True)
class _Counted:
    """What is counted over the records of a part or a stage."""

    num_parts: int = 0
    num_records: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)

    def add(self, other: _Counted) -> None:
        self.num_parts += other.num_parts
        self.num_records += other.num_records
        for name, tally in other.tallies.items():
            total = _tally(self.tallies, name)
            total.counts += tally.counts
            total.num_missing += tally.num_missing


def _count_stage(run: Run, stage: str) -> _Counted:
    columns = ["clip.num_frames", "clip.fps", "scores.list.element.name", "scores.list.element.value"]
    columns += [f"tracks.list.element.{name}" for name in _TRACK_MEASURES]
    folder, counted = run.stage_folder(stage), _Counted()

    def count_part(part: str) -> _Counted:
        table = read_table(folder, layout.records_file(part), columns=columns)
        found = _Counted(num_parts=1, num_records=table.num_rows)
        _add_measures(found.tallies, table)
        return found

    for found in in_order(count_part, run.parts(stage)):
        counted.add(found)
    return counted


def _funnel(run: Run, stages: Mapping[str, _Counted], num_sources: int) -> Iterator[FunnelRow]:
    num_in = num_sources
    for name, stage in stages.items():
        if not stage.num_parts:
            continue
        dropped, dropped_tracks = _rejects(run, name)
        yield FunnelRow(
            stage=name, num_in=num_in, num_out=stage.num_records, dropped=dropped, dropped_tracks=dropped_tracks
        )
        num_in = stage.num_records
    if run.folder.exists(layout.PACK_PLAN):
        num_out = num_rows(run.folder, layout.PACK_PLAN)
        dropped, _ = _rejects(run, layout.PACK)
        yield FunnelRow(stage=layout.PACK, num_in=num_in, num_out=num_out, dropped=dropped, dropped_tracks={})


def _rejects(run: Run, stage: str) -> tuple[dict[str, int], dict[str, int]]:
    """Numbers by reason: of whole items, and of single tracks."""
    items: Counter[str] = Counter()
    tracks: Counter[str] = Counter()

    def read(file: tuple[Folder, str]) -> pa.Table:
        return read_table(*file, columns=["reason", "track"])

    for table in in_order(read, run.reject_files(stage)):
        for row in table.to_pylist():
            (items if row["track"] is None else tracks)[row["reason"]] += 1
    return _by_count(items), _by_count(tracks)


class _Kept:
    """What is counted over the index."""

    def __init__(self) -> None:
        self.num_clips = 0
        self.seconds = 0.0
        self.videos: set[str] = set()
        self.labels: Counter[str] = Counter()
        self.licences: Counter[str] = Counter()
        self.tallies = {name: Tally(edges) for name, edges in EDGES.items()}

    def add(self, table: pa.Table) -> None:
        self.num_clips += table.num_rows
        self.seconds += float(_floats(table["duration_s"]).sum())
        self.videos.update(table["video_id"].to_pylist())
        self.licences.update(table["video_licence"].fill_null(NO_LICENCE).to_pylist())
        self.labels.update(_flat(table["tracks"], "label").to_pylist())
        for name in ("duration_s", *index.SCORE_NAMES):
            self.tallies[name].add(_floats(table[name]))
        _add_tracks(self.tallies, table["tracks"])


def _index_tables(run: Run) -> Iterator[pa.Table]:
    columns = ["video_id", "video_licence", "duration_s", *index.SCORE_NAMES]
    columns += [f"tracks.list.element.{name}" for name in ("label", *_TRACK_MEASURES)]
    folder = run.folder.child(layout.INDEX)
    return in_order(lambda name: index.read_index(folder, [name], columns), folder.names(".parquet"))


def _add_measures(tallies: dict[str, Tally], table: pa.Table) -> None:
    clips = table["clip"].combine_chunks()
    seconds = [
        float(num_frames / Fraction(fps))
        for num_frames, fps in zip(clips.field("num_frames").to_pylist(), clips.field("fps").to_pylist(), strict=True)
    ]
    _tally(tallies, "duration_s").add(np.array(seconds, dtype=np.float64))
    names = np.array(_flat(table["scores"], "name").to_pylist(), dtype=np.str_)
    values = _floats(_flat(table["scores"], "value"))
    for name in np.unique(names).tolist():
        _tally(tallies, name).add(values[names == name])
    with_tracks = table["tracks"].filter(table["tracks"].is_valid())
    if len(with_tracks):
        _add_tracks(tallies, with_tracks)


def _add_tracks(tallies: dict[str, Tally], tracks: pa.ChunkedArray) -> None:
    _tally(tallies, "num_tracks").add(_floats(_whole(tracks).value_lengths()))
    for name in _TRACK_MEASURES:
        _tally(tallies, f"track.{name}").add(_floats(_flat(tracks, name)))


def _tally(tallies: dict[str, Tally], name: str) -> Tally:
    return tallies.setdefault(name, Tally(EDGES[name]))


def _histograms(measured: Mapping[str, Tally], kept: Mapping[str, Tally]) -> tuple[Histogram, ...]:
    return tuple(
        Histogram(
            name=name,
            edges=edges,
            measured=tuple(map(int, measured[name].counts)),
            kept=tuple(map(int, kept[name].counts)),
            num_missing=measured[name].num_missing,
        )
        for name, edges in EDGES.items()
        if name in measured
    )


def _flat(lists: pa.ChunkedArray, field: str) -> pa.Array:
    """One field of all structs in a column of lists, one below the other."""
    return _whole(lists).flatten().field(field)


def _floats(column: pa.ChunkedArray | pa.Array) -> NDArray[np.float64]:
    """float64 [N] with NaN for null."""
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


def _by_count(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _lines(stats: Stats) -> Iterator[str]:
    yield (
        f"kept {stats.num_clips} clips ({stats.hours:.2f} h) of {stats.num_videos} of {stats.num_sources} videos, "
        f"{stats.num_tracks} tracks, {stats.num_shards} shards, {stats.num_bytes / 1e6:.1f} MB"
    )
    yield ""
    yield f"{'stage':<10}{'in':>9}{'out':>9}  dropped"
    for row in stats.funnel:
        dropped = [f"{reason} {count}" for reason, count in row.dropped.items()]
        dropped += [f"{reason} {count} (tracks)" for reason, count in row.dropped_tracks.items()]
        yield f"{row.stage:<10}{row.num_in:>9}{row.num_out:>9}  {', '.join(dropped) or '-'}"
    for title, counts in (("labels", stats.labels), ("licences", stats.licences)):
        yield ""
        yield f"{title}: {_most_frequent(list(counts.items()))}"


def _most_frequent(counts: Sequence[tuple[str, int]], limit: int = 12) -> str:
    shown = ", ".join(f"{printable(name)} {count}" for name, count in counts[:limit])
    return f"{shown}, and {len(counts) - limit} more" if len(counts) > limit else shown or "-"
