"""From a folder to batches: what fits the backbone, and which clips are left."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.runs import make_run
from tests.train.encoded import BACKBONE, write_random_latents
from vpdata.backbones.settings import BackboneSettings
from vpdata.dataset.training_windows import WindowSettings
from vpdata.errors import ConfigError
from vpdata.train.data import Data, DataSettings, open_data
from vpdata.train.online_batches import OnlineSettings
from vpdata.train.planned import LoaderSettings
from vpdata.train.world import World, joined_world

LTX = BackboneSettings(tiny="ltx", frame_rate=8, device="cpu", dtype="float32")


@pytest.fixture
def world():
    torch.set_num_threads(1)
    with joined_world("cpu") as world:
        yield world


def opened(settings: DataSettings, backbone: BackboneSettings, *, output: Path, world: World) -> Data:
    return open_data(settings, backbone=backbone, output=output, pairs=False, seed=1, world=world)


@pytest.mark.slow
def test_ltx_that_is_told_another_frame_rate_than_the_windows_have_is_warned_of(tmp_path, world, caplog):
    make_run(tmp_path / "run", num_clips=2)
    windows = WindowSettings(height_px=32, width_px=32, num_frames=9, pairs=())
    loader = LoaderSettings(batch_size=1)
    settings = DataSettings(
        run=str(tmp_path / "run"), online=OnlineSettings(windows=windows), split="none", loader=loader
    )
    with caplog.at_level("WARNING"):
        assert opened(settings, LTX, output=tmp_path, world=world).fps == 8
        assert "frames a second" not in caplog.text
        opened(settings, replace(LTX, frame_rate=None), output=tmp_path, world=world)
    assert "windows have 8 frames a second, but this LTX is told 25" in caplog.text


def test_empty_latents_are_said_to_be_empty(tmp_path, world):
    write_random_latents(tmp_path / "latents", num_clips=0)
    settings = DataSettings(latents=str(tmp_path / "latents"), split="none", validation_frac=0.0)
    with pytest.raises(ConfigError, match=r"latents is empty: it holds no clip to train on"):
        opened(settings, BACKBONE, output=tmp_path, world=world)


def test_split_that_holds_out_all_videos_is_named(tmp_path, world):
    write_random_latents(tmp_path / "latents")
    split = tmp_path / "split.parquet"
    pq.write_table(pa.table({"kind": ["video"] * 3, "id": ["video-0", "video-1", "video-2"]}), split)
    settings = DataSettings(latents=str(tmp_path / "latents"), split=str(split))
    with pytest.raises(ConfigError, match=r"all 3 videos are held out by data.split .*split.parquet"):
        opened(settings, BACKBONE, output=tmp_path, world=world)


def test_latents_of_another_size_or_mask_mix_are_not_the_same_training(tmp_path, world):
    digests = set()
    for changes in ({}, {}, {"num_frames": 9}, {"hole_fracs": (0.1, 0.2)}, {"variant_kinds": ("track", "brush")}):
        folder = tmp_path / f"latents-{len(list(tmp_path.iterdir()))}"
        write_random_latents(folder, **changes)
        settings = DataSettings(latents=str(folder), split="none", loader=LoaderSettings(batch_size=1))
        digests.add(opened(settings, BACKBONE, output=tmp_path / "out", world=world).digest)
    assert len(digests) == 4
