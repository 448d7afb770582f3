"""The whole life of a run in an S3 bucket: packed, read, checked, counted, exported, cleaned."""

from __future__ import annotations

import numpy as np
import pytest

import vpdata
from tests.runs import make_footage, make_run, make_source
from tests.s3_server import bucket, s3_endpoint  # noqa: F401  fixtures
from vpdata.dataset.card import write_card
from vpdata.dataset.check import check
from vpdata.dataset.clean import clean
from vpdata.dataset.export import export
from vpdata.dataset.stats import write_stats
from vpdata.storage import Folder


@pytest.mark.slow
def test_run_in_a_bucket_does_all_that_a_local_one_does(bucket, tmp_path):  # noqa: F811  the fixture's name
    run = make_run(f"{bucket}/run", num_clips=3)
    local = make_run(tmp_path / "run", num_clips=3)
    for kind in ("shards", "index"):
        assert run.folder.child(kind).names() == local.folder.child(kind).names()
        for name in run.folder.child(kind).names():
            assert run.folder.child(kind).read(name) == local.folder.child(kind).read(name)
    assert check(run) == []
    seeds = {make_source(seed).id: seed for seed in range(3)}
    for sample in vpdata.open_dataset(f"{bucket}/run"):
        truth = make_footage(seeds[sample.id[:16]])
        assert np.array_equal(sample.tracks[1].masks, truth.masks["red square"])
        assert np.abs(sample.read_frames(4, 8).astype(int) - truth.frames[4:8]).mean() < 6
    assert len(vpdata.open_dataset(f"{bucket}/run/shards/vpdata-000001.tar")) == 1
    assert write_stats(run).num_clips == 3
    write_card(run)
    assert b"| clips | 3 |" in run.folder.read("README.md")
    assert clean(run).num_files == 2
    exported = export(run, f"{bucket}/exported", format="hf")
    assert exported.num_clips == 3
    assert Folder(f"{bucket}/exported/data").names() == [f"train-0000{number}-of-00002.parquet" for number in (0, 1)]


def test_damage_in_a_bucket_is_found(bucket):  # noqa: F811  the fixture's name
    run = make_run(f"{bucket}/run", num_clips=2)
    shards = run.folder.child("shards")
    data = bytearray(shards.read("vpdata-000000.tar"))
    data[600] ^= 1
    shards.write("vpdata-000000.tar", bytes(data))
    first = min(make_source(seed).id for seed in range(2))
    assert [problem.where for problem in check(run)] == [f"shards/vpdata-000000.tar: {first}-0-2000"] * len(check(run))
    assert check(run)
