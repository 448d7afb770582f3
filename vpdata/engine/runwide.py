"""What needs the whole run: duplicates, the plan of the shards, and the packing of one shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vpdata import codec
from vpdata.dataset import annotations, layout
from vpdata.dataset.run import RangedFile, Run, parquet_bytes, read_rows
from vpdata.dataset.shards import PackEntry, write_shard
from vpdata.engine.lease import LeaseProof
from vpdata.engine.settings import EngineSettings
from vpdata.engine.work import Counts, Work
from vpdata.errors import Reason
from vpdata.records import Record, Reject
from vpdata.stages.base import Resources
from vpdata.stages.duplicates import exact_duplicates, near_duplicates

_COLUMNS = ["id", "clip.phash", "clip.video.id", "clip.video.content_hash"]
_SHORT = {"id": "id", "clip.phash": "phash", "clip.video.id": "video", "clip.video.content_hash": "content_hash"}
_NO_SIZES = pa.table({"id": pa.array([], pa.string()), "num_bytes": pa.array([], pa.int64())})
_NO_CLIPS = pa.table({name: pa.array([], pa.string()) for name in [*_SHORT.values(), "part"]})


@dataclass(frozen=True, slots=True, kw_only=True)
class PackJob:
    """Packs shards of the plan; a `vpdata.engine.work.Job` whose work is named like the shard's index file."""

    run_folder: Run
    lease: LeaseProof
    resources: Resources = field(default_factory=lambda: Resources(memory_gb=2.0))

    @property
    def name(self) -> str:
        return "pack"

    @property
    def has_items(self) -> bool:
        return False

    def setup(self) -> None:
        pass

    def run(self, work: Work, alive: Callable[[int], None]) -> Counts:
        number = int(work.name.removeprefix("vpdata-").removesuffix(".parquet"))
        plan = pq.read_table(RangedFile(self.run_folder.folder, layout.PACK_PLAN), filters=[("shard", "=", number)])
        entries = list(codec.from_table(plan, PackEntry))
        self.lease.check()
        write_shard(self.run_folder, entries, shard=number)
        return Counts(name=work.name, num_items=len(entries), num_records=len(entries), num_rejects=0)


def unpacked(run: Run) -> list[str]:
    """Index files that the plan asks for and that are not there yet."""
    shards = pq.read_table(RangedFile(run.folder, layout.PACK_PLAN), columns=["shard"])["shard"].unique().to_pylist()
    done = set(run.folder.child(layout.INDEX).names(".parquet"))
    return [name for name in map(layout.index_file, shards) if name not in done]


def plan_pack(run: Run, *, engine: EngineSettings, lease: LeaseProof) -> None:
    """Find duplicates among all kept clips and write which clip goes to which shard; the plan is written last."""
    clips = _kept_clips(run)
    reasons = _duplicates(clips, engine.near_duplicate_frac)
    rejects = list(_rejects(run, clips, reasons))
    kept = clips.filter(~pc.field("id").isin(pa.array(reasons, pa.string())))
    plan = _plan(run, kept, shard_mb=engine.shard_mb)
    lease.check()
    run.folder.write(layout.RUNWIDE_REJECTS, parquet_bytes(codec.to_table(rejects, Reject)))
    run.folder.write(layout.PACK_PLAN, parquet_bytes(plan))


def _kept_clips(run: Run) -> pa.Table:
    """Columns id, phash, video, content_hash and part of the clips that passed all rules.

    Only these columns are held, as Arrow: about 200 bytes a clip, so that a million clips fit a small driver.
    """
    folder = run.stage_folder("filter")
    tables = []
    for part in run.parts("filter"):
        table = pq.ParquetFile(RangedFile(folder, layout.records_file(part))).read(columns=_COLUMNS)
        table = table.replace_schema_metadata().flatten().flatten()
        table = table.rename_columns([_SHORT[name] for name in table.column_names])
        tables.append(table.append_column("part", pa.repeat(part, len(table)).dictionary_encode()))
    return pa.concat_tables(tables).unify_dictionaries() if tables else _NO_CLIPS


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


def _rejects(run: Run, clips: pa.Table, reasons: dict[str, tuple[Reason, str]]) -> Iterator[Reject]:
    """One reject per dropped clip, in part order."""
    details = {
        Reason.DUPLICATE: "the source has the same bytes as video {}",
        Reason.NEAR_DUPLICATE: "the clip looks like {}, which is kept",
    }
    dropped = clips.filter(pc.field("id").isin(pa.array(reasons, pa.string())))
    for part in sorted(dropped["part"].unique().to_pylist()):
        ids = set(dropped.filter(pc.field("part") == part)["id"].to_pylist())
        for record in read_rows(run.stage_folder("filter"), layout.records_file(part), Record, ids=ids):
            reason, kept = reasons[record.id]
            yield Reject(
                id=record.id,
                stage="pack",
                reason=reason,
                detail=details[reason].format(kept),
                video_id=record.clip.video.id,
                uri=record.clip.video.uri,
                start_s=record.clip.start_s,
                stop_s=record.clip.stop_s,
            )


def _plan(run: Run, kept: pa.Table, *, shard_mb: float) -> pa.Table:
    """Rows of `PackEntry` in id order; a shard is closed before the clip that would make it too large."""
    table = kept.select(["id", "part"]).join(_mp4_sizes(run, kept), keys="id").sort_by("id")
    shards, shard, held = [], 0, 0
    for num_bytes in table["num_bytes"].to_numpy():
        if held and held + num_bytes > shard_mb * 1e6:
            shard, held = shard + 1, 0
        held += num_bytes
        shards.append(shard)
    columns = {"clip_id": table["id"], "part": table["part"].cast(pa.string()), "shard": pa.array(shards, pa.int64())}
    return pa.table(columns, schema=codec.schema_of(PackEntry))


def _mp4_sizes(run: Run, kept: pa.Table) -> pa.Table:
    """Columns id and num_bytes of all mp4s in the tars that hold kept clips."""
    folder = run.stage_folder("cut")
    tables = [_NO_SIZES]
    for whole in sorted({layout.whole_part_of(part) for part in kept["part"].unique().to_pylist()}):
        members = pq.read_table(
            RangedFile(folder, layout.members_file(whole)), columns=["clip_id", "suffix", "num_bytes"]
        )
        members = members.replace_schema_metadata().filter(pc.field("suffix") == annotations.VIDEO)
        tables.append(pa.table({"id": members["clip_id"], "num_bytes": members["num_bytes"]}))
    return pa.concat_tables(tables)
