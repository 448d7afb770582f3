"""Encoding a finished data set: one stage over its clips, whose tars are shards of their own."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from vpdata.config import public
from vpdata.dataset import layout, lease
from vpdata.dataset.index import read_index
from vpdata.dataset.latents import EncodedClip, LatentFacts, open_latents, write_facts, write_index
from vpdata.dataset.lease import LeaseProof
from vpdata.dataset.reader import INDEX_COLUMNS, index_files
from vpdata.dataset.run import num_rows, parquet_bytes
from vpdata.dataset.split import Split
from vpdata.engine import fingerprint
from vpdata.engine.build import EngineKind
from vpdata.engine.cluster import Cluster, run_jobs
from vpdata.engine.intake import FromShards
from vpdata.engine.local import local_cluster
from vpdata.engine.part_output import PartOutput
from vpdata.engine.parts import StageJob
from vpdata.engine.plan import make_plan
from vpdata.engine.preflight import Errand, refuse_relative
from vpdata.engine.progress import Progress
from vpdata.engine.settings import EngineSettings
from vpdata.engine.work import Counts
from vpdata.errors import RunError
from vpdata.models.weights import Wanted
from vpdata.stages.base import Stage
from vpdata.storage import Folder

_log = logging.getLogger(__name__)

_STAGE = "encode"
_HASHES = ("json_sha256", "masks_sha256", "mp4_sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeSummary:
    """What a folder of latents holds."""

    num_clips: int
    """That were to be encoded."""
    num_encoded: int
    num_windows: int
    num_pairs: int
    num_rejects: int
    """Clips, and windows of clips that were encoded otherwise."""
    num_shards: int

    def __str__(self) -> str:
        return (
            f"{self.num_encoded} of {self.num_clips} clips gave {self.num_windows} windows, {self.num_pairs} ID pairs "
            f"among them, in {self.num_shards} shard(s); {self.num_rejects} rejects say what is missing and why"
        )


@dataclass(frozen=True, kw_only=True)
class EncodeJob(StageJob):
    """A stage job whose parts are shards with an index."""

    root: Folder

    def open_output(self, part: str) -> PartOutput:
        """What takes the outcomes of a part."""
        return PartOutput(
            self.folder,
            part,
            self.lease,
            row=EncodedClip,
            tars=self.root.child(layout.SHARDS),
            index=partial(write_index, self.root),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clips:
    """What is to be encoded."""

    shards: Folder
    table: pa.Table
    """Rows of the data set's index: what its reader needs."""
    fingerprint: str
    """Of the ids, and of the bytes behind them."""


def encode_run(
    data_uri: str,
    output_uri: str,
    *,
    stage: Stage,
    facts: LatentFacts,
    split: Split,
    clips_per_shard: int,
    engine: EngineSettings,
    config: Mapping[str, Any],
    weights: Sequence[Wanted] = (),
    kind: EngineKind,
    redo: bool = False,
) -> EncodeSummary:
    """Encode the clips of a data set that are not held out, or go on where an earlier call stopped.

    `redo` removes all that is there first. RunError where the data set is unfinished, where the output is another kind
    of folder, is being written, or was made from other clips or with other settings. The finished parts always stay.
    """
    root = Folder(output_uri)
    if kind == "ray":
        for uri in (data_uri, output_uri):
            refuse_relative(uri, num_nodes=1)
    _refuse_other_folders(root)
    clips = _clips_of(data_uri, split)
    with lease.hold(root, waits=True) as proof, Progress([_STAGE]) as progress:
        job = EncodeJob(
            stage=stage,
            intake=FromShards(shards=clips.shards, parts=root.child(layout.LATENTS_FOLDERS["clips"])),
            folder=root.child(layout.LATENTS_FOLDERS[_STAGE]),
            lease=proof,
            rules=None,
            engine=engine,
            root=root,
        )
        if redo:
            # What no worker could run is refused before anything is removed.
            with _cluster_of(kind, engine, job, clips.shards, weights) as cluster:
                make_plan({_STAGE: job.resources}, cluster.nodes)
            _remove_all(root)
        _settle(root, stage, clips, proof, facts=facts, config=config, clips_per_shard=clips_per_shard)
        waiting = _waiting(root, progress)
        if waiting:
            for folder in (job.folder, root.child(layout.SHARDS), root.child(layout.INDEX), root):
                folder.sweep()
            with _cluster_of(kind, engine, job, clips.shards, weights) as cluster:
                progress.note(make_plan({_STAGE: job.resources}, cluster.nodes).text)
                run_jobs(cluster, [job], waiting={_STAGE: waiting}, following=_nothing, progress=progress)
    return _summary(root, num_clips=clips.table.num_rows)


def _clips_of(data_uri: str, split: Split) -> _Clips:
    """The clips of a finished data set that may be trained on, and which bytes they are."""
    run, names = index_files(data_uri)
    table = read_index(run.child(layout.INDEX), names, [*INDEX_COLUMNS, "video_id", *_HASHES])
    ids = zip(table["id"].to_pylist(), table["video_id"].to_pylist(), strict=True)
    kept = table.filter(pa.array([not split.holds_out(clip, video_id=video) for clip, video in ids], pa.bool_()))
    _log.info("%d of %d clips are held out", len(table) - len(kept), len(table))
    digest = hashlib.sha256()
    for column in ("id", *_HASHES):
        digest.update("\n".join(kept[column].to_pylist()).encode())
    return _Clips(
        shards=run.child(layout.SHARDS), table=kept.select(list(INDEX_COLUMNS)), fingerprint=digest.hexdigest()
    )


def _settle(
    root: Folder,
    stage: Stage,
    clips: _Clips,
    proof: LeaseProof,
    *,
    facts: LatentFacts,
    config: Mapping[str, Any],
    clips_per_shard: int,
) -> None:
    """Freeze the list of clips in parts, or refuse to mix it with another; `stage.json` is written last."""
    folder = root.child(layout.LATENTS_FOLDERS[_STAGE])
    state = fingerprint.state_of(stage, early_rules=None, before=f"{clips.fingerprint}, {clips_per_shard} a shard")
    stored = fingerprint.read_state(folder, layout.STAGE_STATE)
    if stored is not None:
        if stored.input != state.input:
            raise RunError(
                f"{root.uri} was encoded from other clips: since then the run, data.split or data.clips_per_shard has "
                f"changed; encode into a new folder, or add --redo encode to make all of it anew"
            )
        fingerprint.refuse_changes(stored, state)
        return
    if root.child(layout.INDEX).names():
        raise RunError(
            f"{root.uri} holds latents and lacks {layout.LATENTS_FOLDERS[_STAGE]}/{layout.STAGE_STATE}, which says "
            "what they were made from; encode into a new folder, or add --redo encode to make all of it anew"
        )
    proof.check()
    _remove_all(root)
    firsts = range(0, clips.table.num_rows, clips_per_shard)
    for shard, first in enumerate(firsts):
        rows = parquet_bytes(clips.table.slice(first, clips_per_shard))
        root.child(layout.LATENTS_FOLDERS["clips"]).write(layout.records_file(layout.latents_part(shard)), rows)
    write_facts(root, facts, num_shards=len(firsts), config=public(config))
    folder.write(layout.STAGE_STATE, state.to_json())


def _remove_all(root: Folder) -> None:
    """Remove what was encoded, in an order that never leaves a part of it where it passes for whole."""
    root.child(layout.LATENTS_FOLDERS[_STAGE]).remove(layout.STAGE_STATE)
    root.remove(layout.LATENTS_CONFIG)
    for name in (layout.INDEX, layout.SHARDS, *layout.LATENTS_FOLDERS.values()):
        root.child(name).remove_all()


def _waiting(root: Folder, progress: Progress) -> list[str]:
    """Parts that are not encoded yet."""
    names = root.child(layout.LATENTS_FOLDERS["clips"]).names(".parquet")
    done = set(root.child(layout.LATENTS_FOLDERS[_STAGE]).names(".parquet"))
    left = [name.removesuffix(".parquet") for name in names if name not in done]
    progress.known(_STAGE, num_parts=len(names), done=len(names) - len(left))
    return left


def _nothing(stage: str, counts: Counts) -> Sequence[str]:
    """What follows from a finished part."""
    return ()


def _cluster_of(
    kind: EngineKind, engine: EngineSettings, job: EncodeJob, shards: Folder, weights: Sequence[Wanted]
) -> AbstractContextManager[Cluster]:
    if kind == "local":
        return local_cluster(engine)
    from vpdata.engine.ray import ray_cluster

    errand = Errand(run_folder=job.root, probe=f"probe-{uuid.uuid4().hex}", shards=shards, weights=weights)
    return ray_cluster(engine, errand, {job.name: job.resources})


def _refuse_other_folders(root: Folder) -> None:
    names = set(root.names())
    ours = {layout.LATENTS_CONFIG, layout.LEASE, *layout.LATENTS_FOLDERS.values()}
    if names and (layout.RUN_CONFIG in names or not names & ours):
        raise RunError(f"{root.uri} is neither empty nor latents (it holds {min(names)!r}); give another --output")


def _summary(root: Folder, *, num_clips: int) -> EncodeSummary:
    latents = open_latents(root.uri)
    folder = root.child(layout.LATENTS_FOLDERS[_STAGE])
    rejects = [num_rows(folder, name) for name in folder.names(".rejects.parquet")]
    columns = latents.windows.table
    names = columns["name"].to_pylist()
    return EncodeSummary(
        num_clips=num_clips,
        num_encoded=len(columns["clip_id"].unique()),
        num_windows=len(names),
        num_pairs=names.count("target"),
        num_rejects=sum(rejects),
        num_shards=len(root.child(layout.INDEX).names(".parquet")),
    )
