"""What `vpdata models check` takes for a right answer about its clip, and what it doubts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from vpdata import models
from vpdata.config import ModelChoice
from vpdata.errors import Reason, RejectItem
from vpdata.media.masks import encode_mask
from vpdata.models import Role
from vpdata.models.check_clip import ASK, make_clip
from vpdata.models.ports import Box, ObjectMasks

CPU = {"device": "cpu", "dtype": "float32"}


@pytest.fixture(scope="module")
def clip():
    return make_clip()


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("shot_detector", "scenedetect"),
        ("tagger", "fixed"),
        ("detector", "embedded"),
        ("mask_tracker", "embedded"),
        ("captioner", "embedded"),
        ("scorer", "embedded"),
    ],
)
def test_embedded_models_answer_with_what_is_on_the_clip(clip, role: Role, name):
    assert ASK[role](models.maker(role, ModelChoice(name=name))(), clip).doubt == ""


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("tagger", "openclip"),
        ("embedder", "openclip"),
        ("text_scorer", "openclip"),
        ("detector", "grounding-dino"),
        ("detector", "owlv2"),
        ("mask_tracker", "sam2"),
        ("captioner", "vlm"),
        ("tagger", "vlm"),
        pytest.param("scorer", "raft", marks=pytest.mark.slow),
    ],
)
def test_random_weights_are_doubtful(clip, role: Role, name, tmp_path):
    pytest.importorskip("transformers")
    pytest.importorskip("open_clip")
    from tests.models.tiny_clip import save_tiny_clip
    from tests.models.tiny_detectors import save_grounding_dino, save_owlv2
    from tests.models.tiny_raft import save_raft
    from tests.models.tiny_sam2 import save_tiny_sam2
    from tests.models.tiny_vlm import save_tiny_vlm

    save = {
        "openclip": save_tiny_clip,
        "grounding-dino": save_grounding_dino,
        "owlv2": save_owlv2,
        "sam2": save_tiny_sam2,
        "vlm": save_tiny_vlm,
        "raft": save_raft,
    }[name]
    options = {"weights": str(save(tmp_path)), **({"device": "cpu", "size": "small"} if name == "raft" else CPU)}
    options |= {"max_new_tokens": 24} if name == "vlm" else {}
    answer = ASK[role](models.maker(role, ModelChoice(name=name, options=options))(), clip)
    assert answer.doubt.startswith("wanted ")


class Shots:
    def __init__(self, *starts: int) -> None:
        self.starts = starts

    def frame_size(self, width_px, height_px):
        return width_px, height_px

    def shot_starts(self, frames, fps):
        return (number in self.starts for number, _ in enumerate(frames))


@pytest.mark.parametrize(
    ("starts", "is_right"), [((0, 24), True), ((0,), False), ((0, 12), False), ((0, 12, 24), False)]
)
def test_two_scenes_are_two_shots(clip, starts, is_right):
    assert (ASK["shot_detector"](Shots(*starts), clip).doubt == "") == is_right


class Tags:
    def __init__(self, *tags: str) -> None:
        self.answer: tuple[str, ...] | RejectItem = tags

    def tags(self, clips):
        return [self.answer] * len(clips)


@pytest.mark.parametrize(
    ("tags", "is_right"),
    [(("rug", "beachball"), True), (("red circle",), True), (("bed", "hundred", "ground"), False), ((), False)],
)
def test_a_tag_names_the_ball(clip, tags, is_right):
    assert (ASK["tagger"](Tags(*tags), clip).doubt == "") == is_right


def test_tags_that_cannot_be_read_are_doubted_and_no_fault(clip):
    tagger = Tags()
    tagger.answer = RejectItem(Reason.TAGS_FAILED, "no list", got="'ball'")
    answer = ASK["tagger"](tagger, clip)
    assert answer.doubt == "wanted labels"
    assert "'ball'" in answer.text


class Shifted:
    """A Detector and a MaskTracker that are right but for pixels to the right; it finds nothing without any."""

    context_s = ()
    has_own_labels = False
    max_short_side_px = None

    def __init__(self, clip, shift_px: int | None) -> None:
        self.clip, self.shift_px = clip, shift_px

    def detect(self, key_frames):
        if self.shift_px is None:
            return [[]]
        x0, y0, x1, y1 = self.clip.boxes[12]
        return [[Box(box=(x0 + self.shift_px, y0, x1 + self.shift_px, y1), label="ball", score=0.9)]]

    def track(self, frames, prompts, *, height_px, width_px, seed):
        masks = self.clip.masks if self.shift_px is not None else np.zeros_like(self.clip.masks)
        return [ObjectMasks(counts=tuple(encode_mask(np.roll(one, self.shift_px or 0, 1)) for one in masks), score=1.0)]


@pytest.mark.parametrize(("shift_px", "is_right"), [(0, True), (20, True), (40, False), (None, False)])
def test_boxes_and_masks_cover_the_ball(clip, shift_px, is_right):
    # Shares of a box of 81 px that both cover: 61 / 101 and 41 / 121; of a disc less, 0.53 and 0.24.
    for role in ("detector", "mask_tracker"):
        assert (ASK[role](Shifted(clip, shift_px), clip).doubt == "") == is_right


class Says:
    def __init__(self, text: str) -> None:
        self.text = text

    def caption(self, requests, *, alive=lambda: None):
        return [self.text] * len(requests)


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ("A red disc moves.", True),
        ("A basketball.", True),
        ("A bored dog.", False),
        ("", False),
        ("\ufffd\x1b[2J", False),
    ],
)
def test_a_caption_names_the_ball_and_is_shown_without_control_characters(clip, text, is_right):
    answer = ASK["captioner"](Says(text), clip)
    assert (answer.doubt == "") == is_right
    assert answer.text.isprintable()


class Scores:
    sample_fps = 4.0
    max_short_side_px = 320

    def __init__(self, scores: Mapping[str, float | None]) -> None:
        self.scores = scores

    def score(self, frames, *, fps):
        return self.scores


@pytest.mark.parametrize(
    ("name", "value", "is_right"),
    [
        ("motion", 0.009, True),
        ("motion", 0.0, False),
        ("motion", 0.3, False),
        ("aesthetic", 5.0, True),
        ("aesthetic", -40.0, False),
        ("unsafe", 0.9, False),
        ("text_overlay_frac", 0.2, False),
        ("exposure", 0.5, True),
        ("exposure", float("nan"), False),
        ("sharpness", None, False),
    ],
)
def test_a_score_is_in_the_range_that_the_clip_allows(clip, name, value, is_right):
    answer = ASK["scorer"](Scores({name: value, "contrast": 0.1}), clip)
    assert (answer.doubt == "") == is_right
    assert is_right or name in answer.doubt


class Aligned:
    max_short_side_px = 320

    def __init__(self, ball: float | None, other: float) -> None:
        self.ball, self.other = ball, other

    def score(self, frames, text):
        return {"text_alignment": self.ball if "ball" in text else self.other}


@pytest.mark.parametrize(
    ("ball", "other", "is_right"), [(0.24, 0.1, True), (0.24, 0.25, False), (0.05, -0.1, False), (None, 0.1, False)]
)
def test_the_text_of_the_clip_fits_better_than_another(clip, ball, other, is_right):
    assert (ASK["text_scorer"](Aligned(ball, other), clip).doubt == "") == is_right


class Embeds:
    sample_fps = 1.0
    max_short_side_px = 320

    def __init__(self, page: tuple[float, float]) -> None:
        self.page = page

    def embed(self, frames):
        return np.array(self.page if len(frames) == 1 else (1.0, 0.0), dtype=np.float32)


@pytest.mark.parametrize(
    ("page", "is_right"), [((0.6, 0.8), True), ((0.96, 0.28), False), ((float("nan"), 0.0), False)]
)
def test_a_page_of_text_lies_elsewhere(clip, page, is_right):
    assert (ASK["embedder"](Embeds(page), clip).doubt == "") == is_right
