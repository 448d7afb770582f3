"""Planted corruptions: each must be found, where it is, and nothing else may be called wrong."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.runs import encode_clip, make_footage, make_source
from vpdata import codec
from vpdata.dataset import layout
from vpdata.dataset.check import check
from vpdata.dataset.clean import clean
from vpdata.dataset.run import Run, parquet_bytes, read_rows
from vpdata.dataset.shards import PackEntry, write_shard
from vpdata.errors import RunError
from vpdata.media.masks import encode_mask
from vpdata.records import Record
from vpdata.storage import Folder

IDS = sorted(make_source(seed).id + "-0-2000" for seed in range(5))
FIRST = IDS[0]


def shard_bytes(run: Run, shard: int = 0) -> bytearray:
    return bytearray(run.folder.child(layout.SHARDS).read(layout.shard_file(shard)))


def write_shard_bytes(run: Run, data: bytes, shard: int = 0) -> None:
    run.folder.child(layout.SHARDS).write(layout.shard_file(shard), bytes(data))


def index_rows(run: Run) -> pa.Table:
    return pq.read_table(io.BytesIO(run.folder.child(layout.INDEX).read(layout.index_file(0))))


def write_index(run: Run, table: pa.Table) -> None:
    run.folder.child(layout.INDEX).write(layout.index_file(0), parquet_bytes(table, rows_per_group=4096))


def edit_index(run: Run, column: str, edit: Callable) -> None:
    table = index_rows(run)
    values = [edit(value) if row == 0 else value for row, value in enumerate(table[column].to_pylist())]
    at = table.column_names.index(column)
    write_index(run, table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type)))


def edit_plan(run: Run, edit: Callable[[list[PackEntry]], list[PackEntry]]) -> None:
    plan = edit(list(read_rows(run.folder, layout.PACK_PLAN, PackEntry)))
    run.folder.write(layout.PACK_PLAN, parquet_bytes(codec.to_table(plan, PackEntry)))


def repack(run: Run, edit: Callable[[Record], Record]) -> None:
    """Pack the first shard again with another record of its first clip: offsets and hashes fit, contents do not."""
    folder = run.stage_folder("filter")
    for part in run.parts("filter"):
        name = layout.records_file(part)
        records = [edit(record) if record.id == FIRST else record for record in read_rows(folder, name, Record)]
        folder.write(name, parquet_bytes(codec.to_table(records, Record)))
    plan = [entry for entry in read_rows(run.folder, layout.PACK_PLAN, PackEntry) if entry.shard == 0]
    write_shard(run, plan, shard=0)


def edit_track(record: Record, **changes) -> Record:
    first, *others = record.tracks or ()
    return replace(record, tracks=(replace(first, **changes), *others))


def flip(run: Run, suffix: str, where: int = 40) -> None:
    """Change one bit inside a member of the first sample."""
    data = shard_bytes(run)
    offset = index_rows(run)[f"{suffix}_offset"][0].as_py()
    data[offset + where] ^= 1
    write_shard_bytes(run, data)


def zero(run: Run, name: str, at: int) -> None:
    """64 bytes of zeros, such as a disk leaves that lost a block."""
    data = bytearray(run.folder.read(name))
    data[at : at + 64] = bytes(64)
    run.folder.write(name, bytes(data))


def cut_short(run: Run, name: str, num_bytes: int) -> None:
    run.folder.write(name, run.folder.read(name)[:num_bytes])


def with_bytes(table: pa.Table, column: str) -> pa.Table:
    """A column of text that is not UTF-8."""
    values = pa.array([b"\xff" + value.encode() for value in table[column].to_pylist()]).view(pa.string())
    at = table.column_names.index(column)
    return table.set_column(at, table.schema.field(at), values)


def retyped(table: pa.Table, column: str, kind: pa.DataType) -> pa.Table:
    at = table.column_names.index(column)
    field = table.schema.field(at)
    return table.set_column(at, field.with_type(kind), table[column].cast(kind))


def repeated(table: pa.Table, column: str) -> pa.Table:
    return table.append_column(table.schema.field(column), table[column])


def in_header(run: Run) -> None:
    data = shard_bytes(run)
    data[108] ^= 1  # owner
    write_shard_bytes(run, data)


def in_clip(record: Record, **changes) -> Record:
    return replace(record, clip=replace(record.clip, **changes))


def with_mp4(run: Run, mp4: bytes) -> None:
    """Pack another mp4 whose hash fits its record."""
    folder = run.stage_folder("cut")
    for part in run.parts("cut"):
        name = layout.members_file(part)
        table = pq.read_table(io.BytesIO(folder.read(name)))
        if FIRST in table["clip_id"].to_pylist():
            tar = bytearray(folder.read(layout.tar_file(part)))
            rows = table.to_pylist()
            for row in rows:
                if row["clip_id"] == FIRST:
                    row |= {"offset": len(tar), "num_bytes": len(mp4)}
            folder.write(layout.tar_file(part), bytes(tar) + mp4)
            folder.write(name, parquet_bytes(pa.Table.from_pylist(rows, schema=table.schema)))
    repack(run, lambda record: in_clip(record, sha256=hashlib.sha256(mp4).hexdigest()))


def no_clip_caption(record: Record) -> Record:
    return replace(record, captions=tuple(caption for caption in record.captions or () if caption.scope))


def blank_caption(record: Record) -> Record:
    return replace(record, captions=tuple(replace(caption, text="  ") for caption in record.captions or ()))


def foreign_mask(record: Record) -> Record:
    """Run lengths of a frame twice as high."""
    tall = encode_mask(np.ones((128, 96), dtype=np.bool_))
    return edit_track(record, masks=(tall,) * record.clip.num_frames)


CORRUPTIONS: dict[str, tuple[Callable[[Run], object], str]] = {
    "bit of the mp4": (lambda run: flip(run, "mp4"), "mp4 has another hash than the index says"),
    "bit of the record": (lambda run: flip(run, "json", 12), "json has another hash"),
    "bit of the masks": (lambda run: flip(run, "masks"), "masks.json has another hash"),
    "tar header": (in_header, "tar header"),
    "end of the tar": (lambda run: write_shard_bytes(run, shard_bytes(run)[:-512]), "two empty blocks"),
    "shard cut short": (lambda run: write_shard_bytes(run, shard_bytes(run)[:9000]), "of 9000"),
    "bytes behind the end": (lambda run: write_shard_bytes(run, shard_bytes(run) + b"more"), "two empty blocks"),
    "shard missing": (lambda run: run.folder.remove("shards/vpdata-000001.tar"), "vpdata-000001.tar: missing"),
    "index missing": (lambda run: run.folder.remove("index/vpdata-000001.parquet"), "vpdata-000001.parquet: missing"),
    "index no Parquet": (
        lambda run: run.folder.write("index/vpdata-000000.parquet", b"PAR1"),
        "000.parquet: is damaged",
    ),
    "page of the index": (lambda run: zero(run, "index/vpdata-000000.parquet", 200), "000.parquet: is damaged"),
    "text of the index": (lambda run: write_index(run, with_bytes(index_rows(run), "id")), "000.parquet: is damaged"),
    "plan cut short": (lambda run: cut_short(run, layout.PACK_PLAN, 300), "pack-plan.parquet: is damaged"),
    "page of the plan": (lambda run: zero(run, layout.PACK_PLAN, 40), "pack-plan.parquet: is damaged"),
    "plan of another kind": (
        lambda run: run.folder.write(layout.PACK_PLAN, parquet_bytes(index_rows(run))),
        "pack-plan.parquet: is damaged",
    ),
    "unplanned file": (lambda run: run.folder.write("shards/notes.txt", b""), "shards/notes.txt: no file"),
    "plan missing": (lambda run: run.folder.remove(layout.PACK_PLAN), "has not finished"),
    "offset in the index": (lambda run: edit_index(run, "mp4_offset", lambda x: x + 512), "its place is"),
    "size in the index": (lambda run: edit_index(run, "json_num_bytes", lambda x: x - 1), "another hash"),
    "score in the index": (lambda run: edit_index(run, "motion", lambda x: 9.0), "the index says motion 9.0"),
    "caption in the index": (lambda run: edit_index(run, "caption", lambda x: None), "the index says caption None"),
    "column of the index": (lambda run: write_index(run, index_rows(run).drop(["fps"])), "its columns"),
    "column twice": (lambda run: write_index(run, repeated(index_rows(run), "fps")), "its columns"),
    "id twice": (lambda run: write_index(run, repeated(index_rows(run), "id")), "its columns"),
    "type of a column": (lambda run: write_index(run, retyped(index_rows(run), "shot", pa.string())), "its columns"),
    "column of a score": (
        lambda run: write_index(run, index_rows(run).drop(["motion"])),
        "the index says motion None, the record",
    ),
    "clip planned twice": (lambda run: edit_plan(run, lambda plan: [plan[0], *plan]), "planned 2 times"),
    "clip not planned": (lambda run: edit_plan(run, lambda plan: plan[1:]), "not the 1 of the plan"),
    "gap in the shards": (
        lambda run: edit_plan(run, lambda plan: [replace(x, shard=x.shard + (x.shard > 0)) for x in plan]),
        "without gaps",
    ),
    "dot in an id": (
        lambda run: edit_plan(run, lambda plan: [replace(plan[0], clip_id="a.b"), *plan[1:]]),
        "'a.b': wanted an id",
    ),
    "id of another span": (
        lambda run: repack(run, lambda x: in_clip(x, start_s=1.0)),
        f"wanted '{FIRST[:16]}-1000-2000'",
    ),
    "clip caption gone": (lambda run: repack(run, no_clip_caption), "no caption of the clip"),
    "blank caption": (lambda run: repack(run, blank_caption), "got the caption '  '"),
    "frames of the mp4": (
        lambda run: with_mp4(run, encode_clip(make_footage(0).frames[:23])),
        "the mp4 has 23 frames, its record 24",
    ),
    "size of the clip": (
        lambda run: repack(run, lambda x: in_clip(x, width_px=48, height_px=128)),
        "the mp4 has (96, 64",
    ),
    "mask of another size": (lambda run: repack(run, foreign_mask), "12288 pixels, wanted 96x64"),
    "mask too few": (
        lambda run: repack(run, lambda x: edit_track(x, masks=(x.tracks or ())[0].masks[1:])),
        "23 masks and 24 areas",
    ),
    "area of a mask": (
        lambda run: repack(run, lambda x: edit_track(x, area_frac=(0.5, *(x.tracks or ())[0].area_frac[1:]))),
        "area_frac 0.5 on frame 0, its mask covers 0.09375",
    ),
    "track id twice": (lambda run: repack(run, lambda x: edit_track(x, id=2)), "track ids [2, 2]"),
    "no track": (
        lambda run: repack(run, lambda x: replace(x, tracks=(), captions=(x.captions or ())[:1])),
        "track ids []",
    ),
    "verdict": (
        lambda run: repack(run, lambda x: replace(x, verdict=replace(x.verdict, keep=False))),
        "no verdict to keep it",
    ),
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_planted_corruption_is_found_where_it_is(run, corruption):
    plant, wanted = CORRUPTIONS[corruption]
    plant(run)
    problems = [str(problem) for problem in check(run)]
    assert any(wanted in problem for problem in problems), problems
    elsewhere = IDS[2:]
    assert not any(clip in problem for clip in elsewhere for problem in problems), problems


def test_sound_run_has_no_problems(finished_run):
    assert check(finished_run) == []


def test_index_with_later_columns_or_without_a_later_score_has_no_problems(run):
    table = index_rows(run)
    of_track = table.schema.field("tracks").type.value_type
    later = pa.list_(pa.field("item", pa.struct([pa.field("depth", pa.float64()), *of_track]), nullable=False))
    write_index(run, retyped(table, "tracks", later).append_column("later_score", pa.array([0.5] * table.num_rows)))
    assert check(run) == []
    # No record of the run has this score: it is as if nobody had thought of it yet.
    write_index(run, table.drop(["text_alignment"]))
    assert check(run) == []


def test_data_set_that_came_without_its_run_is_checked_by_its_index(run, tmp_path, caplog):
    for name in ("shards", "index"):
        shutil.copytree(run.folder.path(name), tmp_path / "passed on" / name)
    alone = Run(Folder(tmp_path / "passed on"))
    assert check(alone) == []
    assert "only its index says which clips and shards should be there" in caplog.text
    flip(alone, "mp4")
    assert [problem.what for problem in check(alone)] == [
        "mp4 has another hash than the index says",
        "the mp4 has another hash than its record says",
    ]
    alone.folder.remove("shards/vpdata-000002.tar")
    alone.folder.remove("index/vpdata-000001.parquet")
    missing = [problem.where for problem in check(alone) if problem.what.startswith("missing")]
    assert missing == ["shards/vpdata-000002.tar", "index/vpdata-000001.parquet"]
    edit_index(alone, "id", lambda clip: IDS[1])
    assert "planned 2 times" in str(check(alone)[0])
    alone.folder.write("index/vpdata-000000.parquet", b"PAR1")
    assert str(check(alone)[0]).startswith("index: vpdata-000000.parquet is damaged")


def test_stray_file_of_a_high_number_is_one_gap(run, tmp_path):
    for name in ("shards", "index"):
        shutil.copytree(run.folder.path(name), tmp_path / "passed on" / name)
    alone = Run(Folder(tmp_path / "passed on"))
    alone.folder.write("index/vpdata-300000.parquet", parquet_bytes(index_rows(run)[:0]))
    assert [str(problem) for problem in check(alone)] == [
        "index: the shards are not numbered from 0 without gaps: 3 is missing, the last is 300000",
        "shards/vpdata-300000.tar: missing; run the build's command again, or copy it anew",
    ]
    alone.folder.write("index/vpdata-300000.parquet", parquet_bytes(repeated(index_rows(run), "id")))
    assert [str(problem) for problem in check(alone)] == [
        "index: vpdata-300000.parquet repeats the column id; `--redo pack` makes the index anew"
    ]


def test_run_that_lost_its_settings_and_plan_is_not_taken_for_a_data_set_alone(run):
    run.folder.remove("run.yaml")
    run.folder.remove("pack-plan.parquet")
    with pytest.raises(RunError, match=r"holds no run\.yaml"):
        clean(run)
    assert len(run.stage_folder("cut").names(".tar")) == 3


def test_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"is not a run: it holds no run\.yaml"):
        check(Run(Folder(tmp_path)))


def test_record_of_another_schema_version_is_named(run):
    data = shard_bytes(run)
    assert data.count(b'"schema_version":1') == 2
    write_shard_bytes(run, data.replace(b'"schema_version":1', b'"schema_version":7', 1))
    assert any("got schema version 7" in str(problem) for problem in check(run))


def test_clean_removes_the_tars_of_cut_and_keeps_all_else(run):
    before = sum(run.stage_folder("cut").size(name) for name in run.stage_folder("cut").names(".tar"))
    cleaned = clean(run)
    assert (cleaned.num_files, cleaned.num_bytes) == (3, before)
    assert run.stage_folder("cut").names(".tar") == []
    assert run.stage_folder("cut").names("members.parquet")
    assert check(run) == []


def test_clean_removes_nothing_from_a_run_with_a_problem(run):
    flip(run, "mp4")
    with pytest.raises(RunError, match="nothing was removed"):
        clean(run)
    assert len(run.stage_folder("cut").names(".tar")) == 3
