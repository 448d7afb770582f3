"""A build as a Ray job on a real head, in both forms that the cluster page names."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vpdata
from benchmark.footage import scene, write_video
from tests.ray_head import ROOT, ray_head, submit
from vpdata.cli import main

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SETTINGS = ("--set", "cut.min_s=2", "--config", "configs/embedded.yaml")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "one.mp4", scene("plain", seed=3, num_frames=60, height_px=90, width_px=160).frames)
    return folder


@pytest.fixture(scope="module")
def cluster(videos: Path) -> Iterator[dict[str, str]]:
    """The environment of a client of a head that says what to build."""
    output = str(videos.parent / "literal")
    with ray_head(VPDATA_INPUT=str(videos), VPDATA_OUTPUT=output, VPDATA_WEIGHTS="") as environment:
        yield environment


def test_a_job_with_an_uploaded_checkout_makes_shards_that_pass_their_check(videos, cluster, tmp_path):
    script = (sys.executable, "pipelines/build_vpdata.py")
    places = ("--input", str(videos), "--output", str(tmp_path / "run"))
    job = submit(cluster, "--working-dir", ".", "--", *script, *SETTINGS, *places)
    assert job.returncode == 0, job.stdout + job.stderr
    assert len(vpdata.open_dataset(tmp_path / "run")) == 1
    assert main(["check", str(tmp_path / "run")]) == 0


def test_the_literal_command_is_the_real_build_and_asks_for_its_weights(cluster):
    job = submit(cluster, "pipelines/build_vpdata.py")
    assert job.returncode != 0
    assert "VPDATA_WEIGHTS is not set" in job.stdout
    assert "vpdata models fetch timm/vit_large_patch14_clip_224.openai" in job.stdout


def test_the_literal_command_reads_the_environment_of_the_head(videos, cluster):
    config = "--runtime-env-json", json.dumps({"env_vars": {"VPDATA_CONFIG": str(ROOT / "configs/embedded.yaml")}})
    job = submit(cluster, *config, "pipelines/build_vpdata.py")
    assert job.returncode == 0, job.stdout + job.stderr
    assert "the data set is empty" in job.stdout, "the clip is shorter than the default min_s"


@pytest.mark.parametrize("place", ["--input", "--output"])
def test_a_relative_place_is_refused_with_the_fix(cluster, place):
    job = submit(cluster, "--", sys.executable, "pipelines/build_vpdata.py", *SETTINGS, place, "some/folder")
    assert job.returncode != 0
    assert "got the relative path 'some/folder'" in job.stdout
    assert "wanted an absolute path" in job.stdout
