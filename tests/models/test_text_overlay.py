from __future__ import annotations

from importlib import resources

import cv2
import numpy as np
import pytest

rapidocr = pytest.importorskip("rapidocr")

from tests.fakes import textured_ground
from vpdata.config import fill
from vpdata.errors import BackendError, ConfigError
from vpdata.models.text_overlay import TextOverlay
from vpdata.models.text_overlay_settings import TextOverlaySettings

HEIGHT_PX, WIDTH_PX = 240, 400


@pytest.fixture(scope="module")
def scorer():
    return TextOverlay(TextOverlaySettings())


@pytest.fixture(scope="module")
def library():
    return rapidocr.RapidOCR(params={"Global.log_level": "error", "Global.use_cls": False})


def picture():
    return cv2.GaussianBlur(textured_ground(height_px=HEIGHT_PX, width_px=WIDTH_PX), (0, 0), 4)


def written(text="Read me aloud", *, baseline=(40, 210), scale=1.2, angle_degrees=0.0):
    """A picture with a line of text, and the half-open box of its letters."""
    layer = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    cv2.putText(layer, text, baseline, cv2.FONT_HERSHEY_DUPLEX, scale, 255, 2, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((WIDTH_PX / 2, HEIGHT_PX / 2), angle_degrees, 1.0)
    layer = cv2.warpAffine(layer, turn, (WIDTH_PX, HEIGHT_PX))
    image = np.where(layer[..., None] > 127, np.uint8(255), picture())
    return image, cv2.boundingRect(layer)


def coloured():
    """Dark red letters on dark blue, which are read otherwise with the two colours exchanged."""
    image = np.empty((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    image[:] = (0, 0, 60)
    return cv2.putText(image, "Read me aloud", (40, 130), cv2.FONT_HERSHEY_DUPLEX, 1.2, (120, 0, 0), 2, cv2.LINE_AA)


def read_by(library, image_bgr):
    """The share of the picture inside the boxes that the library finds, its texts, and how sure it is of each."""
    found = library(image_bgr.copy())
    covered = np.zeros(image_bgr.shape[:2], np.uint8)
    cv2.fillPoly(covered, [np.round(box).astype(np.int32) for box in found.boxes], 1)
    return covered.mean(), found.txts, found.scores


def frac(scorer, *images):
    return scorer.score(np.stack(images), fps=0.5)["text_overlay_frac"]


def test_line_of_text_covers_its_box_and_a_margin(scorer):
    image, (_, _, width, height) = written()
    box_frac = width * height / image[..., 0].size
    assert box_frac <= frac(scorer, image) <= 3 * box_frac


def test_picture_without_text_is_free_of_it(scorer):
    assert frac(scorer, picture()) == 0.0
    assert frac(scorer, np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)) == 0.0


def test_clip_has_the_mean_of_its_frames(scorer):
    image, _ = written()
    assert frac(scorer, image, picture()) == pytest.approx(frac(scorer, image) / 2)


def test_slanting_text_covers_a_slanting_box(scorer):
    slanting, (_, _, width, height) = written(baseline=(60, 130), scale=1.0, angle_degrees=20)
    assert 0 < frac(scorer, slanting) < 0.8 * width * height / slanting[..., 0].size


def test_thing_that_looks_like_a_letter_is_no_text(scorer):
    image, _ = written("A", baseline=(150, 180), scale=4)
    assert frac(scorer, image) == 0.0


def test_boxes_are_those_of_the_library_called_directly(scorer, library):
    for image in (written()[0], coloured()):
        covered, texts, _ = read_by(library, image[..., ::-1])
        assert "".join(texts).replace(" ", "") == "Readmealoud"
        assert frac(scorer, image) == pytest.approx(covered)
    # With the channels exchanged the library would have found another box.
    assert abs(read_by(library, coloured())[0] - covered) > 0.005


def test_text_that_is_read_less_surely_than_asked_is_none(scorer, library):
    _, _, (score,) = read_by(library, coloured()[..., ::-1])
    assert 0.5 < score < 0.99
    assert frac(scorer, coloured()) > 0
    assert frac(TextOverlay(TextOverlaySettings(min_score=score - 0.005)), coloured()) > 0
    assert frac(TextOverlay(TextOverlaySettings(min_score=score + 0.005)), coloured()) == 0.0


@pytest.mark.parametrize("shape", [(8, 8), (60, 20)])
def test_frames_of_any_shape_are_read(scorer, shape):
    assert frac(scorer, np.full((*shape, 3), 90, np.uint8)) == 0.0


def test_package_without_its_models_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    with pytest.raises(BackendError, match=r"rapidocr .* carries no PP-OCRv6_det_small\.onnx; pip install"):
        TextOverlay(TextOverlaySettings())


@pytest.mark.parametrize("wrong", [{"sample_fps": 0.0}, {"min_score": 2.0}, {"num_threads": 0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        fill(TextOverlaySettings, wrong, where="scorer")
