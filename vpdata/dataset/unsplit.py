"""Data sets that no split is known to keep a benchmark out of: a split is of one run, and says nothing of others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from vpdata.dataset import layout
from vpdata.dataset.index import read_index
from vpdata.dataset.reader import index_files
from vpdata.dataset.run import read_table
from vpdata.dataset.split import NO_SPLIT, Split, joined, read_split
from vpdata.errors import RunError
from vpdata.storage import Folder

_log = logging.getLogger(__name__)


def warn_of_unsplit(uris: Sequence[str], splits: Sequence[str]) -> None:
    """Name each of `uris`, folders of runs or of latents, of which the files `splits` hold out nothing.

    Not runs in whose `splits/` one of the files lies, since there may be nothing to hold out, nor latents that were
    encoded under a split, since what it holds out is gone from them. Reads two columns of the indexes of the others;
    errors as of `read_split`, and where a folder is neither.
    """
    if NO_SPLIT in splits:
        return  # of which `read_split` warns
    split = joined([read_split(one) for one in splits])
    for uri in uris:
        if not _has_own(uri, splits) and not _holds_out_any(split, _clips(uri)):
            _log.warning(
                "%s: data.split holds out nothing of it, so that what a benchmark shows may be trained on; the split "
                "that was made with a benchmark is of one run, `python -m benchmark hold-out` writes that of another",
                uri,
            )


def clips_of_latents(latents: Folder) -> pa.Table:
    """The columns clip_id and video_id of all windows; RunError where the folder holds no latents."""
    folder = latents.child(layout.INDEX)
    names = folder.names(".parquet")
    if not latents.exists(layout.LATENTS_CONFIG) or not names:
        raise RunError(f"{latents.uri} holds no encoded latents; give the folder that `vpdata encode --output` wrote")
    return pa.concat_tables([read_table(folder, name, columns=["clip_id", "video_id"]) for name in names])


def _has_own(uri: str, splits: Sequence[str]) -> bool:
    folder = Folder(uri)
    if not folder.exists(layout.LATENTS_CONFIG):
        return any(_is_in(folder.child(layout.SPLITS), one) for one in splits)
    config: dict[str, Any] = yaml.safe_load(folder.read(layout.LATENTS_CONFIG))["config"]
    return config.get("data", {}).get("split", NO_SPLIT) != NO_SPLIT


def _is_in(folder: Folder, uri: str) -> bool:
    """Whether a file lies in a folder, in whatever way the two are written."""
    file = Folder(uri)
    if file.is_local and folder.is_local:
        return Path(file.uri).parent.resolve() == Path(folder.uri).resolve()
    return file.uri.startswith(f"{folder.uri}/")


def _clips(uri: str) -> pa.Table:
    """Ids of clips and of their videos, in this order."""
    folder = Folder(uri)
    if folder.exists(layout.LATENTS_CONFIG):
        return clips_of_latents(folder)
    root, names = index_files(uri)
    return read_index(root.child(layout.INDEX), names, ["id", "video_id"])


def _holds_out_any(split: Split, clips: pa.Table) -> bool:
    pairs = zip(*(column.to_pylist() for column in clips.columns), strict=True)
    return any(split.holds_out(clip, video_id=video) for clip, video in pairs)
