"""The clips of one or more runs, as far as planning must know them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import pyarrow as pa

from vpdata.dataset import layout
from vpdata.dataset.index import read_index
from vpdata.dataset.latent_sets import refuse_shared_clips
from vpdata.dataset.reader import Dataset, index_files, open_dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFacts:
    """What planning must know of a clip."""

    run: int
    """Which of the data sets."""
    position: int
    """In it."""
    id: str
    video_id: str
    shard: str
    """Behind the number of its data set: all have shards of one name."""
    num_frames: int
    fps: Fraction


def open_runs(uris: Sequence[str]) -> tuple[list[Dataset], list[ClipFacts]]:
    """What `open_dataset` opens of each uri, and the clips of all in turn; reads only the index.

    The order of `uris` is of no account: the data set whose first clip has the lowest id comes first. RunError as from
    `open_dataset`, and where two hold the same clip.
    """
    opened = [open_dataset(uri) for uri in uris]
    refuse_shared_clips(uris, [pa.array(dataset.ids, pa.string()) for dataset in opened])
    order = sorted(range(len(uris)), key=lambda number: opened[number].ids[:1])
    clips = [clip for run, number in enumerate(order) for clip in _clips(uris[number], run)]
    return [opened[number] for number in order], clips


def _clips(uri: str, run: int) -> list[ClipFacts]:
    """The clips of the data set that `open_dataset(uri)` opens, in its order."""
    root, names = index_files(uri)
    table = read_index(root.child(layout.INDEX), names, ["id", "video_id", "shard", "num_frames", "fps"])
    rates = {text: Fraction(text) for text in table["fps"].unique().to_pylist()}
    return [
        ClipFacts(
            run=run,
            position=position,
            id=row["id"],
            video_id=row["video_id"],
            shard=f"{run}/{row['shard']}",
            num_frames=row["num_frames"],
            fps=rates[row["fps"]],
        )
        for position, row in enumerate(table.to_pylist())
    ]
