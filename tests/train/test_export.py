"""What a checkpoint holds, written as a finished training leaves it."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from tests.train.encoded import write_config, write_random_latents
from vpdata.cli import main


@pytest.fixture
def config(tmp_path) -> Path:
    """Of a training that is finished, with checkpoints at 8 and 12; a split held out two of its six clips."""
    torch.set_num_threads(1)
    write_random_latents(tmp_path / "latents")
    pq.write_table(pa.table({"kind": ["video"], "id": ["video-2"]}), tmp_path / "mine.parquet")
    config = write_config(tmp_path / "train.yaml", latents=tmp_path / "latents", output=tmp_path / "out")
    settings = yaml.safe_load(config.read_text())
    settings["data"]["split"] = str(tmp_path / "mine.parquet")
    config.write_text(yaml.safe_dump(settings))
    assert main(["train", "--config", str(config)]) == 0
    return config


def export(config: Path, step: int, *more: str) -> int:
    folder = config.parent / f"exported-{step}"
    return main(["train", "--config", str(config), "--export-step", str(step), "--export-to", str(folder), *more])


def test_checkpoint_is_written_as_the_last_step_would_have_been(config):
    assert export(config, 12) == 0
    assert export(config, 8) == 0
    finished = config.parent / "out" / "context_encoder"
    last, earlier = config.parent / "exported-12", config.parent / "exported-8"
    for name in ("model.safetensors", "config.json"):
        assert (last / name).read_bytes() == (finished / name).read_bytes()
    assert (earlier / "model.safetensors").read_bytes() != (finished / "model.safetensors").read_bytes()


def test_what_was_held_out_is_told_with_the_weights_and_with_those_that_start_from_them(config):
    split = config.parent / "mine.parquet"
    known = {"splits": [{"name": "mine.parquet", "sha256": hashlib.sha256(split.read_bytes()).hexdigest()}]}
    split.unlink()
    assert export(config, 8) == 0
    assert told(config.parent / "exported-8") == known
    first, longer = config.parent / "out/context_encoder", config.parent / "longer"
    sets = (f"start_from={first}", f"output={longer}", "data.split=none", "num_steps=2")
    assert main(["train", "--config", str(config), *(part for one in sets for part in ("--set", one))]) == 0
    assert told(longer / "context_encoder") == {"splits": [], "start_from": known}


def told(folder: Path) -> object:
    return json.loads((folder / "config.json").read_text())["training_data"]


def test_what_cannot_be_exported_is_named(config, capsys):
    assert export(config, 7) != 0
    assert "has no checkpoint of step 7, only of [8, 12]" in capsys.readouterr().err
    assert export(config, 8, "--set", "seed=1") != 0
    assert "another training: seed got 1, wanted 42" in capsys.readouterr().err
    assert main(["train", "--config", str(config), "--export-step", "8"]) != 0
    assert "wanted both or none" in capsys.readouterr().err


def test_nothing_is_exported_over_what_is_there(config, capsys):
    finished = config.parent / "out" / "context_encoder"
    before = (finished / "model.safetensors").read_bytes()
    over = ["--export-step", "8", "--export-to", str(finished)]
    assert main(["train", "--config", str(config), *over]) != 0
    assert "is not empty, wanted a new folder" in capsys.readouterr().err
    assert (finished / "model.safetensors").read_bytes() == before
