"""The published rows that are not to be trained on, as the split of an imported run."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from vpdata.dataset import index, layout
from vpdata.dataset.look_alikes import Looks
from vpdata.dataset.run import Run
from vpdata.dataset.split import SplitFacts, write_split

_log = logging.getLogger(__name__)

_FACTS = SplitFacts(name="published", seed=0, look_alike_frac=0.2, look_alike_cosine=0.9)
"""The limits are those of our own benchmark."""
_COLUMNS = ("id", "phash", "video_id", "video_content_hash")


def write_published_split(run: Run, held_out: Collection[str]) -> None:
    """Write `splits/published.parquet` of a run whose index is whole; `held_out` are the ids of videos.

    A video of the same bytes as one of those is held out too, and so are clips that look like theirs.
    """
    folder = run.folder.child(layout.INDEX)
    clips: list[dict[str, Any]] = index.read_index(folder, folder.names(".parquet"), _COLUMNS).to_pylist()
    hash_of = {clip["video_id"]: clip["video_content_hash"] for clip in clips}
    hashes = {hash_of[video] for video in held_out if video in hash_of}
    videos = {*held_out, *(video for video, content_hash in hash_of.items() if content_hash in hashes)}
    shown = [_looks(clip) for clip in clips if clip["video_id"] in videos]
    others = [_looks(clip) for clip in clips if clip["video_id"] not in videos]
    hash_of_held_out = {video: hash_of.get(video) for video in videos}
    uri, num_alike = write_split(run.folder, _FACTS, videos=hash_of_held_out, shown=shown, others=others)
    _log.info(
        "%d videos of the published validation, test and benchmark CSVs are held out, with %d clips, %d that look like "
        "them, and %d left to train on: set data.split to %s",
        *(len(videos), len(shown), num_alike, len(others) - num_alike, uri),
    )


def _looks(clip: dict[str, Any]) -> Looks:
    return Looks(id=clip["id"], phash=clip["phash"])
