"""The benchmark of the GPU stages: its models are of published size, its workload is what it says, all rows run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import pytest

pytest.importorskip("transformers")
torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")

from transformers import GenerationMixin

from benchmark.perf.gpu_pipeline import checkpoints, command, workload
from benchmark.perf.gpu_pipeline.gauge import read_samples
from benchmark.perf.gpu_pipeline.settings import settings_on
from benchmark.perf.gpu_pipeline.table import Measured, tables
from vpdata.config import fill
from vpdata.media.clips import ClipReader
from vpdata.media.masks import bounding_box, decode_mask, mask_iou
from vpdata.models.check_clip import ASK, make_clip
from vpdata.models.huggingface.vlm import VlmCaptioner, VlmSettings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "num_parameters"),
    [
        pytest.param("captioner", 8_767_123_696, marks=pytest.mark.slow),  # of Qwen/Qwen3-VL-8B-Instruct on the hub
        ("clip", 427_616_513),  # of OpenAI's ViT-L/14
        ("nsfw-classifier", 86e6),  # of ViT-B/16 in Dosovitskiy et al. 2021, table 1
        ("tracker", 224.4e6),  # of SAM 2.1 large in its authors' table
        ("detector", 0.93e9 / 4),  # of the file of grounding-dino-base, float32
    ],
)
def test_full_size_models_have_the_published_number_of_parameters(name, num_parameters):
    with torch.device("meta"):
        network = checkpoints.NETWORKS[name](checkpoints.FULL)
    found = sum(parameter.numel() for parameter in network.parameters())
    assert found == pytest.approx(num_parameters, rel=0 if isinstance(num_parameters, int) else 0.005)


@pytest.fixture(scope="module")
def clips():
    return workload.make_clips(5, workload.TINY)


def test_each_clip_has_three_objects_apart_on_a_key_frame(clips):
    for clip in clips:
        assert len(clip.detections) == len(clip.tracks) == 3
        assert len({one.frame for one in clip.detections}) == 1
        for one, other in combinations(clip.detections, 2):
            x_apart = one.box[2] <= other.box[0] or other.box[2] <= one.box[0]
            y_apart = one.box[3] <= other.box[1] or other.box[3] <= one.box[1]
            assert x_apart or y_apart


def test_boxes_are_those_of_the_true_masks(clips):
    size = {"height_px": 64, "width_px": 96}
    for detection, track in zip(clips[0].detections, clips[0].tracks, strict=True):
        mask = decode_mask(track.masks[detection.frame], **size)
        assert bounding_box(mask) == detection.box
    masks = [decode_mask(track.masks[clips[0].detections[0].frame], **size) for track in clips[0].tracks]
    assert all(mask_iou(*pair) == 0 for pair in combinations(masks, 2))


def test_clips_play_as_their_records_say_under_ids_of_their_own(clips):
    assert len({clip.record.id for clip in clips}) == 5
    reader = ClipReader(clips[4].media, sha256=clips[4].record.clip.sha256)
    assert (reader.num_frames, reader.fps) == (16, 8)
    assert (reader.width_px, reader.height_px) == (96, 64)


def test_full_size_clips_are_of_ten_seconds_at_720x480():
    format = workload.FULL
    assert (format.width_px, format.height_px, format.num_frames / format.fps) == (720, 480, 10.0)


def test_gauge_averages_what_the_driver_says_and_leaves_out_a_broken_line():
    reading = read_samples("80, 1000\n[N/A], 3000\n90, 2000\n9", wall_s=1.0)
    assert reading.busy_frac == pytest.approx(0.85)
    assert reading.peak_gb == pytest.approx(3000 * 1048576 / 1e9)
    nothing = read_samples("", wall_s=1.0)
    assert (nothing.busy_frac, nothing.peak_gb) == (None, None)


def measured(row, stage, clips_per_s, *, busy_frac=0.9, device="NVIDIA H200", is_tiny=False):
    return Measured(
        row=row, stage=stage, clips_per_s=clips_per_s, busy_frac=busy_frac, peak_gb=1.0, num_clips=4, num_workers=1,
        device=device, is_tiny=is_tiny,
    )  # fmt: skip


def test_whole_path_is_the_sum_of_its_stages_and_becomes_gpu_hours():
    # 1 + 4 + 5 s a clip; 312,012 clips of 10 s in 866.7 h.
    ours = [measured("ours", stage, rate) for stage, rate in (("detect", 1.0), ("track", 0.25), ("caption", 0.2))]
    plain = [measured("plain", stage, 0.12) for stage in ("detect", "track", "caption")]
    text = tables([*plain, *ours])
    assert "| ours | 0.100 | 1.00 | 867 |" in text
    assert "| plain | 0.040 | 2.50 | 2,167 |" in text
    assert "On NVIDIA H200:" in text
    assert "FAIL  ours / plain: got 2.50, wanted 3.00" in text
    assert "OPEN  ours / batched: not measured, wanted 1.30" in text
    assert "PASS  GPU busy in track: got 90%, wanted 85%" in text


def test_what_did_not_fit_or_was_tiny_meets_no_target():
    text = tables([measured("batched", "caption", None), measured("ours", "caption", 9.0)])
    assert "out of memory" in text
    assert "OPEN  ours / batched: not measured, wanted 1.30" in text
    assert "OPEN  GPU busy in track: not measured, wanted 85%" in text
    assert "PASS" not in tables([measured("ours", "caption", 9.0, is_tiny=True)])


def test_our_captioner_writes_texts_of_exactly_the_length_asked_for(tmp_path, monkeypatch):
    checkpoints.save_checkpoints(tmp_path, (checkpoints.CAPTIONER,), is_tiny=True, device="cpu")
    lengths, generate = [], GenerationMixin.generate

    def recorded(self, **inputs):
        tokens = generate(self, **inputs)
        lengths.append(tokens.shape[1] - inputs["input_ids"].shape[1])
        return tokens

    monkeypatch.setattr(GenerationMixin, "generate", recorded)
    options = settings_on(tmp_path, is_tiny=True).caption.captioner.options
    captioner = VlmCaptioner(fill(VlmSettings, dict(options) | {"max_new_tokens": 70}))
    ASK["captioner"](captioner, make_clip())
    assert lengths == [70]


@pytest.mark.slow
def test_without_a_gpu_the_tiny_setting_runs_and_says_so(tmp_path):
    file = tmp_path / "results.json"
    options = ("--rows", "plain", "--stages", "track", "--clips", "1")
    places = ("--folder", str(tmp_path), "--results", str(file))
    done = subprocess.run(
        [sys.executable, "-m", "benchmark.perf.gpu_pipeline", *options, *places],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.startswith("torch finds no GPU here")
    assert "its figures say nothing of the targets" in done.stderr
    assert "On CPU:" in done.stdout
    assert "no figure means more" in done.stdout
    assert "PASS" not in done.stdout
    (row,) = json.loads(file.read_text())
    assert (row["is_tiny"], row["device"]) == (True, "CPU")
    # A later call with a GPU would else take these for full-size ones.
    assert not (tmp_path / "weights").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_figures_of_full_size_are_not_mixed_with_tiny_ones(tmp_path, monkeypatch, capsys):
    file = tmp_path / "results.json"
    file.write_text(json.dumps([asdict(measured("ours", "track", 1.0, device="CPU"))]))
    monkeypatch.setattr(sys, "argv", ["gpu_pipeline", "--results", str(file)])
    with pytest.raises(SystemExit, match="full-size models on CPU: give another file"):
        command.main()
    assert "torch finds no GPU here" in capsys.readouterr().err


def test_figures_of_another_device_or_size_are_not_mixed(tmp_path, monkeypatch):
    file = tmp_path / "results.json"
    file.write_text(json.dumps([asdict(measured("ours", "track", 1.0))]))
    monkeypatch.setattr(sys, "argv", ["gpu_pipeline", "--tiny", "--results", str(file)])
    with pytest.raises(SystemExit, match="full-size models on NVIDIA H200: give another file"):
        command.main()


@pytest.mark.parametrize("wanted", ["0", "ours=0", "ours", "mine=3", "ours=3;plain=2"])
def test_number_of_clips_that_is_none_is_refused(wanted, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu_pipeline", "--tiny", "--clips", wanted])
    with pytest.raises(SystemExit):
        command.main()
    assert f"got '{wanted}', wanted a number or such as ours=32" in capsys.readouterr().err


@pytest.mark.slow
def test_every_row_of_every_stage_runs_on_tiny_models(tmp_path):
    file = tmp_path / "results.json"
    call = [sys.executable, "-m", "benchmark.perf.gpu_pipeline", "--tiny", "--results", str(file)]
    call += ["--clips", "ours=3,plain=1"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    found = {(row["row"], row["stage"]): (row["num_clips"], row["clips_per_s"]) for row in json.loads(file.read_text())}
    assert len(found) == 9
    assert {row: num_clips for (row, _), (num_clips, _) in found.items()} == {"ours": 3, "batched": 2, "plain": 1}
    assert all(rate > 0 for _, rate in found.values())
    assert "no figure means more" in done.stdout
    assert "PASS" not in done.stdout
