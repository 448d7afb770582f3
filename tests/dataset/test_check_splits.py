"""`check` finds every clip that a split leaves to train on though it shares a source or a look with the benchmark."""

from __future__ import annotations

import logging
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.runs import make_run
from vpdata.cli import main
from vpdata.dataset.check import check
from vpdata.dataset.reader import open_dataset
from vpdata.dataset.split import SplitFacts, SplitRow, read_split, split_bytes
from vpdata.media.phash import distance_frac

FACTS = SplitFacts(name="bench", seed=0, look_alike_frac=0.0, look_alike_cosine=1.0)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", num_clips=5)


def clips_of(run):
    return [sample.record.clip for sample in open_dataset(run.folder.uri)]


def rows_for(clip):
    return [SplitRow(kind="video", id=clip.video.id), SplitRow(kind="clip", id=clip.id, phash=clip.phash)]


def problems(run, rows, facts=FACTS):
    run.folder.child("splits").write("bench.parquet", split_bytes(facts, rows))
    return [str(one) for one in check(run)]


def test_split_that_holds_out_all_it_must_is_well(run):
    clip = clips_of(run)[0]
    assert problems(run, rows_for(clip)) == []
    split = read_split(f"{run.folder.uri}/splits/bench.parquet")
    held = [one.id for one in clips_of(run) if split.holds_out(one.id, video_id=one.video.id)]
    assert held == [clip.id]


def test_clip_of_a_held_out_video_that_is_not_listed_is_found(run):
    clip = clips_of(run)[0]
    (problem,) = problems(run, rows_for(clip)[:1])
    assert problem == f"splits/bench.parquet: {clip.id} is of the held-out video {clip.video.id} and not listed"


def test_clip_whose_video_is_not_held_out_is_found(run):
    clip = clips_of(run)[0]
    (problem,) = problems(run, rows_for(clip)[1:])
    assert f"{clip.id} is held out, and its video is not" in problem


def test_look_alike_that_is_not_listed_is_found_at_the_split_s_own_limit(run):
    clip, *others = clips_of(run)
    distances = {one.id: distance_frac(clip.phash, one.phash) for one in others}
    nearest, limit = min(distances.items(), key=lambda item: item[1])
    facts = replace(FACTS, look_alike_frac=limit)
    alike = [name for name, distance in distances.items() if distance <= limit]
    found = problems(run, rows_for(clip), facts)
    assert len(found) == len(alike)
    assert any(f"{nearest} looks like {clip.id}, which is held out (distance {limit:.3f})" in one for one in found)
    assert problems(run, [*rows_for(clip), *(SplitRow(kind="look_alike", id=one) for one in alike)], facts) == []


def test_hash_that_is_not_the_clip_s_or_missing_is_found(run):
    video, row = rows_for(clips_of(run)[0])
    (problem,) = problems(run, [video, replace(row, phash="f" * len(row.phash))])
    assert "looks otherwise in the index" in problem
    (problem, _) = problems(run, [video, replace(row, phash=None)])
    assert "without its perceptual hash" in problem


def test_latents_of_clips_that_are_held_out_are_found(run, tmp_path, capsys):
    clip, other = clips_of(run)[:2]
    latents = tmp_path / "latents"
    (latents / "index").mkdir(parents=True)
    (latents / "latents.yaml").write_text("num_shards: 1\n")
    rows = {"clip_id": [other.id, clip.id, clip.id], "video_id": [other.video.id, clip.video.id, clip.video.id]}
    pq.write_table(pa.table(rows), latents / "index" / "latents-000000.parquet")
    command = ["check", run.folder.uri, "--latents", str(latents)]
    assert main(command) == 0, "nothing is held out yet"
    assert problems(run, rows_for(clip)) == []
    assert main(command) == 1
    said = capsys.readouterr().out
    assert said.count(f"{clip.id} is encoded, and held out by splits/bench.parquet") == 1
    assert other.id not in said
    assert main(["check", run.folder.uri, "--latents", str(tmp_path)]) == 1
    assert "holds no encoded latents" in capsys.readouterr().err


def test_damaged_file_is_named_and_one_by_hand_cannot_be_proved(run, caplog):
    folder = run.folder.child("splits")
    folder.write("bench.parquet", b"PAR1 and no more")
    assert ["bench.parquet is no split" in str(one) for one in check(run)] == [True]
    pq.write_table(pa.table({"kind": ["video"], "id": ["v"]}), folder.path("bench.parquet"))
    with caplog.at_level(logging.WARNING):
        assert check(run) == []
    assert "was not written by a benchmark" in caplog.text


def test_bytes_of_a_held_out_video_are_known_though_no_clip_of_it_is_left(run):
    clip = clips_of(run)[0]
    gone = SplitRow(kind="video", id="0123456789abcdef", content_hash=clip.video.content_hash)
    (problem,) = problems(run, [gone])
    assert problem == (
        f"splits/bench.parquet: {clip.id} is of a video with the same bytes as the held-out video {gone.id}"
    )
