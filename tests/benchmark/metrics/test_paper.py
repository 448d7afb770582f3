from __future__ import annotations

import numpy as np
import open_clip
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError

from benchmark.__main__ import main
from benchmark.metrics.feature_files import read_features
from benchmark.results import MethodRecord, Outcome, Results
from benchmark.running import fingerprint
from tests.benchmark.benches import FPS, make_bench
from tests.benchmark.metrics.networks import save_video_network
from tests.models.tiny_clip import IMAGE_SIZE_PX, save_tiny_clip
from vpdata.models.weights import WEIGHTS_VARIABLE
from vpdata.storage import Folder

TABLE = "scores-paper.parquet"


@pytest.fixture
def made(tmp_path):
    """A case of 6 frames, and a method that gives other frames than the truth."""
    made = make_bench(tmp_path / "bench", num_short=1, num_long=0, num_edits=0, num_frames=6)
    results = Results(tmp_path / "results")
    results.begin(MethodRecord(name="upside", kind="folder", settings={}, bench=fingerprint(made.bench)))
    for case in made.bench.cases:
        frames = made.bench.sampled(case).frames[:, ::-1].copy()
        results.keep("upside", case.id, frames, Outcome(status="ok", seconds=1.0), fps=FPS)
    return made, results


def test_pixel_metrics_are_those_of_torchmetrics(made):
    score(made)
    bench = made[0].bench
    sampled = bench.sampled(bench.case("s-0"))
    upside = sampled.frames[:, ::-1]
    # As VideoPainter's code makes them: without a hole, and with one on the output's side.
    for region, output in (("frame", upside), ("one_sided", upside * ~sampled.masks[..., None])):
        pairs = [
            [torch.from_numpy(np.float32(one)).permute(2, 0, 1)[None] / 255 for one in pair]
            for pair in zip(output, sampled.frames, strict=True)
        ]
        for metric, by in (
            ("psnr", PeakSignalNoiseRatio(data_range=1.0)),
            ("ssim", StructuralSimilarityIndexMeasure(data_range=1.0)),
            ("mse", MeanSquaredError()),
            ("mae", MeanAbsoluteError()),
        ):
            found, count = sums_of(made, "s-0", metric, region)
            assert count == 6
            wanted = np.mean([by(one.contiguous(), true.contiguous()).item() for one, true in pairs])
            assert found / count == pytest.approx(wanted, rel=1e-4), (metric, region)


@pytest.fixture
def clip(tmp_path):
    (tmp_path / "clip").mkdir()
    return save_tiny_clip(tmp_path / "clip")


def score(made, *options, protocol="paper"):
    bench, results = made
    assert main(["score", "--bench", str(bench.folder), "--results", str(results.root), "--protocol", protocol,
                 *options]) == 0  # fmt: skip


def sums_of(made, case_id, metric, region, output="raw"):
    rows = pq.read_table(made[1].root / TABLE).to_pylist()
    wanted = {"case": case_id, "metric": metric, "region": region, "output": output}
    (row,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    assert row["status"] == "ok", row["reason"]
    return row["sum"], row["count"]


def test_clip_metrics_are_those_of_the_code(made, clip):
    """By open_clip alone: three similarities a frame, and two consistencies a video."""
    score(made, *(f"--set={name}.weights={clip}" for name in ("clip", "paper_consistency")), "--set=device=cpu")
    network, _, transform = open_clip.create_model_and_transforms(f"local-dir:{clip}")
    network.load_state_dict(load_file(clip / "open_clip_model.safetensors"))
    network.eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{clip}")
    bench = made[0].bench
    case = bench.case("s-0")
    sampled = bench.sampled(case)
    output = sampled.frames[:, ::-1]
    inside = np.where(sampled.masks[..., None], output, 0).astype(np.uint8)
    with torch.inference_mode():
        for metric, region, pictures, text in (
            ("clip_similarity", "frame", output, case.caption),
            ("masked_clip_similarity", "hole", inside, case.caption),
            ("clip_similarity", "hole", inside, case.object_caption),
        ):
            images = network.encode_image(torch.stack([transform(Image.fromarray(one)) for one in pictures]))
            words = network.encode_text(tokenizer([text]))
            found, count = sums_of(made, "s-0", metric, region)
            assert count == 6
            # Torchmetrics gives 0 for less.
            wanted = torch.cosine_similarity(images, words).clamp(min=0).mean().item()
            assert found / count == pytest.approx(100 * wanted, abs=1e-3)
        for region, pictures in (("frame", output), ("hole", inside)):
            side = (IMAGE_SIZE_PX, IMAGE_SIZE_PX)
            small = [np.asarray(Image.fromarray(one).resize(side, Image.Resampling.BILINEAR)) for one in pictures]
            images = network.encode_image(torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2) / 255)
            cosines = torch.cosine_similarity(images[:-1], images[1:])
            # The mean of a video, and over videos then: here a long one weighs as much as a short one.
            assert sums_of(made, "s-0", "temporal_consistency", region) == (
                pytest.approx(cosines.mean().item(), abs=1e-4),
                1,
            )
            assert cosines.min() < 0.9999


def test_exact_frames_are_counted_beside_their_psnr(made):
    bench, results = made[0].bench, made[1]
    sampled = bench.sampled(bench.case("s-0"))
    frames = sampled.frames.copy()
    frames[:4] = 255 - frames[:4]
    results.keep("upside", "s-0", frames, Outcome(status="ok", seconds=1.0), fps=FPS)
    score(made)
    rows = pq.read_table(results.root / TABLE).to_pylist()
    found = {row["metric"]: row for row in rows if (row["region"], row["output"]) == ("frame", "raw")}
    assert (found["psnr"]["count"], found["psnr"]["num_capped"]) == (6, 2)
    assert {row["num_capped"] for metric, row in found.items() if metric != "psnr"} == {0}


def test_what_is_missing_names_the_networks_of_the_code(made, capsys, monkeypatch):
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    score(made)
    lines = capsys.readouterr().out
    for metric, weights in (
        ("masked_clip_similarity", "timm/vit_large_patch14_clip_224.openai"),
        ("temporal_consistency", "timm/vit_base_patch32_clip_224.openai"),
    ):
        assert f"n/a: {metric}: got no weights of {weights}" in lines
        assert f"vpdata models fetch {weights} --to" in lines
    rows = [row for row in pq.read_table(made[1].root / TABLE).to_pylist() if row["metric"] == "temporal_consistency"]
    assert {(row["status"], row["sum"], row["region"]) for row in rows} == {
        ("n/a", None, "frame"),
        ("n/a", None, "hole"),
    }


def test_another_setting_than_the_published_one_is_told_where_scores_are_made_and_shown(made, capsys, monkeypatch):
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    bench, results = made
    unlike = "not the published setting: 64x48 px instead of 720x480 px on 1 of 1 cases, 12 fps instead of 8 fps"
    score(made)
    assert capsys.readouterr().out.count(f"warning: {unlike}") == 1
    score(made, protocol="clean")
    assert "warning" not in capsys.readouterr().out
    for protocol in ("clean", "paper"):
        assert main(["report", "--bench", str(bench.folder), "--results", str(results.root), "--no-videos",
                     "--protocol", protocol]) == 0  # fmt: skip
        for name in ("report.md", "report.html", "report.tex"):
            text = (results.root / name).read_text()
            assert (unlike in text) == (protocol == "paper")
            # The quoted rows are by the paper's definitions, whatever the others are by.
            assert ("measured by other definitions than the numbers beside them" in text) == (protocol == "clean")
            assert "VideoPainter and Cog-Inp went on from a first frame that FLUX.1 Fill had painted" in text
        # LaTeX would join two hyphens.
        assert ("score -{}-protocol paper has theirs" in text) == (protocol == "clean")


@pytest.mark.slow
def test_each_protocol_keeps_its_own_features(made, tmp_path):
    save_video_network(tmp_path / "weights", "r3d_18")
    weights = ["--weights", str(tmp_path / "weights"), "--set=fvid.network=r3d_18", "--set=fvid.weights=r3d_18"]
    score(made, *weights, "--dilate=2", protocol="clean")
    score(made, *weights, "--dilate=0")
    features = Folder(made[1].root / "features")
    for folder, kept in (("r3d_18", "composited-2"), ("r3d_18-paper", "composited-0")):
        assert len(read_features(features.child(folder), "upside", kept)) == 1
    assert {row["model"] for row in pq.read_table(made[1].root / TABLE).to_pylist() if row["metric"] == "fvid"} == {
        "r3d_18-paper: r3d_18@0123456789ab"
    }
