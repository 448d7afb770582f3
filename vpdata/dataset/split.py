"""Clips that are held out of training: the split that a benchmark wrote."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from vpdata import codec
from vpdata.dataset import layout
from vpdata.dataset.look_alikes import Looks, look_alikes
from vpdata.dataset.run import parquet_bytes, read_table
from vpdata.errors import ConfigError, RunError
from vpdata.storage import Folder

_log = logging.getLogger(__name__)

NO_SPLIT = "none"
_KINDS = ("video", "clip", "look_alike")
_FACTS_KEY = b"vpdata.split"
_REMEDY = "give the file that the benchmark wrote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What may not be trained on."""

    videos: frozenset[str] = frozenset()
    """Ids of videos, all clips of which are held out."""
    clips: frozenset[str] = frozenset()
    """Ids of clips: those of the benchmark, and those that look like them."""

    def holds_out(self, clip_id: str, *, video_id: str) -> bool:
        """Whether a clip is kept from training."""
        return clip_id in self.clips or video_id in self.videos


def joined(splits: Sequence[Split]) -> Split:
    """What any of them holds out."""
    return Split(
        videos=frozenset().union(*(split.videos for split in splits)),
        clips=frozenset().union(*(split.clips for split in splits)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRow:
    """One thing that is held out."""

    kind: Literal["video", "clip", "look_alike"]
    id: str
    content_hash: str | None = None
    """Of a video: SHA-256 of its file, 64 hex digits."""
    phash: str | None = None
    """Of a clip: what look-alikes are found by, and so is the next."""
    embedding: str | None = None
    like: str | None = None
    """Of a look-alike the clip that it is like, and in the next two how much, as in `LookAlike`."""
    distance_frac: float | None = None
    cosine: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFacts:
    """How a split was made."""

    name: str
    seed: int
    look_alike_frac: float
    """Clips at most so far from a held-out one, by perceptual hash, are look-alikes."""
    look_alike_cosine: float
    """And so are clips whose embedding is at least so near."""


def write_split(
    run_folder: Folder,
    facts: SplitFacts,
    *,
    videos: Mapping[str, str | None],
    shown: Sequence[Looks],
    others: Sequence[Looks],
) -> tuple[str, int]:
    """Write `splits/<name>.parquet` of a run; its uri, and how many of `others` look like what is held out.

    `videos`: what is held out, with the hash of each file where it is known; `shown`: their clips; `others`: those of
    the data set's clips that are of other videos.
    """
    limits = {"max_distance_frac": facts.look_alike_frac, "min_cosine": facts.look_alike_cosine}
    alike = list(look_alikes(others, shown, **limits))
    rows = [SplitRow(kind="video", id=video, content_hash=content_hash) for video, content_hash in videos.items()]
    rows += [SplitRow(kind="clip", id=one.id, phash=one.phash, embedding=one.embedding) for one in shown]
    rows += [
        SplitRow(kind="look_alike", id=one.id, like=one.like, distance_frac=one.distance_frac, cosine=one.cosine)
        for one in alike
    ]
    folder, name = run_folder.child(layout.SPLITS), f"{facts.name}.parquet"
    folder.write(name, split_bytes(facts, rows))
    return f"{folder.uri}/{name}", len(alike)


def split_bytes(facts: SplitFacts, rows: Sequence[SplitRow]) -> bytes:
    """The Parquet file, rows sorted; equal rows give equal bytes."""
    ordered = sorted(rows, key=lambda row: (_KINDS.index(row.kind), row.id))
    return parquet_bytes(codec.to_table(ordered, SplitRow), metadata={_FACTS_KEY: codec.to_json(facts)})


def read_rows_of_split(folder: Folder, name: str) -> tuple[SplitFacts, list[SplitRow]] | None:
    """What `split_bytes` wrote; None for another list that `read_split` reads. ConfigError for what is damaged."""
    try:
        table = read_table(folder, name, remedy=_REMEDY)
        facts = (table.schema.metadata or {}).get(_FACTS_KEY)
        if facts is None:
            return None
        return codec.from_json(facts, SplitFacts), list(codec.from_table(table, SplitRow))
    except (RunError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{folder.uri}/{name} is no split: {error}") from error


def read_splits(run_folder: Folder) -> Split:
    """What any split in the `splits/` of a run holds out; errors as of `read_split`."""
    folder = run_folder.child(layout.SPLITS)
    return joined([read_split(f"{folder.uri}/{name}") for name in folder.names(".parquet")])


def read_split(uri: str) -> Split:
    """The split in a Parquet file with the columns `kind` ("video", "clip" or "look_alike") and `id`.

    "none" holds out nothing, with a warning. ConfigError for a file that is no such list.
    """
    if uri == NO_SPLIT:
        _log.warning("data.split is none: NO CLIP IS HELD OUT; what is trained so must not be measured on this run")
        return Split()
    folder, name = _place(uri)
    try:
        rows = read_table(folder, name, columns=["kind", "id"], remedy=_REMEDY).to_pylist()
    except RunError as error:
        raise ConfigError(f"data.split: {uri} is no Parquet file with the columns kind and id: {error}") from error
    ids: dict[str, set[str]] = {kind: set() for kind in _KINDS}
    for row in rows:
        if row["kind"] not in ids or not row["id"]:
            raise ConfigError(f"data.split: {uri}: got the row {row}, wanted an id and one of the kinds {_KINDS}")
        ids[row["kind"]].add(row["id"])
    return Split(videos=frozenset(ids["video"]), clips=frozenset(ids["clip"] | ids["look_alike"]))


def identities(uris: Sequence[str]) -> list[dict[str, str]]:
    """`name`, without its folder, and `sha256` of each file of a split, sorted; [] for "none".

    ConfigError for a file that is not there.
    """
    found: list[dict[str, str]] = []
    for uri in set(uris) - {NO_SPLIT}:
        folder, name = _place(uri)
        found.append({"name": name, "sha256": hashlib.sha256(folder.read(name)).hexdigest()})
    return sorted(found, key=lambda one: (one["name"], one["sha256"]))


def _place(uri: str) -> tuple[Folder, str]:
    """Folder and name of a file that is there."""
    parent, _, name = uri.rpartition("/")
    folder = Folder(parent or ("/" if uri.startswith("/") else "."))
    if not name or not folder.exists(name):
        raise ConfigError(f"data.split: there is no {uri}; give the file that the benchmark wrote, or none")
    return folder, name
