"""What a checkpoint holds, written as a finished training leaves it."""

from pathlib import Path

import pytest
import torch

from tests.train.encoded import write_config, write_random_latents
from vpdata.cli import main


@pytest.fixture
def config(tmp_path) -> Path:
    """Of a training that is finished, with checkpoints at 8 and 12."""
    torch.set_num_threads(1)
    write_random_latents(tmp_path / "latents")
    config = write_config(tmp_path / "train.yaml", latents=tmp_path / "latents", output=tmp_path / "out")
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
