"""Proof that a finished run holds what it says: every offset, header, size, hash, id, mask, frame and caption."""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vpdata.dataset import annotations, index, layout
from vpdata.dataset.check_benchmarks import check_benchmarks
from vpdata.dataset.check_mp4 import check_mp4
from vpdata.dataset.check_splits import check_splits
from vpdata.dataset.run import Run, read_rows
from vpdata.dataset.shards import END_OF_TAR, PackEntry, TarWriter, padded
from vpdata.errors import RunError
from vpdata.media.masks import mask_area_px
from vpdata.records import Clip, Record, Track, clip_id, is_valid_id

_log = logging.getLogger(__name__)

_AREA_TOLERANCE_FRAC = 1e-9
"""Areas are counted pixels over a size: only the last bits of a float may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is not as it should be."""

    where: str
    """File in the run, with the clip's id where it is about one clip."""
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def check(run: Run) -> list[Problem]:
    """All that is wrong with a finished run, [] for nothing. RunError where the folder is none and holds no index.

    Reads the plan, the index and every byte of every shard; the parts are not needed. A data set that came without its
    run is checked by its index alone. Splits, and the benchmarks that lie in the run's folder, are looked at where all
    that is well.
    """
    by_shard: dict[int, list[str]] = defaultdict(list)
    if _is_without_run(run):
        _log.warning(
            "%s: no plan and no settings came with it, so only its index says which clips and shards should be there",
            run.folder.uri,
        )
        by_shard |= {shard: [] for shard in _named_shards(run)}
        where, entries = layout.INDEX, _plan_by_index(run, by_shard)
    else:
        run.config()
        where, entries = layout.PACK_PLAN, read_rows(run.folder, layout.PACK_PLAN, PackEntry)
        if not run.folder.exists(where):
            return [Problem(where=where, what="missing: the build has not finished; run the same command again")]
    try:
        plan = list(entries)
    except RunError as error:
        return [_problem(run, where, error)]
    for entry in plan:
        by_shard[entry.shard].append(entry.clip_id)
    problems = [*_check_plan(plan, shards=sorted(by_shard), where=where), *_check_names(run, sorted(by_shard))]
    for shard, ids in sorted(by_shard.items()):
        problems.extend(_check_shard(run, shard, ids))
    if not problems:
        found = [*check_splits(run), *check_benchmarks(run)]
        problems = [Problem(where=where, what=what) for where, what in found]
    return problems


def _is_without_run(run: Run) -> bool:
    """Whether a folder is a data set of which only `shards/` and `index/` were passed on."""
    names = set(run.folder.names())
    return layout.INDEX in names and names.isdisjoint(
        [layout.RUN_CONFIG, layout.PACK_PLAN, *layout.STAGE_FOLDERS.values()]
    )


def _named_shards(run: Run) -> list[int]:
    """Numbers of the shards of which the tar or the index is there."""
    names = {*run.folder.child(layout.SHARDS).names(), *run.folder.child(layout.INDEX).names()}
    numbers = {int(digits[0]) for name in names if (digits := re.search(r"\d+", name))}
    return sorted(number for number in numbers if {layout.shard_file(number), layout.index_file(number)} & names)


def _plan_by_index(run: Run, shards: Iterable[int]) -> Iterator[PackEntry]:
    folder = run.folder.child(layout.INDEX)
    for shard in shards:
        if folder.exists(layout.index_file(shard)):
            for clip in index.read_index(folder, [layout.index_file(shard)], ["id"])["id"].to_pylist():
                yield PackEntry(clip_id=clip, part="", shard=shard)


def _problem(run: Run, where: str, error: RunError) -> Problem:
    """What is wrong with a file that cannot be read."""
    return Problem(where=where, what=str(error).removeprefix(f"{run.folder.uri}/{where}").lstrip(":/ "))


def _check_plan(plan: Sequence[PackEntry], *, shards: Sequence[int], where: str) -> Iterator[Problem]:
    ids = [entry.clip_id for entry in plan]
    for clip, count in Counter(ids).items():
        if count > 1:
            yield Problem(where=f"{where}: {clip}", what=f"planned {count} times, wanted once")
        if not is_valid_id(clip):
            yield Problem(where=f"{where}: {clip!r}", what="wanted an id of lower-case letters, digits, hyphens")
    if ids != sorted(ids):
        yield Problem(where=where, what="the clips are not in the order of their ids")
    of_clips = [entry.shard for entry in plan]
    if of_clips != sorted(of_clips):
        yield Problem(where=where, what="the clips are not in the order of their shards")
    if gaps := set(range(len(shards))) - set(shards):
        what = f"the shards are not numbered from 0 without gaps: {min(gaps)} is missing, the last is {max(shards)}"
        yield Problem(where=where, what=what)


def _check_names(run: Run, shards: Sequence[int]) -> Iterator[Problem]:
    for folder, name_of in ((layout.SHARDS, layout.shard_file), (layout.INDEX, layout.index_file)):
        found, wanted = set(run.folder.child(folder).names()), {name_of(shard) for shard in shards}
        for name in sorted(wanted - found):
            yield Problem(where=f"{folder}/{name}", what="missing; run the build's command again, or copy it anew")
        for name in sorted(found - wanted):
            yield Problem(where=f"{folder}/{name}", what="no file of that name is planned; remove it")


def _check_shard(run: Run, shard: int, planned: Sequence[str]) -> Iterator[Problem]:
    shards, indexes = run.folder.child(layout.SHARDS), run.folder.child(layout.INDEX)
    name, index_name = layout.shard_file(shard), layout.index_file(shard)
    if not shards.exists(name) or not indexes.exists(index_name):
        return
    where = f"{layout.INDEX}/{index_name}"
    try:
        table = _known_columns(index.read_index(indexes, [index_name]))
    except RunError as error:
        yield _problem(run, where, error)
        return
    if table is None:
        yield Problem(where=where, what="its columns are not those of this schema version")
        return
    rows = table.to_pylist()
    if [row["id"] for row in rows] != list(planned):
        yield Problem(where=where, what=f"its {len(rows)} clips are not the {len(planned)} of the plan, in order")
    num_bytes, start = shards.size(name), 0
    for row in rows:
        where = f"{layout.SHARDS}/{name}: {row['id']}"
        stop = padded(max(row[f"{prefix}_offset"] + row[f"{prefix}_num_bytes"] for prefix in _PREFIXES))
        if not start < stop <= num_bytes:
            yield Problem(where=where, what=f"the index puts it at bytes {start}:{stop} of {num_bytes}")
            return
        data = shards.read_range(name, start, stop - start)
        yield from _check_sample(row, data, start=start, shard=shard, where=where)
        start = stop
    if num_bytes != start + len(END_OF_TAR) or any(shards.read_range(name, start, num_bytes - start)):
        yield Problem(where=f"{layout.SHARDS}/{name}", what=f"wanted two empty blocks and no more behind byte {start}")


def _known_columns(table: pa.Table) -> pa.Table | None:
    """An index without what later releases add to it; None where one is missing, repeated or of another type."""
    if not _holds(pa.struct(list(table.schema)), pa.struct(list(index.SCHEMA))):
        return None
    return table.select(index.SCHEMA.names).cast(index.SCHEMA)


def _holds(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a type is the wanted one, or has further fields in its structs, each once."""
    if pa.types.is_struct(found) and pa.types.is_struct(wanted):
        fields = {field.name: field for field in found}
        return len(fields) == found.num_fields and all(
            field.name in fields
            and fields[field.name].nullable == field.nullable
            and _holds(fields[field.name].type, field.type)
            for field in wanted
        )
    if pa.types.is_list(found) and pa.types.is_list(wanted):
        return _holds(found.value_type, wanted.value_type)
    return found == wanted


def _check_sample(row: Mapping[str, Any], data: bytes, *, start: int, shard: int, where: str) -> Iterator[Problem]:
    """`data` are the bytes of the shard from `start`, where the sample's first header lies, to its last block."""
    contents, offsets, rebuilt = {}, {}, io.BytesIO()
    tar = TarWriter(rebuilt)
    for suffix, prefix in index.MEMBER_COLUMNS.items():
        offset = row[f"{prefix}_offset"] - start
        contents[suffix] = data[max(offset, 0) : max(offset, 0) + row[f"{prefix}_num_bytes"]]
        offsets[suffix] = start + tar.add(row["id"], suffix, contents[suffix]).offset
        if offsets[suffix] != row[f"{prefix}_offset"]:
            what = f"the index puts {suffix} at byte {row[f'{prefix}_offset']}, its place is {offsets[suffix]}"
            yield Problem(where=where, what=what)
            return
        if hashlib.sha256(contents[suffix]).hexdigest() != row[f"{prefix}_sha256"]:
            yield Problem(where=where, what=f"{suffix} has another hash than the index says")
    if rebuilt.getvalue() != data:
        yield Problem(where=where, what="a tar header is not the one that vpdata writes")
    try:
        record = annotations.decode(contents[annotations.RECORD], contents[annotations.MASKS], where=where)
    except RunError as error:
        yield Problem(where=where, what=str(error).removeprefix(f"{where}: "))
        return
    expected = index.row_of(record, shard=shard, offsets=offsets, contents=contents)
    for column, value in pa.Table.from_pylist([expected], schema=index.SCHEMA).to_pylist()[0].items():
        if row[column] != value and not column.endswith("_sha256"):
            yield Problem(where=where, what=f"the index says {column} {row[column]!r}, the record {value!r}")
    yield from _check_record(record, where=where)
    for what in check_mp4(record.clip, contents[annotations.VIDEO]):
        yield Problem(where=where, what=what)


def _check_record(record: Record, *, where: str) -> Iterator[Problem]:
    clip = record.clip
    wanted = clip_id(clip.video.id, clip.start_s, clip.stop_s)
    if not is_valid_id(record.id) or not record.id == clip.id == wanted:
        yield Problem(where=where, what=f"got the ids {record.id!r} and {clip.id!r}, wanted {wanted!r}")
    if record.verdict is None or not record.verdict.keep:
        yield Problem(where=where, what="got no verdict to keep it")
    track_ids = [track.id for track in record.tracks or ()]
    if not track_ids or track_ids != sorted(set(track_ids)) or track_ids[0] < 1:
        yield Problem(where=where, what=f"got the track ids {track_ids}, wanted at least one, from 1 on, ascending")
    for track in record.tracks or ():
        yield from _check_track(track, clip, where=f"{where}: track {track.id}")
    scopes = [caption.scope for caption in record.captions or ()]
    if None not in scopes:
        yield Problem(where=where, what="got no caption of the clip")
    for caption in record.captions or ():
        if not caption.text.strip() or (caption.scope is not None and caption.scope not in track_ids):
            yield Problem(where=where, what=f"got the caption {caption.text!r} of track {caption.scope}")


def _check_track(track: Track, clip: Clip, *, where: str) -> Iterator[Problem]:
    if not len(track.masks) == len(track.area_frac) == clip.num_frames:
        got = f"{len(track.masks)} masks and {len(track.area_frac)} areas"
        yield Problem(where=where, what=f"got {got}, wanted one for each of {clip.num_frames} frames")
        return
    try:
        size = {"height_px": clip.height_px, "width_px": clip.width_px}
        areas_px = [mask_area_px(counts, **size) for counts in track.masks]
    except ValueError as error:
        yield Problem(where=where, what=str(error))
        return
    area_frac = np.array(areas_px) / (clip.height_px * clip.width_px)
    if not np.allclose(area_frac, track.area_frac, rtol=0, atol=_AREA_TOLERANCE_FRAC):
        worst = int(np.argmax(np.abs(area_frac - track.area_frac)))
        got, wanted = track.area_frac[worst], area_frac[worst]
        yield Problem(where=where, what=f"got area_frac {got} on frame {worst}, its mask covers {wanted}")
    if not area_frac.any():
        yield Problem(where=where, what="got a track without a mask on any frame")


_PREFIXES = tuple(index.MEMBER_COLUMNS.values())
