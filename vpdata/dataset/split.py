"""Clips that are held out of training: the split that a benchmark wrote."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from vpdata.dataset.run import RangedFile
from vpdata.errors import ConfigError
from vpdata.storage import Folder

_log = logging.getLogger(__name__)

NO_SPLIT = "none"
_KINDS = ("video", "clip", "look_alike")


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


def read_split(uri: str) -> Split:
    """The split in a Parquet file with the columns `kind` ("video", "clip" or "look_alike") and `id`.

    "none" holds out nothing, with a warning. ConfigError for a file that is no such list.
    """
    if uri == NO_SPLIT:
        _log.warning("data.split is none: NO CLIP IS HELD OUT; what is trained so must not be measured on this run")
        return Split()
    parent, _, name = uri.rpartition("/")
    folder = Folder(parent or ("/" if uri.startswith("/") else "."))
    if not name or not folder.exists(name):
        raise ConfigError(f"data.split: there is no {uri}; give the file that the benchmark wrote, or none")
    try:
        rows = pq.read_table(RangedFile(folder, name), columns=["kind", "id"]).to_pylist()
    except (pa.ArrowInvalid, KeyError) as error:
        raise ConfigError(f"data.split: {uri} is no Parquet file with the columns kind and id: {error}") from error
    ids: dict[str, set[str]] = {kind: set() for kind in _KINDS}
    for row in rows:
        if row["kind"] not in ids or not row["id"]:
            raise ConfigError(f"data.split: {uri}: got the row {row}, wanted an id and one of the kinds {_KINDS}")
        ids[row["kind"]].add(row["id"])
    return Split(videos=frozenset(ids["video"]), clips=frozenset(ids["clip"] | ids["look_alike"]))
