"""What a run kept and what it dropped, in numbers: read column by column, so a million clips need little memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vpdata import codec
from vpdata.dataset import index, layout
from vpdata.dataset.measures import EDGES, Histogram, Tally
from vpdata.dataset.printable import printable
from vpdata.dataset.run import Run, num_rows, read_table
from vpdata.records import SCHEMA_VERSION

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

    def __str__(self) -> str:
        """A page for a terminal."""
        return "\n".join(_lines(self))


def collect(run: Run) -> Stats:
    """Count a run, finished or not. RunError where the folder is no run."""
    run.config()
    kept = _Kept()
    for table in _index_tables(run):
        kept.add(table)
    shards = run.folder.child(layout.SHARDS)
    names = shards.names(".tar")
    return Stats(
        schema_version=SCHEMA_VERSION,
        funnel=tuple(_funnel(run)),
        num_sources=_num_rows(run, "source"),
        num_videos=len(kept.videos),
        num_clips=kept.num_clips,
        num_tracks=sum(kept.labels.values()),
        num_shards=len(names),
        num_bytes=sum(shards.size(name) for name in names),
        hours=kept.seconds / 3600,
        labels=_by_count(kept.labels),
        licences=_by_count(kept.licences),
        histograms=_histograms(_measured(run), kept.tallies),
    )


def write_stats(run: Run) -> Stats:
    """Write `stats.json` and return what it says."""
    stats = collect(run)
    run.folder.write(layout.STATS, codec.to_json(stats))
    return stats


def _funnel(run: Run) -> Iterator[FunnelRow]:
    num_in = _num_rows(run, "source")
    for stage in layout.STAGE_NAMES:
        if not run.parts(stage):
            continue
        num_out = _num_rows(run, stage)
        dropped, dropped_tracks = _rejects(run, stage)
        yield FunnelRow(stage=stage, num_in=num_in, num_out=num_out, dropped=dropped, dropped_tracks=dropped_tracks)
        num_in = num_out
    if run.folder.exists(layout.PACK_PLAN):
        num_out = num_rows(run.folder, layout.PACK_PLAN)
        dropped, _ = _rejects(run, "pack")
        yield FunnelRow(stage="pack", num_in=num_in, num_out=num_out, dropped=dropped, dropped_tracks={})


def _num_rows(run: Run, stage: str) -> int:
    folder = run.stage_folder(stage)
    return sum(num_rows(folder, layout.records_file(part)) for part in run.parts(stage))


def _rejects(run: Run, stage: str) -> tuple[dict[str, int], dict[str, int]]:
    """Numbers by reason: of whole items, and of single tracks."""
    items: Counter[str] = Counter()
    tracks: Counter[str] = Counter()
    for folder, name in run.reject_files(stage):
        for row in read_table(folder, name, columns=["reason", "track"]).to_pylist():
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
    for name in folder.names(".parquet"):
        yield index.read_index(folder, [name], columns)


def _measured(run: Run) -> dict[str, Tally]:
    """Tallies over the records of the first stage in which each measure appears."""
    tallies: dict[str, Tally] = {}
    for stage in layout.STAGE_NAMES:
        new: dict[str, Tally] = {}
        for table in _stage_tables(run, stage):
            _add_stage(new, table)
        tallies = new | tallies
    return tallies


def _stage_tables(run: Run, stage: str) -> Iterator[pa.Table]:
    columns = ["clip.num_frames", "clip.fps", "scores.list.element.name", "scores.list.element.value"]
    columns += [f"tracks.list.element.{name}" for name in _TRACK_MEASURES]
    folder = run.stage_folder(stage)
    for part in run.parts(stage):
        yield read_table(folder, layout.records_file(part), columns=columns)


def _add_stage(tallies: dict[str, Tally], table: pa.Table) -> None:
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
