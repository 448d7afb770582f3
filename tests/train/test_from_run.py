"""Both stages from the clips of a run: encoded once beforehand, or on the fly."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from tests.runs import make_run
from vpdata.backbones.identity_saving import load_id_adapter
from vpdata.backbones.loading import load_backbone
from vpdata.backbones.settings import BackboneSettings
from vpdata.cli import main
from vpdata.dataset.latents import open_latents

WINDOWS = {"height_px": 32, "width_px": 48, "fps": 8, "num_frames": 5, "pairs": [[5, 5, 5]]}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    make_run(folder, num_clips=4)
    return folder


def write_config(folder: Path, name: str, *, tiny: str, data: dict[str, object], **changes: object) -> list[str]:
    """The YAML of a training of 4 steps in `folder`/`name`, as arguments of the command."""
    config = {
        "output": str(folder / name),
        "num_steps": 4,
        "backbone": {"tiny": tiny, "device": "cpu", "dtype": "float32"},
        "optimizer": {"learning_rate": 1e-3, "warmup_steps": 1},
        "data": {"split": "none", "validation_frac": 0.3, "loader": {"batch_size": 2, "num_threads": 1}, **data},
        "checkpoints": {"every_steps": 2, "keep_last": 2},
        "watch": {"log_every_steps": 1, "validate_every_steps": 2, "validation_steps": 1},
        **changes,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    return ["--config", str(path)]


def losses_in(output: Path, kind: str = "train") -> list[float]:
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == kind]


def test_clips_that_are_encoded_on_the_fly_train_and_go_on_bit_by_bit(run, tmp_path):
    data = {"run": str(run), "online": {"windows": WINDOWS}}
    whole = write_config(tmp_path, "whole", tiny="wan", data=data)
    assert main(["train", *whole]) == 0
    assert len(losses_in(tmp_path / "whole")) == 4
    assert len(losses_in(tmp_path / "whole", "validation")) == 3
    stopped = write_config(tmp_path, "stopped", tiny="wan", data=data)
    assert main(["train", *stopped, "--set", "stop_at_step=3"]) == 75
    assert main(["train", *stopped]) == 0
    assert losses_in(tmp_path / "stopped") == losses_in(tmp_path / "whole")


def test_training_on_the_halves_of_a_run_is_the_training_on_the_run(run, tmp_path):
    whole = write_config(tmp_path, "whole", tiny="wan", data={"run": str(run), "online": {"windows": WINDOWS}})
    assert main(["train", *whole, "--set", "stop_at_step=2"]) == 75
    halves = [f"{run}/shards/vpdata-00000{number}.tar" for number in (1, 0)]
    assert main(["train", *whole, "--set", f"data.run=[{', '.join(halves)}]"]) == 0
    assert len(losses_in(tmp_path / "whole")) == 4


@pytest.mark.slow
def test_adapter_is_trained_on_encoded_pairs_behind_the_first_stage(run, tmp_path):
    encode = {
        "backbone": {"tiny": "wan-i2v", "device": "cpu", "dtype": "float32"},
        "data": {"split": "none"},
        "encode": {"windows": WINDOWS, "resources": {"cpus": 1, "gpus": 0, "memory_gb": 4, "gpu_memory_gb": 0}},
    }
    (tmp_path / "encode.yaml").write_text(yaml.safe_dump(encode))
    latents = tmp_path / "latents"
    arguments = ["--run", str(run), "--config", str(tmp_path / "encode.yaml"), "--output", str(latents)]
    assert main(["encode", *arguments, "--engine", "local"]) == 0
    assert sum(window.name == "target" for window in open_latents(latents).windows) == 4

    data = {"latents": str(latents)}
    assert main(["train", *write_config(tmp_path, "first", tiny="wan-i2v", data=data)]) == 0
    second = write_config(
        tmp_path,
        "second",
        tiny="wan-i2v",
        data=data,
        stage="id_adapter",
        context_encoder=str(tmp_path / "first" / "context_encoder"),
        identity={"rank": 4, "alpha": 4},
    )
    assert main(["train", *second]) == 0
    assert len(losses_in(tmp_path / "second")) == 4
    backbone = load_backbone(BackboneSettings(tiny="wan-i2v", device="cpu", dtype="float32"))
    adapter = load_id_adapter(tmp_path / "second" / "id_adapter", backbone)
    assert all(parameter.any() for parameter in adapter.parameters())

    assert main(["sample", *second, "--num-clips", "1", "--num-steps", "2"]) == 0
    (video,) = (tmp_path / "second" / "samples" / "step-00000004").iterdir()
    assert video.suffix == ".mp4"
