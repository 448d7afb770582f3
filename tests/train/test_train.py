"""A whole training, from encoded latents to a context encoder that can be loaded."""

import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from tests.train.encoded import BACKBONE, write_config, write_random_latents
from tests.train.fixtures import backbone, settings_for
from tests.train.processes import FINGERPRINT, train_here, train_in_processes
from vpdata.backbones.loading import load_backbone, load_text_encoder
from vpdata.backbones.saving import load_context_encoder
from vpdata.config import fill, read_yaml
from vpdata.dataset import lease
from vpdata.errors import BackendError, ConfigError, RunError
from vpdata.storage import Folder
from vpdata.train.empty_text import empty_text
from vpdata.train.parallel import ParallelSettings
from vpdata.train.settings import TrainSettings
from vpdata.train.sheet import write_sheet
from vpdata.train.train import train
from vpdata.train.world import joined_world

CONFIGS = Path(__file__).parents[2] / "configs" / "train"


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def latents(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("latents")
    write_random_latents(folder)
    return folder


def settings_of(config: Path) -> TrainSettings:
    return fill(TrainSettings, read_yaml(config))


def test_training_leaves_an_encoder_that_loads_with_one_call(latents, tmp_path):
    settings = settings_of(write_config(tmp_path / "train.yaml", latents=latents, output=tmp_path / "out"))
    assert train(settings) == "finished"
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    held_out = [line["loss"] for line in lines if line["kind"] == "validation"]
    assert held_out[-1] < held_out[0]
    loaded = load_context_encoder(tmp_path / "out" / "context_encoder", load_backbone(BACKBONE))
    assert any(output.weight.abs().sum() > 0 for output in loaded.encoder.outputs)
    write_sheet(tmp_path / "out" / "sheet.png", settings)
    assert (tmp_path / "out" / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_finished_training_that_is_called_again_does_nothing(latents, tmp_path):
    settings = settings_of(write_config(tmp_path / "train.yaml", latents=latents, output=tmp_path / "out"))
    train(settings)
    before = (tmp_path / "out" / "metrics.jsonl").read_bytes()
    assert train(settings) == "finished"
    assert (tmp_path / "out" / "metrics.jsonl").read_bytes() == before


def test_second_training_in_one_output_is_refused_by_name(latents, tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.1)
    settings = settings_of(write_config(tmp_path / "train.yaml", latents=latents, output=tmp_path / "out"))
    with (
        lease.hold(Folder(tmp_path / "out")),
        pytest.raises(RunError, match=rf"out is in use by pid {os.getpid()} on {socket.gethostname()} since 20"),
    ):
        train(settings)
    assert list((tmp_path / "out").iterdir()) == []
    assert train(settings) == "finished"
    assert not (tmp_path / "out" / "lease.json").exists()


@pytest.mark.slow
def test_sharded_training_saves_the_encoder_whole(tmp_path):
    parallel = ParallelSettings(mode="fsdp")
    assert train_in_processes(settings_for(tmp_path / "two", parallel=parallel), num_processes=2, micro=1) == [0, 0]
    train_here(settings_for(tmp_path / "one"))
    two, one = (
        load_context_encoder(tmp_path / name / "context_encoder", backbone(), fingerprint=FINGERPRINT).encoder
        for name in ("two", "one")
    )
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def test_latents_of_another_backbone_are_refused(tmp_path):
    write_random_latents(tmp_path / "latents", changed_fingerprint="0" * 16)
    config = write_config(tmp_path / "train.yaml", latents=tmp_path / "latents", output=tmp_path / "out")
    with pytest.raises(RunError, match="of another backbone"):
        train(settings_of(config))


def test_start_with_another_backbone_leaves_no_empty_caption_for_the_right_one(latents, tmp_path):
    config = write_config(tmp_path / "train.yaml", latents=latents, output=tmp_path / "out", num_steps=1)
    settings = settings_of(config)
    with pytest.raises(RunError, match="of another backbone"):
        train(replace(settings, backbone=replace(BACKBONE, tiny="cogvideox")))
    assert list((tmp_path / "out").iterdir()) == []
    # A run's clips fit any backbone: that start may well come as far as to the empty caption.
    with joined_world("cpu") as world:
        other = empty_text(tmp_path / "out", backbone=replace(BACKBONE, tiny="cogvideox"), world=world)
        mine = empty_text(tmp_path / "out", backbone=BACKBONE, world=world)
    (wanted,) = load_text_encoder(BACKBONE).encode([""])
    assert torch.equal(mine, wanted.to(torch.bfloat16))
    assert not (other.shape == mine.shape and torch.equal(other, mine))


def test_encoder_is_refused_by_another_backbone(latents, tmp_path):
    config = write_config(tmp_path / "train.yaml", latents=latents, output=tmp_path / "out", num_steps=1)
    train(settings_of(config))
    other = load_backbone(replace(BACKBONE, tiny="cogvideox"))
    with pytest.raises(BackendError, match="trained on family wan"):
        load_context_encoder(tmp_path / "out" / "context_encoder", other)


def test_latents_that_changed_stop_a_training_from_going_on(latents, tmp_path):
    config = write_config(tmp_path / "train.yaml", latents=latents, output=tmp_path / "out", stop_at_step=3)
    assert train(settings_of(config)) == "stopped"
    recorded = yaml.safe_load((tmp_path / "out" / "run.yaml").read_text())
    recorded["windows"] = "0" * 16
    (tmp_path / "out" / "run.yaml").write_text(yaml.safe_dump(recorded))
    with pytest.raises(RunError, match="windows got"):
        train(settings_of(config))


def test_split_that_changed_stops_a_training_from_going_on(latents, tmp_path):
    split = tmp_path / "split.parquet"
    data = {"latents": str(latents), "split": str(split), "validation_frac": 0.1, "loader": {"batch_size": 2}}
    config = write_config(tmp_path / "train.yaml", latents=latents, output=tmp_path / "out", data=data, stop_at_step=2)
    pq.write_table(pa.table({"kind": ["video"], "id": ["elsewhere"]}), split)
    assert train(settings_of(config)) == "stopped"
    pq.write_table(pa.table({"kind": ["video"], "id": ["video-0"]}), split)
    with pytest.raises(RunError, match="windows got"):
        train(settings_of(config))


def test_videos_that_are_all_watched_leave_nothing_to_train_on(latents, tmp_path):
    data = {"latents": str(latents), "split": "none", "validation_frac": 0.9}
    config = write_config(tmp_path / "train.yaml", latents=latents, output=tmp_path / "out", data=data)
    with pytest.raises(ConfigError, match="none is left to train on"):
        train(settings_of(config))


def test_depth_that_does_not_fit_the_backbone_claims_no_output(latents, tmp_path):
    encoder = {"num_layers": 3}
    config = write_config(tmp_path / "train.yaml", latents=latents, output=tmp_path / "out", encoder=encoder)
    with pytest.raises(ConfigError, match=r"encoder.num_layers to one of 1, 2, 4"):
        train(settings_of(config))
    assert not (tmp_path / "out" / "run.yaml").exists()


def test_output_on_a_store_is_refused():
    with pytest.raises(ValueError, match="a disk that all processes share"):
        settings_for("s3://bucket/out")


@pytest.mark.parametrize(
    ("name", "learning_rate", "num_steps"),
    [
        ("context_encoder", 1e-5, 80_000),
        ("id_adapter", 5e-5, 2000),
        ("paper", 1e-5, 80_000),
        ("demo", 1e-3, 200),
        ("demo_id_adapter", 1e-3, 40),
    ],
)
def test_published_configs_are_valid(name, learning_rate, num_steps):
    settings = settings_of(CONFIGS / f"{name}.yaml")
    assert (settings.optimizer.learning_rate, settings.num_steps) == (learning_rate, num_steps)
