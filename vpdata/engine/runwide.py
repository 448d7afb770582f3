"""What needs the whole run: finding duplicates, and planning which clip goes to which shard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vpdata import codec
from vpdata.dataset import annotations, layout
from vpdata.dataset.lease import LeaseProof
from vpdata.dataset.run import Run, parquet_bytes, read_rows, read_table
from vpdata.dataset.shards import PackEntry
from vpdata.engine.settings import EngineSettings
from vpdata.errors import Reason, RunError
from vpdata.records import Record, Reject
from vpdata.stages.duplicates import exact_duplicates, near_duplicates
from vpdata.stages.semantic_duplicates import from_text, semantic_duplicates

_COLUMNS = {"id": "id", "clip.phash": "phash", "clip.video.id": "video", "clip.video.content_hash": "content_hash"}
"""Of a part's file, and what they are called here."""
_CLIPS = pa.schema([*((name, pa.string()) for name in _COLUMNS.values()), ("part", pa.int32())])
_PLAN_ROWS = 65536
"""In a row group of the plan. Every shard reads the file's list of groups, which must not grow with the clips."""
_SIZES = pa.schema([("id", pa.string()), ("num_bytes", pa.int64())])


def plan_pack(run: Run, *, engine: EngineSettings, lease: LeaseProof) -> tuple[int, int]:
    """Write the rejects of the run-wide pass and, last, the plan of the shards; how many are kept and rejected.

    About 1.5 kB of memory a clip (measured at 100,000), most of it while perceptual hashes are compared.
    """
    parts = run.parts("filter")
    clips = _kept_clips(run, parts)
    reasons = _duplicates(clips, engine.near_duplicate_frac)
    if engine.semantic_duplicate_cosine is not None:
        # In one chunk: a column without any is no set of strings to pyarrow.
        left = clips.filter(~pc.field("id").isin(pa.array(reasons, pa.string())))["id"].combine_chunks()
        reasons |= _semantic_duplicates(run, parts, left, engine.semantic_duplicate_cosine)
    dropped = pc.field("id").isin(pa.array(reasons, pa.string()))
    rejects = list(_rejects(run, parts, clips.filter(dropped), reasons))
    plan = _plan(run, parts, clips.filter(~dropped).select(["id", "part"]), shard_mb=engine.shard_mb)
    lease.check()
    run.folder.write(layout.RUNWIDE_REJECTS, parquet_bytes(codec.to_table(rejects, Reject)))
    run.folder.write(layout.PACK_PLAN, parquet_bytes(plan, rows_per_group=_PLAN_ROWS))
    return len(plan), len(rejects)


def _kept_clips(run: Run, parts: Sequence[str]) -> pa.Table:
    """Columns id, phash, video, content_hash and part (its position in `parts`) of the clips that passed all rules."""
    folder = run.stage_folder("filter")
    tables = [_CLIPS.empty_table()]
    for number, part in enumerate(parts):
        table = read_table(folder, layout.records_file(part), columns=list(_COLUMNS))
        table = table.flatten().flatten()
        table = table.append_column("part", pa.repeat(pa.scalar(number, pa.int32()), len(table)))
        tables.append(table.rename_columns(_COLUMNS | {"part": "part"}).select(_CLIPS.names).cast(_CLIPS))
    return pa.concat_tables(tables)


def _duplicates(clips: pa.Table, max_distance_frac: float | None) -> dict[str, tuple[Reason, str]]:
    """Dropped clip -> why, and the video or clip that is kept instead."""
    videos = clips.group_by(["video", "content_hash"]).aggregate([])
    same = exact_duplicates(videos["video"].to_pylist(), videos["content_hash"].to_pylist())
    is_copy = pc.field("video").isin(pa.array(same, pa.string()))
    copies = clips.filter(is_copy).select(["id", "video"]).to_pylist()
    dropped = {row["id"]: (Reason.DUPLICATE, same[row["video"]]) for row in copies}
    if max_distance_frac is not None:
        others = clips.filter(~is_copy)
        ids, phashes = others["id"].to_pylist(), others["phash"].to_pylist()
        near = near_duplicates(ids, phashes, max_distance_frac=max_distance_frac)
        dropped |= {clip: (Reason.NEAR_DUPLICATE, kept) for clip, kept in near.items()}
    return dropped


def _semantic_duplicates(
    run: Run, parts: Sequence[str], left: pa.Array, min_cosine: float
) -> dict[str, tuple[Reason, str]]:
    """As `_duplicates`, among the clips that are left; RunError where one has no embedding."""
    folder = run.stage_folder("filter")
    ids: list[str] = []
    vectors = []
    for part in parts:
        table = read_table(folder, layout.records_file(part), columns=["id", "embedding"])
        table = table.filter(pc.field("id").isin(left))
        if table["embedding"].null_count:
            raise RunError(
                f"{part}: got clips without an embedding, which engine.semantic_duplicate_cosine compares; "
                "set detect.embedder and run `vpdata build --redo detect`, or set it to null"
            )
        if len(table):
            ids += table["id"].to_pylist()
            vectors.append(from_text(table["embedding"].combine_chunks().field("values").to_pylist()))
    embeddings = np.concatenate(vectors) if vectors else from_text([])
    same = semantic_duplicates(ids, embeddings, min_cosine=min_cosine)
    return {clip: (Reason.SEMANTIC_DUPLICATE, kept) for clip, kept in same.items()}


def _rejects(
    run: Run, parts: Sequence[str], dropped: pa.Table, reasons: Mapping[str, tuple[Reason, str]]
) -> Iterator[Reject]:
    """One reject per dropped clip, in part order."""
    details = {
        Reason.DUPLICATE: "the source has the same bytes as video {}",
        Reason.NEAR_DUPLICATE: "the clip looks like {}, which is kept",
        Reason.SEMANTIC_DUPLICATE: "the clip means the same as {}, which is kept",
    }
    ids_by_part: dict[int, set[str]] = {}
    for row in dropped.select(["id", "part"]).to_pylist():
        ids_by_part.setdefault(row["part"], set()).add(row["id"])
    for number, ids in sorted(ids_by_part.items()):
        for record in read_rows(run.stage_folder("filter"), layout.records_file(parts[number]), Record, ids=ids):
            reason, kept = reasons[record.id]
            yield Reject(
                id=record.id,
                stage=layout.PACK,
                reason=reason,
                detail=details[reason].format(kept),
                video_id=record.clip.video.id,
                uri=record.clip.video.uri,
                start_s=record.clip.start_s,
                stop_s=record.clip.stop_s,
            )


def _plan(run: Run, parts: Sequence[str], kept: pa.Table, *, shard_mb: float) -> pa.Table:
    """Rows of `PackEntry` in id order; a shard is closed before the clip that would make it too large."""
    wholes = {layout.whole_part_of(parts[int(number)]) for number in set(kept["part"].to_numpy())}
    table = kept.join(_mp4_sizes(run, sorted(wholes)), keys="id").sort_by("id")
    shards, shard, held = [], 0, 0
    for num_bytes in table["num_bytes"].to_numpy():
        if held and held + num_bytes > shard_mb * 1e6:
            shard, held = shard + 1, 0
        held += num_bytes
        shards.append(shard)
    columns = {
        "clip_id": table["id"],
        "part": pa.array(parts, pa.string()).take(table["part"].combine_chunks()),
        "shard": pa.array(shards, pa.int64()),
    }
    return pa.table(columns, schema=codec.schema_of(PackEntry))


def _mp4_sizes(run: Run, parts: Sequence[str]) -> pa.Table:
    """Columns id and num_bytes of all mp4s in the tars of `cut`."""
    folder = run.stage_folder("cut")
    tables = [_SIZES.empty_table()]
    for part in parts:
        members = read_table(folder, layout.members_file(part), columns=["clip_id", "suffix", "num_bytes"])
        members = members.filter(pc.field("suffix") == annotations.VIDEO)
        tables.append(pa.table([members["clip_id"], members["num_bytes"]], schema=_SIZES))
    return pa.concat_tables(tables)
