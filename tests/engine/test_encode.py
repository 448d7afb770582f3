"""Encoding a data set: what comes out, what is refused, and what a death changes."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

import vpdata
from tests.engine.encodes import TinyEncode, encode, latents_of, start_driver
from tests.runs import make_run
from vpdata.dataset.latents import open_latents
from vpdata.dataset.split import Split
from vpdata.errors import ConfigError, RunError
from vpdata.stages.base import Resources


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of five clips. Only to be read."""
    folder = tmp_path_factory.mktemp("encode") / "run"
    make_run(folder, num_clips=5)
    return folder


@pytest.fixture(scope="module")
def encoded(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of it encoded in one go. Only to be read."""
    folder = tmp_path_factory.mktemp("encode") / "latents"
    summary = encode(run, folder)
    assert (summary.num_clips, summary.num_encoded, summary.num_shards, summary.num_rejects) == (5, 5, 3, 0)
    return folder


def ids_of(run: Path) -> list[str]:
    return vpdata.open_dataset(run).ids


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the lease, by its name."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lease.json"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_every_clip_is_encoded_from_its_own_video_and_caption(run: Path, encoded: Path) -> None:
    latents, dataset = open_latents(encoded), vpdata.open_dataset(run)
    assert [window.clip_id for window in latents.windows] == dataset.ids
    for window in latents.windows:
        sample, clip = latents.read(window), dataset.find(window.clip_id)
        assert torch.equal(sample.video, latents_of(clip.mp4))
        assert torch.equal(sample.texts["clip"], latents_of(clip.captions[0].text.encode()).reshape(-1, 1))


def test_folder_holds_shards_index_and_parts(encoded: Path) -> None:
    shards = [f"latents-{number:06d}" for number in range(3)]
    for folder, suffix in (("shards", "tar"), ("index", "parquet"), ("0-clips", "parquet")):
        assert sorted(path.name for path in (encoded / folder).iterdir()) == [f"{name}.{suffix}" for name in shards]
    assert {path.name for path in (encoded / "1-encode").iterdir() if path.is_file()} == {
        "stage.json", *(f"{name}.{suffix}" for name in shards for suffix in ("parquet", "members.parquet")),
    }  # fmt: skip


def test_second_run_starts_no_worker_and_writes_nothing(run: Path, encoded: Path) -> None:
    before = hashes(encoded)
    encode(run, encoded, stage=TinyEncode(deeds={"setup": "raise"}))
    assert hashes(encoded) == before


@pytest.mark.slow
def test_killed_driver_goes_on_to_the_same_bytes(run: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    encode(run, whole, clips_per_shard=5)
    cut_short = tmp_path / "cut-short"
    driver = start_driver(run, cut_short, sleep_s=1.0)
    try:
        deadline = time.monotonic() + 120
        while len(list((cut_short / "1-encode" / "progress").glob("*.json"))) < 2:
            assert driver.poll() is None, driver.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        driver.stderr.close()
    assert not list((cut_short / "index").glob("*.parquet"))
    with pytest.raises(RunError, match="got the index of 0 shards, wanted 1"):
        open_latents(cut_short)
    # A stage that can no longer do the first clip shows that finished clips are not done again.
    assert (
        encode(run, cut_short, stage=TinyEncode(deeds={ids_of(run)[0]: "reject"}), clips_per_shard=5).num_encoded == 5
    )
    assert hashes(cut_short) == hashes(whole)


@pytest.mark.slow
def test_clip_that_kills_its_worker_is_rejected_alone(run: Path, tmp_path: Path) -> None:
    ids = ids_of(run)
    summary = encode(run, tmp_path / "latents", stage=TinyEncode(deeds={ids[1]: "abort", ids[4]: "reject"}))
    assert (summary.num_encoded, summary.num_rejects) == (3, 2)
    reasons = {
        row["id"]: row["reason"]
        for path in (tmp_path / "latents" / "1-encode").glob("*.rejects.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    assert reasons == {ids[1]: "worker_crash", ids[4]: "no_window"}
    # The last shard has no clip at all, and is a whole shard all the same.
    assert [window.clip_id for window in open_latents(tmp_path / "latents").windows] == [ids[0], ids[2], ids[3]]


def test_held_out_clips_videos_and_look_alikes_are_left_out(run: Path, tmp_path: Path) -> None:
    ids = ids_of(run)
    split = Split(videos=frozenset({ids[0].split("-")[0]}), clips=frozenset({ids[3], "of-another-run"}))
    assert encode(run, tmp_path / "latents", split=split).num_clips == 3
    assert [window.clip_id for window in open_latents(tmp_path / "latents").windows] == [ids[1], ids[2], ids[4]]


def test_other_settings_other_clips_and_other_folders_are_refused(run: Path, encoded: Path, tmp_path: Path) -> None:
    before = hashes(encoded)
    with pytest.raises(RunError, match=r"seed: got 1, the run has None.*add --redo encode"):
        encode(run, encoded, stage=TinyEncode(settings={"seed": 1}))
    with pytest.raises(RunError, match=r"encoded from other clips.*data\.split"):
        encode(run, encoded, split=Split(clips=frozenset(ids_of(run)[:1])))
    with pytest.raises(RunError, match="encoded from other clips"):
        encode(run, encoded, clips_per_shard=3)
    with pytest.raises(RunError, match="neither empty nor latents"):
        encode(run, run)
    with pytest.raises(RunError, match="wanted a run folder that `vpdata build` has finished"):
        encode(tmp_path / "nothing", tmp_path / "latents")
    assert hashes(encoded) == before


def test_redo_makes_it_anew_with_other_settings(run: Path, tmp_path: Path) -> None:
    encode(run, tmp_path / "latents")
    summary = encode(run, tmp_path / "latents", stage=TinyEncode(settings={"seed": 1}), clips_per_shard=5, redo=True)
    assert (summary.num_encoded, summary.num_shards) == (5, 1)


def test_nothing_is_removed_for_a_redo_that_no_worker_could_run(run: Path, tmp_path: Path) -> None:
    encode(run, tmp_path / "latents")
    before = hashes(tmp_path / "latents")
    with pytest.raises(ConfigError, match="encode"):
        encode(run, tmp_path / "latents", stage=TinyEncode(resources=Resources(memory_gb=1e6)), redo=True)
    assert hashes(tmp_path / "latents") == before


def test_latents_whose_settings_are_lost_are_not_made_anew_unasked(run: Path, tmp_path: Path) -> None:
    encode(run, tmp_path / "latents")
    (tmp_path / "latents/1-encode/stage.json").unlink()
    before = hashes(tmp_path / "latents")
    with pytest.raises(RunError, match=r"lacks 1-encode/stage\.json.*--redo encode"):
        encode(run, tmp_path / "latents")
    assert hashes(tmp_path / "latents") == before
    assert encode(run, tmp_path / "latents", redo=True).num_encoded == 5


@pytest.mark.slow
@pytest.mark.ray
def test_ray_gives_the_same_bytes(run: Path, encoded: Path, tmp_path: Path) -> None:
    encode(run, tmp_path / "latents", kind="ray")
    assert hashes(tmp_path / "latents") == hashes(encoded)
