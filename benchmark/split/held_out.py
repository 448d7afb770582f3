"""What training must not see: the videos of the benchmark, all that was ever cut from them, and what looks like it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from benchmark.split.settings import BenchSettings
from vpdata.dataset import layout
from vpdata.dataset.look_alikes import Looks
from vpdata.dataset.run import Run, read_table
from vpdata.dataset.split import SplitFacts, write_split
from vpdata.errors import RunError
from vpdata.records import Clip

HASHES_ALONE = (
    "look-alikes were looked for by perceptual hash alone, which misses a copy of a film that was cut at other times: "
    "the run has no embeddings; build it with detect.embedder, as configs/vpdata.yaml does"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutFacts:
    """How much a split holds out."""

    num_videos: int
    num_clips: int
    """Of the run's data set, from those videos."""
    num_look_alikes: int
    """Clips of other videos."""
    num_left: int
    """Clips to train on."""
    has_embeddings: bool
    """Whether look-alikes were looked for by embedding too."""


def hold_out_cases(
    run: Run,
    settings: BenchSettings,
    *,
    packed: Mapping[str, str],
    videos: Collection[str],
    long_clips: Sequence[Clip],
) -> HeldOutFacts:
    """Write `<run>/splits/<name>.parquet`. `packed`: clips of the data set to their videos.

    Clips that rules or the search for duplicates dropped count too: a long case may show them, and what looks like them
    may have been kept in their place.
    """
    looks, videos_of, hash_of = _looks(run)
    shown = [one for one in looks if videos_of[one.id] in videos]
    shown += [Looks(id=clip.id, phash=clip.phash) for clip in long_clips if clip.id not in videos_of]
    others = [one for one in looks if one.id in packed and packed[one.id] not in videos]
    facts = SplitFacts(
        name=settings.name,
        seed=settings.seed,
        look_alike_frac=settings.look_alike_frac,
        look_alike_cosine=settings.look_alike_cosine,
    )
    hash_of_held_out = {video: hash_of[video] for video in videos}
    _, num_alike = write_split(run.folder, facts, videos=hash_of_held_out, shown=shown, others=others)
    num_clips = sum(video in videos for video in packed.values())
    return HeldOutFacts(
        num_videos=len(videos),
        num_clips=num_clips,
        num_look_alikes=num_alike,
        num_left=len(packed) - num_clips - num_alike,
        has_embeddings=any(one.embedding for one in shown),
    )


def _looks(run: Run) -> tuple[list[Looks], dict[str, str], dict[str, str]]:
    """How every clip looks that the run ever cut, its video, and the hash of each video's file.

    RunError where the run's stages are gone.
    """
    columns = ["id", "clip.phash", "clip.video.id", "clip.video.content_hash"]
    cut = _columns(run, "cut", columns).flatten().flatten()
    if not len(cut):
        raise RunError(f"{run.folder.uri}: got no clips in {layout.STAGE_FOLDERS['cut']}, wanted the whole run")
    filtered = _columns(run, "filter", ["id", "embedding"]).flatten()
    values = dict(zip(filtered["id"].to_pylist(), filtered["embedding.values"].to_pylist(), strict=True))
    looks = [
        Looks(id=clip, phash=phash, embedding=values.get(clip))
        for clip, phash in zip(cut["id"].to_pylist(), cut["clip.phash"].to_pylist(), strict=True)
    ]
    videos = cut["clip.video.id"].to_pylist()
    hash_of = dict(zip(videos, cut["clip.video.content_hash"].to_pylist(), strict=True))
    return looks, dict(zip(cut["id"].to_pylist(), videos, strict=True)), hash_of


def _columns(run: Run, stage: str, columns: list[str]) -> pa.Table:
    folder = run.stage_folder(stage)
    tables = [read_table(folder, layout.records_file(part), columns=columns) for part in run.parts(stage)]
    return pa.concat_tables(tables).sort_by("id") if tables else pa.table({name: [] for name in columns})
