"""Proof that what a split leaves to train on shares no source and no look with what it holds out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from vpdata.dataset import layout
from vpdata.dataset.clip_looks import ClipLooks, clip_looks
from vpdata.dataset.look_alikes import LookAlike, Looks, look_alikes
from vpdata.dataset.run import Run
from vpdata.dataset.split import SplitFacts, SplitRow, read_rows_of_split, read_split
from vpdata.dataset.unsplit import clips_of_latents
from vpdata.errors import ConfigError
from vpdata.storage import Folder

_log = logging.getLogger(__name__)


def check_splits(run: Run) -> Iterator[tuple[str, str]]:
    """(file, what is wrong with it) for all files in the `splits/` of a run whose index is whole.

    Looks are compared anew, by the limits that the split names; nothing that it says of a clip that stays to be trained
    on is believed.
    """
    folder = run.folder.child(layout.SPLITS)
    for name in folder.names(".parquet"):
        where = f"{layout.SPLITS}/{name}"
        try:
            read = read_rows_of_split(folder, name)
        except ConfigError as error:
            yield where, str(error)
            continue
        if read is None:
            _log.warning("%s was not written by a benchmark: it does not say what look-alikes are, nor can this", where)
            continue
        facts, rows = read
        needs_embeddings = any(row.embedding for row in rows)
        for problem in _problems(facts, rows, clip_looks(run, with_embeddings=needs_embeddings)):
            yield where, problem


def _problems(facts: SplitFacts, rows: Sequence[SplitRow], clips: Sequence[ClipLooks]) -> Iterator[str]:
    of_kind = {kind: {row.id: row for row in rows if row.kind == kind} for kind in ("video", "clip", "look_alike")}
    videos, listed, alike = of_kind["video"], of_kind["clip"], of_kind["look_alike"]
    for row in listed.values():
        if row.id.rsplit("-", 2)[0] not in videos:
            yield f"{row.id} is held out, and its video is not"
        if row.phash is None:
            yield f"{row.id} is held out without its perceptual hash: nothing shows what looks like it"
    # A held-out video may have no clip in the index any more, so the split's own hashes count too.
    hashes = {clip.content_hash: clip.video_id for clip in clips if clip.video_id in videos}
    hashes |= {row.content_hash: row.id for row in videos.values() if row.content_hash}
    left: list[ClipLooks] = []
    for clip in clips:
        name, row = clip.looks.id, listed.get(clip.looks.id)
        if clip.video_id in videos:
            if row is None:
                yield f"{name} is of the held-out video {clip.video_id} and not listed"
            elif (row.phash, row.embedding) != (clip.looks.phash, row.embedding and clip.looks.embedding):
                yield f"{name} looks otherwise in the index than the split says"
        elif row is None and name not in alike:
            left.append(clip)
            if clip.content_hash in hashes:
                yield f"{name} is of a video with the same bytes as the held-out video {hashes[clip.content_hash]}"
    held_out = [Looks(id=row.id, phash=row.phash, embedding=row.embedding) for row in listed.values() if row.phash]
    for found in look_alikes(
        [clip.looks for clip in left],
        held_out,
        max_distance_frac=facts.look_alike_frac,
        min_cosine=facts.look_alike_cosine,
    ):
        yield f"{found.id} looks like {found.like}, which is held out ({_how_near(found)}), and is not listed"


def check_latents(run: Run, latents: Folder) -> Iterator[str]:
    """The clips of encoded latents that a split of the run holds out: a training that names no split would see them.

    RunError where the folder holds no latents.
    """
    table = clips_of_latents(latents)
    clips = set(zip(table["clip_id"].to_pylist(), table["video_id"].to_pylist(), strict=True))
    for name in run.folder.child(layout.SPLITS).names(".parquet"):
        where = f"{layout.SPLITS}/{name}"
        split = read_split(f"{run.folder.uri}/{where}")
        for clip, video in sorted(clips):
            if split.holds_out(clip, video_id=video):
                yield f"{latents.uri}: {clip} is encoded, and held out by {where}"


def _how_near(found: LookAlike) -> str:
    cosine = "" if found.cosine is None else f", cosine {found.cosine:.3f}"
    return f"distance {found.distance_frac:.3f}{cosine}"
