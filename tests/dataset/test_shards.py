"""Shards and index, read by the tools that users have: tarfile, webdataset, datasets, pycocotools, duckdb."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import duckdb
import numpy as np
import pytest
import webdataset
from pycocotools import mask as coco

from tests.runs import NUM_FRAMES, make_footage, make_run, make_source
from vpdata.dataset import layout
from vpdata.dataset.run import read_rows
from vpdata.dataset.shards import PackEntry, TarWriter, write_shard
from vpdata.errors import RunError


def shard_paths(run) -> list[str]:
    return sorted(str(path) for path in Path(run.folder.uri, "shards").glob("*.tar"))


def plan_of(run, shard: int) -> list[PackEntry]:
    return [entry for entry in read_rows(run.folder, layout.PACK_PLAN, PackEntry) if entry.shard == shard]


def test_tar_opens_with_tarfile_and_members_lie_where_told():
    buffer = io.BytesIO()
    writer = TarWriter(buffer)
    contents = {("a-0-1", "json"): b"{}", ("a-0-1", "mp4"): bytes(513), ("b" * 128, "masks.json"): b"x" * 512}
    members = [writer.add(clip, suffix, content) for (clip, suffix), content in contents.items()]
    writer.finish()
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as tar:
        found = tar.getmembers()
    assert [info.name for info in found] == [f"{clip}.{suffix}" for clip, suffix in contents]
    assert {(info.mtime, info.uid, info.gid, info.uname, info.mode) for info in found} == {(0, 0, 0, "", 0o644)}
    assert [info.offset_data for info in found] == [member.offset for member in members]
    for member, content in zip(members, contents.values(), strict=True):
        assert buffer.getvalue()[member.offset : member.offset + member.num_bytes] == content


def test_tar_continued_after_a_stop_has_the_same_bytes():
    whole = io.BytesIO()
    writer = TarWriter(whole)
    for name in "abc":
        writer.add(name, "mp4", name.encode() * 700)
    writer.finish()
    stopped = io.BytesIO()
    first = TarWriter(stopped)
    first.add("a", "mp4", b"a" * 700)
    good = first.num_bytes
    first.add("b", "mp4", b"torn")
    stopped.truncate(good)
    stopped.seek(good)
    second = TarWriter(stopped)
    for name in "bc":
        second.add(name, "mp4", name.encode() * 700)
    second.finish()
    assert stopped.getvalue() == whole.getvalue()


def test_equal_runs_have_equal_bytes(finished_run, tmp_path):
    again = make_run(tmp_path / "again", num_clips=5)
    for kind in (layout.SHARDS, layout.INDEX):
        names = finished_run.folder.child(kind).names()
        assert len(names) == 3
        assert names == again.folder.child(kind).names()
        for name in names:
            assert finished_run.folder.child(kind).read(name) == again.folder.child(kind).read(name)


def test_order_of_the_plan_does_not_change_the_shard(run):
    before = run.folder.child(layout.SHARDS).read(layout.shard_file(0))
    write_shard(run, plan_of(run, 0)[::-1], shard=0)
    assert run.folder.child(layout.SHARDS).read(layout.shard_file(0)) == before


def test_samples_stand_in_the_order_of_their_ids(finished_run):
    names = []
    for path in shard_paths(finished_run):
        with tarfile.open(path) as tar:
            names += tar.getnames()
    ids = sorted(make_source(seed).id + "-0-2000" for seed in range(5))
    assert names == [f"{one}.{suffix}" for one in ids for suffix in ("json", "masks.json", "mp4")]


def test_clip_that_the_part_does_not_hold_stops_the_pack_and_leaves_no_files(run):
    entry = PackEntry(clip_id="0123456789abcdef-0-2000", part="part-00000", shard=9)
    with pytest.raises(RunError, match=r"0123456789abcdef-0-2000.*part-00000"):
        write_shard(run, [entry], shard=9)
    assert not run.folder.exists("shards/vpdata-000009.tar")
    assert not run.folder.exists("index/vpdata-000009.parquet")


def test_clip_whose_bytes_changed_since_cut_stops_the_pack(run):
    tar = run.stage_folder("cut").path("part-00000.tar")
    tar.write_bytes(tar.read_bytes().replace(b"ftyp", b"FTYP"))
    with pytest.raises(RunError, match="another hash"):
        write_shard(run, [entry for shard in range(3) for entry in plan_of(run, shard)], shard=0)


def test_webdataset_reads_every_sample(finished_run):
    samples = list(webdataset.WebDataset(shard_paths(finished_run), shardshuffle=False).decode())
    assert [sample["__key__"] for sample in samples] == sorted(make_source(seed).id + "-0-2000" for seed in range(5))
    for sample in samples:
        assert sample["json"]["id"] == sample["__key__"]
        assert hashlib.sha256(sample["mp4"]).hexdigest() == sample["json"]["clip"]["sha256"]


def test_pycocotools_decodes_a_whole_track_at_once(finished_run):
    samples = webdataset.WebDataset(shard_paths(finished_run), shardshuffle=False).decode()
    seeds = {make_source(seed).id: seed for seed in range(5)}
    for sample in samples:
        truth = make_footage(seeds[sample["json"]["clip"]["video"]["id"]]).masks
        labels = [track["label"] for track in sample["json"]["tracks"]]
        for label, track in zip(labels, sample["masks.json"]["tracks"], strict=True):
            masks = coco.decode(track["masks"])
            assert masks.shape[2] == NUM_FRAMES
            assert np.array_equal(masks.transpose(2, 0, 1).astype(bool), truth[label])


def test_datasets_reads_every_sample(finished_run, tmp_path):
    datasets = pytest.importorskip("datasets")
    files = {"train": shard_paths(finished_run)}
    loaded = datasets.load_dataset("webdataset", data_files=files, split="train", cache_dir=str(tmp_path))
    loaded = loaded.cast_column("mp4", datasets.Video(decode=False))
    assert loaded.num_rows == 5
    for row in loaded:
        assert hashlib.sha256(row["mp4"]["bytes"]).hexdigest() == row["json"]["clip"]["sha256"]
        assert row["masks.json"]["tracks"][0]["masks"][0]["size"] == [64, 96]


def test_duckdb_queries_scores_captions_and_tracks(finished_run):
    pattern = f"{finished_run.folder.uri}/index/*.parquet"
    rows = duckdb.execute(
        f"""select video_uri, motion, sharpness is null, caption, len(tracks),
                   list_max([track.mean_area_frac for track in tracks])
            from '{pattern}' where motion > 1 order by motion"""
    ).fetchall()
    assert [row[1] for row in rows] == [1.5, 2.5, 3.5, 4.5]
    assert rows[1] == (
        "footage/squares 2.mp4",
        2.5,
        True,
        "Clip 2: a red square crosses a blue one.",
        2,
        24 * 24 / 6144,
    )


def test_tags_can_be_queried_and_lie_in_the_record(finished_run):
    pattern = f"{finished_run.folder.uri}/index/*.parquet"
    ((num_clips,),) = duckdb.execute(
        f"select count(*) from '{pattern}' where list_contains(tags, 'blue square')"
    ).fetchall()
    assert num_clips == 5
    for sample in webdataset.WebDataset(shard_paths(finished_run), shardshuffle=False).decode():
        assert sample["json"]["tags"] == ["red square", "blue square"]


def test_duckdb_finds_a_member_by_offset(finished_run):
    query = f"select shard, mp4_offset, mp4_num_bytes, mp4_sha256 from '{finished_run.folder.uri}/index/*.parquet'"
    for shard, offset, num_bytes, sha256 in duckdb.execute(query).fetchall():
        data = Path(finished_run.folder.uri, "shards", shard).read_bytes()[offset : offset + num_bytes]
        assert hashlib.sha256(data).hexdigest() == sha256


def test_the_package_itself_needs_no_webdataset(finished_run):
    code = (
        "import sys, vpdata, vpdata.dataset.shards\n"
        f"next(iter(vpdata.open_dataset({finished_run.folder.uri!r}))).frames\n"
        "assert not {'webdataset', 'datasets', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
