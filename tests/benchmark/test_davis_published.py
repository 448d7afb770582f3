"""VPBench's own DAVIS is read with its masks and captions, and options of DAVIS are refused where they do nothing."""

from __future__ import annotations

import argparse
import csv

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmark.davis_published import open_published_davis
from benchmark.opening import add_bench_options, bench_of
from benchmark.running import fingerprint
from tests.benchmark.test_davis import FOOTAGE, davis
from vpdata.errors import ConfigError

__all__ = ["davis"]

NAMES = ("bear", "dogs-jump")


@pytest.fixture
def published(tmp_path):
    """Two sequences of two frames of 432x240 px; masks are drawn for `bear` and `dogs-jump` only."""
    root = tmp_path / "data/davis"
    rng = np.random.default_rng(0)
    for name in (*NAMES, "train-only"):
        (root / "JPEGImages_432_240" / name).mkdir(parents=True)
        for index in range(2):
            frame = np.full((240, 432, 3), (200, 100, 50), np.uint8)
            Image.fromarray(frame).save(root / "JPEGImages_432_240" / name / f"{index:05d}.jpg", quality=100)
    for name in NAMES:
        (root / "test_masks" / name).mkdir(parents=True)
        for index in range(2):
            mask = np.zeros((240, 432), np.uint8)
            y, x = rng.integers(30, 200, size=2)
            mask[y : y + 11, x : x + 17] = 255
            Image.fromarray(mask).save(root / "test_masks" / name / f"{index:05d}.png")
    with (root / "davis_caption.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Video_Index", "Video_Name", "Video_Caption", "Masked_Target_Caption"])
        writer.writerow([2, "dogs-jump", "Dogs jump, high.", "a dog"])
        writer.writerow([1, "bear", "A bear walks.", "a bear"])
    return root


def opened(*options):
    parser = argparse.ArgumentParser()
    add_bench_options(parser)
    return bench_of(parser.parse_args([str(option) for option in options]))


def test_cases_are_the_masked_sequences_with_the_captions_of_their_place(published):
    bench = opened("--davis", published, "--davis-masks", "published")
    assert bench.name == "davis-published"
    assert [(case.id, case.caption, case.object_caption) for case in bench.cases] == [
        ("davis-bear", "A bear walks.", "a bear"),
        ("davis-dogs-jump", "Dogs jump, high.", "a dog"),
    ]
    assert {(case.subset, case.num_frames, case.fps) for case in bench.cases} == {("davis", 2, 8)}


def test_pictures_are_as_the_published_code_opens_them(published):
    bench = open_published_davis(published)
    for case, name in zip(bench.cases, NAMES, strict=True):
        sampled = bench.sampled(case)
        assert sampled.frames.shape == (2, 480, 720, 3)
        assert np.abs(sampled.frames.astype(int) - (200, 100, 50)).max() <= 2
        for index, mask in enumerate(sampled.masks):
            stored = Image.open(published / "test_masks" / name / f"{index:05d}.png")
            near = np.asarray(stored.resize((720, 480), Image.Resampling.NEAREST)) > 0
            # Four crosses of 3x3 reach all pixels within 4 steps along rows and columns.
            wanted = np.zeros_like(near)
            for down in range(-4, 5):
                for right in range(abs(down) - 4, 5 - abs(down)):
                    wanted |= np.roll(near, (down, right), axis=(0, 1))
            assert np.array_equal(mask, wanted)


def test_another_mask_is_another_benchmark(published):
    before = fingerprint(open_published_davis(published))
    assert fingerprint(open_published_davis(published)) == before
    cv2.imwrite(str(published / "test_masks/bear/00001.png"), np.zeros((240, 432), np.uint8))
    assert fingerprint(open_published_davis(published)) != before


def test_what_is_missing_is_named(published):
    (published / "test_masks/bear/00001.png").unlink()
    with pytest.raises(ConfigError, match="got 2 frames of bear, wanted some, each with a mask"):
        open_published_davis(published)
    (published / "JPEGImages_432_240/bear/00001.jpg").unlink()
    captions = published / "davis_caption.csv"
    captions.write_text("Video_Index,Video_Caption,Masked_Target_Caption\n1,A bear.,a bear\n")
    with pytest.raises(ConfigError, match="got no row 2, wanted the captions of dogs-jump"):
        open_published_davis(published)
    captions.write_text("Video,Caption\n1,A bear.\n")
    with pytest.raises(ConfigError, match="wanted a CSV with Video_Index, Video_Caption, Masked_Target_Caption"):
        open_published_davis(published)
    captions.unlink()
    with pytest.raises(ConfigError, match=r"got 0 tables of captions, wanted davis_caption\.csv"):
        open_published_davis(published)
    with pytest.raises(ConfigError, match="wanted the published folder data/davis"):
        open_published_davis(published.parent)


def test_objects_are_an_option(davis):
    bench = opened("--davis", davis, "--davis-masks", "objects")
    assert bench.name == "davis-objects"
    assert np.array_equal(bench.masks(bench.cases[0]), FOOTAGE["bear"].masks.any(axis=0))
    moving = opened("--davis", davis)
    assert (
        moving.name == opened("--davis", davis, "--davis-masks", "moving", "--davis-seed", 0).name == "davis-moving-0"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bench", "x", "--davis-seed", "0"], "without --davis"),
        (["--published", "x", "--davis-masks", "published"], "without --davis"),
        (["--davis", "x", "--davis-masks", "objects", "--davis-seed", "3"], "wanted it with moving masks alone"),
        (["--davis", "x", "--davis-masks", "published", "--davis-seed", "3"], "wanted it with moving masks alone"),
    ],
)
def test_options_without_an_effect_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        opened(*options)
