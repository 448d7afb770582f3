from __future__ import annotations

import cv2
import numpy as np
import pytest

from vpdata.models.embedded.measures import FrameMeasures, FrameMeasuresSettings

HEIGHT_PX, WIDTH_PX, FPS = 120, 160, 4.0
DIAGONAL_PX = 200.0


def texture(*, seed: int = 0, blur_px: float = 2.0, size: int = 400) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(128, 60 * blur_px * 2, (size, size, 1))
    return cv2.GaussianBlur(noise, (0, 0), blur_px).clip(0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def panning(*, step_px: int, num_frames: int = 6) -> np.ndarray:
    picture = texture()
    return np.stack([picture[50 : 50 + HEIGHT_PX, k * step_px : k * step_px + WIDTH_PX] for k in range(num_frames)])


def with_square(frames: np.ndarray, *, step_px: int) -> np.ndarray:
    """A textured square of 40 px, which covers a twelfth of the frame, moves to the right over the frames."""
    frames, square = frames.copy(), texture(seed=1)[:40, :40]
    for index, frame in enumerate(frames):
        x = 20 + index * step_px
        frame[40:80, x : x + 40] = square
    return frames


def scores(frames: np.ndarray, *, fps: float = FPS) -> dict[str, float | None]:
    return dict(FrameMeasures(FrameMeasuresSettings()).score(frames, fps=fps))


def test_pan_is_camera_motion_in_diagonals_per_second():
    measured = scores(panning(step_px=3))
    wanted = 3 * FPS / DIAGONAL_PX
    assert measured["motion"] == pytest.approx(wanted, rel=0.1)
    assert measured["camera_motion"] == pytest.approx(wanted, rel=0.1)
    assert measured["object_motion"] < wanted / 10


@pytest.mark.parametrize(("height_px", "width_px"), [(24, 720), (16, 80), (240, 24)])
def test_motion_of_a_narrow_strip_is_measured(height_px, width_px):
    picture = texture(size=800)
    frames = np.stack([picture[50 : 50 + height_px, 2 * k : 2 * k + width_px] for k in range(6)])
    wanted = 2 * FPS / np.hypot(height_px, width_px)
    assert scores(frames)["motion"] == pytest.approx(wanted, rel=0.2)


def test_moving_object_before_a_still_camera_is_object_motion():
    measured = scores(with_square(panning(step_px=0), step_px=4))
    wanted = 4 * FPS / DIAGONAL_PX * 1600 / (HEIGHT_PX * WIDTH_PX)
    assert measured["object_motion"] == pytest.approx(wanted, rel=0.5)
    assert measured["camera_motion"] < measured["object_motion"] / 4


def test_moving_object_before_a_panning_camera_is_told_apart():
    alone = scores(panning(step_px=3))
    both = scores(with_square(panning(step_px=3), step_px=3))
    assert both["camera_motion"] == pytest.approx(alone["camera_motion"], rel=0.15)
    assert both["object_motion"] > 5 * alone["object_motion"]


def test_motion_is_per_second_and_independent_of_size():
    frames = panning(step_px=3)
    large = np.stack([cv2.resize(frame, None, fx=2, fy=2) for frame in frames])
    assert scores(frames, fps=8.0)["motion"] == pytest.approx(2 * scores(frames)["motion"])
    assert scores(large)["motion"] == pytest.approx(scores(frames)["motion"], rel=0.1)


def test_motion_does_not_depend_on_threads():
    before = cv2.getNumThreads()
    try:
        results = []
        for num_threads in (1, 2, 4):
            cv2.setNumThreads(num_threads)
            results.append(scores(with_square(panning(step_px=3), step_px=5)))
        assert results[0] == results[1] == results[2]
    finally:
        cv2.setNumThreads(before)


def test_blur_lowers_sharpness_and_contrast_does_not():
    frames = panning(step_px=1)
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in frames])
    faint = (frames // 2 + 64).astype(np.uint8)
    sharp = scores(frames)["sharpness"]
    assert 0 < scores(blurred)["sharpness"] < sharp / 2
    assert scores(faint)["sharpness"] == pytest.approx(sharp, rel=0.05)


def test_checkerboard_is_as_sharp_as_can_be():
    board = (np.indices((HEIGHT_PX, WIDTH_PX)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    measured = scores(np.stack([board, board]))
    assert measured["sharpness"] == pytest.approx(1.0, abs=0.02)
    assert measured["contrast"] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("level", [0, 51, 255])
def test_exposure_is_mean_luma(level):
    measured = scores(np.full((2, HEIGHT_PX, WIDTH_PX, 3), level, np.uint8))
    assert measured["exposure"] == pytest.approx(level / 255, abs=1e-6)
    assert measured["contrast"] == pytest.approx(0.0, abs=1e-6)
    assert measured["sharpness"] is None


def test_letterbox_and_pillarbox_areas_add_up():
    frames = np.maximum(panning(step_px=1), 60)
    frames[:, :12] = frames[:, -12:] = 0
    assert scores(frames)["black_border_frac"] == pytest.approx(24 / 120)
    frames[:, :, :16] = 3
    assert scores(frames)["black_border_frac"] == pytest.approx(1 - 96 / 120 * 144 / 160)


def test_dark_corner_is_no_border():
    frames = np.maximum(panning(step_px=1), 60)
    frames[:, :60, :80] = 0
    assert scores(frames)["black_border_frac"] == 0.0


def test_black_clip_has_no_measurable_border():
    assert scores(np.zeros((3, HEIGHT_PX, WIDTH_PX, 3), np.uint8))["black_border_frac"] is None


def test_slideshow_is_static_though_it_is_noisy():
    rng = np.random.default_rng(0)
    slides = [texture(seed=seed)[:HEIGHT_PX, :WIDTH_PX].astype(int) for seed in (0, 0, 0, 1, 1, 1)]
    frames = np.stack([np.clip(slide + rng.normal(0, 2, slide.shape), 0, 255) for slide in slides]).astype(np.uint8)
    assert scores(frames)["static_frac"] == pytest.approx(4 / 5)
    assert scores(panning(step_px=1))["static_frac"] == 0.0
    assert scores(with_square(panning(step_px=0), step_px=2))["static_frac"] == 0.0


def test_one_frame_has_no_motion_score():
    measured = scores(panning(step_px=1, num_frames=1))
    for name in ("motion", "camera_motion", "object_motion", "static_frac"):
        assert measured[name] is None
    assert measured["sharpness"] is not None


@pytest.mark.parametrize("size", [(16, 16), (2, 300), (300, 2), (9, 17)])
def test_odd_shapes_are_measured(size):
    frames = np.random.default_rng(0).integers(0, 255, (3, *size, 3), np.uint8)
    assert set(scores(frames)) == {
        "motion",
        "camera_motion",
        "object_motion",
        "sharpness",
        "exposure",
        "contrast",
        "black_border_frac",
        "static_frac",
    }
