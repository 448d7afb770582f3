"""The command `vpdata encode` and the Ray job, from a run to latents of a tiny backbone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vpdata
from tests.runs import make_run
from vpdata.backbones.loading import fingerprint, load_codec
from vpdata.backbones.settings import BackboneSettings
from vpdata.cli import main
from vpdata.dataset.latents import open_latents
from vpdata.encode import load_config
from vpdata.errors import ConfigError

ROOT = Path(__file__).parents[1]
CONFIG = """
backbone: {tiny: wan-i2v, device: cpu, dtype: float32}
data: {split: none}
encode:
  windows: {height_px: 64, width_px: 96, fps: 12, num_frames: 9, pairs: [[9, 5, 13]]}
  resources: {gpus: 0, gpu_memory_gb: 0, memory_gb: 4, cpus: 1}
"""
BACKBONE = BackboneSettings(tiny="wan-i2v", device="cpu", dtype="float32")


@pytest.mark.slow
def test_job_and_command_encode_a_run_and_the_second_call_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    make_run(tmp_path / "run", num_clips=2)
    (tmp_path / "encode.yaml").write_text(CONFIG)
    arguments = ["--run", f"{tmp_path}/run", "--config", f"{tmp_path}/encode.yaml", "--output", f"{tmp_path}/latents"]
    arguments += ["--engine", "local"]
    job = [sys.executable, ROOT / "pipelines/encode_latents.py", *arguments]
    done = subprocess.run(job, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 clips gave 8 windows, 2 ID pairs among them, in 1 shard(s); 0 rejects" in done.stdout
    assert "NO CLIP IS HELD OUT" in done.stderr

    latents = open_latents(tmp_path / "latents", fingerprint=fingerprint(BACKBONE))
    clip, codec = vpdata.open_dataset(tmp_path / "run")[0], load_codec(BACKBONE)
    for window in latents.windows[:4]:
        sample = latents.read(window)
        frames = clip.read_frames(window.start_frame, window.start_frame + window.num_frames)
        video = torch.from_numpy(frames).permute(3, 0, 1, 2)[None] / 127.5 - 1
        assert torch.equal(sample.video, codec.encode(video)[0].to(torch.bfloat16))
        given = codec.first_frame(video[:, :, 0], num_frames=window.num_frames)
        assert torch.equal(sample.first_frame.latents, given.latents[0].to(torch.bfloat16))
        assert torch.equal(sample.first_frame.image_tokens, given.image_tokens[0].to(torch.bfloat16))
        assert not any(union[0].any() for union in sample.unions if window.name != "source")

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "latents").rglob("*.parquet")}
    assert main(["encode", *arguments]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "2 of 2 clips gave 8 windows" in capsys.readouterr().out
    assert main(["encode", *arguments, "--set", "encode.seed=1"]) == 1
    assert "encode.seed: got 1, the run has 0" in capsys.readouterr().err


def test_published_config_is_the_published_recipe() -> None:
    config = load_config(ROOT / "configs/train/encode.yaml")
    windows = config.encode.windows
    assert (windows.num_frames, windows.height_px, windows.width_px, windows.fps) == (49, 480, 720, 8)
    assert config.encode.num_variants == 2


def test_config_must_say_what_is_held_out() -> None:
    with pytest.raises(ConfigError, match="data: got no split"):
        load_config(ROOT / "configs/train/encode.yaml", ["data={}"])
