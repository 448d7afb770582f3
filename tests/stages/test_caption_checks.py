"""What passes as a caption."""

from __future__ import annotations

import dataclasses

import pytest

from vpdata.models.prompts import read_prompt
from vpdata.stages.caption_checks import CaptionChecks, problem_of

CHECKS = CaptionChecks()
# From VPBench's published captions, shortened.
CLIP = (
    "The video showcases a man with a well-groomed beard and mustache, wearing glasses and a dark t-shirt, in a "
    "minimalist setting. Throughout the video, he's engaged in a conversation, using his hands to emphasize points — "
    "and smiles at 3:30."
)


def check(text, label=None, checks=CHECKS):
    problem = problem_of(text, label=label, checks=checks)
    return problem and problem.check


@pytest.mark.parametrize("text", [CLIP, f"“{CLIP}”", CLIP.replace("a man", "Zoë"), CLIP.replace(".", "!")])
def test_plain_description_of_a_clip_passes(text):
    assert check(text) is None


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        (f"**Caption**: {CLIP}", "markup"),
        (f"# Description\n{CLIP}", "markup"),
        (f"The clip:\n- {CLIP}\n- {CLIP}", "markup"),
        (f"1. {CLIP}", "markup"),
        (f"```{CLIP}```", "markup"),
        (f"<p>{CLIP}</p>", "markup"),
        (f"[{CLIP}](http://host)", "markup"),
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("I’m sorry.", "refusal"),
        (f"I cannot identify people. {CLIP}", "refusal"),
        (f"As an AI, I see this: {CLIP}", "refusal"),
        (f"Sure! {CLIP}", "refusal"),
        (f"Here is the caption: {CLIP}", "refusal"),
        ("视频中一位留着胡子的男人戴着眼镜,穿着深色的衣服,坐在简洁的房间里,一边说话一边用手势强调。", "language"),
        (f"{CLIP} Он улыбается и смотрит в камеру.", "language"),
        ("12 34 56 78.", "language"),
        ("A man speaks.", "length"),
        (f"{CLIP} " * 12, "length"),
        ("He goes on and on and on. " * 20, "repetition"),
        (CLIP[:-1], "ending"),
        (CLIP[:-30], "ending"),
    ],
)
def test_what_is_no_description_of_a_clip_fails_by_name(text, failed):
    assert check(text) == failed


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("a brown dog with a red collar", "dog"),
        ("two brown dogs at play", "dog"),
        ("A silver bus that turns left", "city buses"),
        ("a small pony in the grass", "ponies"),
        ("a white football with black spots", "ball"),
        ("a worn red T-shirt", "t-shirt"),
        ("a woman in a blue coat who walks to the left", "person"),
        ("two children on a swing", "young person"),
        ("a person in a blue coat", "person"),
        ("ein rotes Auto, das vorbeifährt", "AUTO"),
        ("a thing of some kind", ""),
    ],
)
def test_object_is_called_by_its_label(text, label):
    assert check(text, label) is None


@pytest.mark.parametrize(
    ("text", "label", "failed"),
    [
        ("a grey cat on a wall", "dog", "label"),
        ("a red bus that turns left", "red car", "label"),
        ("a scarf of wool on a table", "car", "label"),
        ("dog", "dog", "length"),
        ("a brown dog " * 30, "dog", "length"),
        ("I'm unable to see the dog", "dog", "refusal"),
    ],
)
def test_what_is_no_description_of_the_object_fails_by_name(text, label, failed):
    assert check(text, label) == failed


def test_each_check_can_be_set():
    lenient = CaptionChecks(
        min_latin_frac=0.0,
        clip_words=(1, 1000),
        track_words=(1, 1000),
        max_repetition_frac=1.0,
        mentions_label=False,
    )
    assert check("男人在说话。", checks=lenient) is None
    assert check("He goes on and on and on. " * 20, checks=lenient) is None
    assert check("a cat", "dog", lenient) is None
    kind = dataclasses.replace(CHECKS, synonyms={"sports car": ("roadster",)})
    assert check("an old roadster in the rain", "sports car", kind) is None
    assert check("an old roadster in the rain", "car", kind) == "label"


def test_without_checks_only_an_empty_text_fails():
    assert check("I'm sorry", checks=None) is None
    assert check("", checks=None) == "empty"


def test_examples_in_our_own_prompts_pass():
    prompt = read_prompt("masked_object")
    example = "a brown dog with a red collar"
    assert f'"{example}"' in prompt
    assert check(example, "dog") is None
