"""Which clips and which shots of a run may become cases, told from its index alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from benchmark.bench import Category
from benchmark.split.categories import Offer, offers_of
from benchmark.split.draw import Candidate
from benchmark.split.settings import BenchSettings
from benchmark.split.shots import Shot
from vpdata.codec import from_builtins
from vpdata.dataset import index, layout
from vpdata.dataset.reader import index_files
from vpdata.dataset.run import Run
from vpdata.records import Video

_VIDEO_FIELDS = tuple(field.name for field in dataclasses.fields(Video))
_COLUMNS = (
    *("id", "num_frames", "fps", "shot", "shot_start_s", "shot_stop_s", "tracks"),
    *(f"video_{name}" for name in _VIDEO_FIELDS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What the draw draws from."""

    short: tuple[Candidate, ...]
    """Clips, by their ids."""
    long: tuple[Candidate, ...]
    """Shots, by the ids of `shots`."""
    shots: Mapping[str, Shot]
    videos_of: Mapping[str, str]
    """Every clip of the data set to its video."""


def candidates_of(run: Run, settings: BenchSettings) -> Candidates:
    """Read the index of a finished run. RunError for one that is not finished."""
    short: list[Candidate] = []
    shots: dict[str, Shot] = {}
    offers: dict[str, dict[Category, Offer]] = {}
    videos_of: dict[str, str] = {}
    for row in _rows(run):
        videos_of[row["id"]] = row["video_id"]
        offered = offers_of(row["tracks"])
        if row["num_frames"] >= math.ceil(round(settings.short_s * Fraction(row["fps"]), 6)):
            short.append(Candidate(id=row["id"], video_id=row["video_id"], offers=offered))
        if row["shot_stop_s"] - row["shot_start_s"] >= settings.long_min_s:
            shot = _shot(row, max_s=settings.long_max_s)
            shots[shot.id] = shot
            # What any clip of the shot shows, the shot does; which tracks that are, following it will tell.
            of_shot = offers.setdefault(shot.id, {})
            for offer in offered:
                if offer.category not in of_shot or of_shot[offer.category].is_drawn:
                    of_shot[offer.category] = offer
    return Candidates(
        short=tuple(short),
        long=tuple(
            Candidate(id=name, video_id=shots[name].video.id, offers=tuple(of_shot.values()))
            for name, of_shot in offers.items()
        ),
        shots=shots,
        videos_of=videos_of,
    )


def _rows(run: Run) -> Iterator[Mapping[str, Any]]:
    """Of the index, one shard at a time: the tracks of all clips at once would be gigabytes."""
    root, names = index_files(run.folder.uri)
    for name in names:
        yield from index.read_index(root.child(layout.INDEX), [name], _COLUMNS).to_pylist()


def _shot(row: Mapping[str, Any], *, max_s: float) -> Shot:
    return Shot(
        video=from_builtins({name: row[f"video_{name}"] for name in _VIDEO_FIELDS}, Video),
        index=row["shot"],
        start_s=row["shot_start_s"],
        stop_s=row["shot_stop_s"],
        max_s=max_s,
    )
