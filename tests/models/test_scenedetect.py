from __future__ import annotations

import functools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import scenedetect
from scenedetect import detectors

from benchmark.footage import write_video
from vpdata.config import fill
from vpdata.errors import ConfigError
from vpdata.media.normalise import Thumbnails
from vpdata.media.video import FrameReader, probe
from vpdata.models.scenedetect import SceneDetectSettings, SceneDetectShots

FPS = 25
CUTS = (40, 75, 130)
"""First frames of the second, third and fourth shot of `footage`."""
DETECTORS = {
    "adaptive": detectors.AdaptiveDetector,
    "content": detectors.ContentDetector,
    "hash": detectors.HashDetector,
    "histogram": detectors.HistogramDetector,
    "threshold": detectors.ThresholdDetector,
}


@functools.cache
def footage(*, with_fade: bool = False) -> np.ndarray:
    """uint8 [170, 180, 320, 3] RGB: four panning shots of smooth random pictures, the third with a fade to black."""
    rng = np.random.default_rng(3)
    frames = []
    for start, stop in zip((0, *CUTS), (*CUTS, 170), strict=True):
        level = rng.integers(60, 200, 3)
        picture = cv2.GaussianBlur(rng.normal(level, 500, (180, 420, 3)), (0, 0), 6).clip(0, 255)
        frames += [picture[:, index : index + 320] for index in range(stop - start)]
    images = np.stack(frames)
    if with_fade:
        images[85:120] *= np.abs(np.linspace(-1, 1, 35))[:, None, None, None]
    return images.astype(np.uint8)


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("shots") / "shots.mp4", footage(with_fade=True), fps=FPS)


def small_frames(path: Path, shots: SceneDetectShots) -> Iterator[np.ndarray]:
    info = probe(path, max_pixels=10**6, max_duration_s=100)
    reader = FrameReader(path, info, short_side_px=720, max_pixels=10**6)
    size = shots.frame_size(reader.width_px, reader.height_px)
    thumbnails = Thumbnails(*size, is_bgr=True, is_smooth=False)
    return (thumbnails.of(frame) for frame in reader)


def starts_of(shots: SceneDetectShots, frames: Iterator[np.ndarray]) -> list[int]:
    return [index for index, is_start in enumerate(shots.shot_starts(frames, Fraction(FPS))) if is_start]


@pytest.mark.parametrize("name", DETECTORS)
def test_cuts_are_those_of_scenedetects_own_detect(video, name):
    options = {"fade_bias": 1.0} if name == "threshold" else {}
    scenes = scenedetect.detect(str(video), DETECTORS[name](min_scene_len=15, **options), start_in_scene=True)
    shots = SceneDetectShots(SceneDetectSettings(detector=name))
    assert starts_of(shots, small_frames(video, shots)) == [start.frame_num for start, _ in scenes]


def test_shortest_shot_is_counted_in_frames_exactly(tmp_path):
    video = write_video(tmp_path / "shots.mp4", footage(), fps=FPS)
    scenes = scenedetect.detect(str(video), detectors.ContentDetector(min_scene_len=55), start_in_scene=True)
    shots = SceneDetectShots(SceneDetectSettings(detector="content", min_shot_s=2.2))
    assert starts_of(shots, small_frames(video, shots)) == [start.frame_num for start, _ in scenes]


@pytest.mark.parametrize("name", ["adaptive", "content"])
def test_hard_cuts_are_found_to_the_frame(name):
    frames = (cv2.resize(image, (256, 144))[..., ::-1] for image in footage())
    assert starts_of(SceneDetectShots(SceneDetectSettings(detector=name)), frames) == [0, *CUTS]


@pytest.mark.parametrize("name", DETECTORS)
def test_answers_lag_by_a_bounded_number_of_frames(name):
    num_taken = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal num_taken
        for image in footage(with_fade=True)[:, ::4, ::4]:
            num_taken += 1
            yield np.ascontiguousarray(image)

    for answered, _ in enumerate(
        SceneDetectShots(SceneDetectSettings(detector=name)).shot_starts(frames(), Fraction(25))
    ):
        assert num_taken - (answered + 1) <= 16
    assert num_taken == answered + 1 == 170


@pytest.mark.parametrize("num_frames", [0, 1, 2, 3])
def test_as_many_answers_as_frames_for_the_shortest_videos(num_frames):
    frames = iter(np.zeros((num_frames, 36, 64, 3), np.uint8))
    answers = list(SceneDetectShots(SceneDetectSettings()).shot_starts(frames, Fraction(25)))
    assert answers == [True, False, False][:num_frames]


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((1280, 720), (256, 144)), ((720, 1280), (144, 256)), ((100, 60), (100, 60)), ((4096, 2), (256, 1))],
)
def test_frames_are_wanted_small_in_their_aspect(size, wanted):
    assert SceneDetectShots(SceneDetectSettings()).frame_size(*size) == wanted


def test_options_reach_the_detector():
    frames = lambda: (np.ascontiguousarray(image[::4, ::4, ::-1]) for image in footage())  # noqa: E731
    strict = SceneDetectSettings(options={"adaptive_threshold": 1e9})
    assert starts_of(SceneDetectShots(strict), frames()) == [0]
    assert strict.card("shot_detector").options["adaptive_threshold"] == 1e9


@pytest.mark.parametrize("options", [{"adaptiv_threshold": 3}, {"min_scene_len": 3}])
def test_unknown_option_names_the_known_ones(options):
    with pytest.raises(ConfigError, match=r"wanted one of .*adaptive_threshold"):
        fill(SceneDetectSettings, {"options": options}, where="shot_detector")


def test_cut_inside_a_fade_cannot_be_asked_for():
    with pytest.raises(ValueError, match="fade_bias"):
        SceneDetectSettings(detector="threshold", options={"fade_bias": 0.0})
