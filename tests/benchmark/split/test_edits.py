"""Edits: the operations are balanced, and their words fit by templates and by a captioner alike."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pytest

from benchmark.split.asking import asked_words
from benchmark.split.edits import make_edits
from benchmark.split.operations import OPERATIONS, template_words
from tests.benchmark.split.materials import make_material
from tests.caption_server import says, serving
from tests.runs import HEIGHT_PX, WIDTH_PX
from vpdata import models
from vpdata.config import ModelChoice
from vpdata.media.masks import decode_masks

OPTIONS = {"first_turn": 0, "subset": "edit-S", "max_s": 1.0, "seed": 0}
TEMPLATES = partial(template_words, seed=0)


@pytest.fixture(scope="module")
def materials():
    return {f"clip-{n}": make_material(n, red="man", blue="dog")[0] for n in range(9)}


def edits(materials, num, *, write_words=TEMPLATES, unusable=lambda clip, error: None, **options):
    return make_edits(
        sorted(materials), materials.__getitem__, num=num, write_words=write_words, unusable=unusable,
        **OPTIONS | options,
    )  # fmt: skip


def test_operations_come_in_equal_shares_each_on_a_clip_of_its_own(materials):
    made = edits(materials, 8)
    assert Counter(one.case.operation for one in made) == dict.fromkeys(OPERATIONS, 2)
    assert len({one.case.clip_id for one in made}) == 8
    assert [one.case.operation for one in edits(materials, 2, first_turn=3)] == ["change", "add"]
    assert len(edits(materials, 50)) == 9
    assert made == edits(dict(reversed(materials.items())), 8)


def test_templates_name_the_object_and_describe_the_result(materials):
    by_operation = {one.case.operation: one.case for one in edits(materials, 4)}
    add, remove, swap, change = (by_operation[one] for one in OPERATIONS)
    # Of the two tracks the man's kind comes first; the dog stays.
    assert (add.tracks, remove.tracks, swap.tracks) == ((), (2,), (2,))
    assert add.instruction == f"Add {add.target_object} to the video."
    assert remove.instruction == "Remove the man from the video."
    assert "without any object" in (remove.target_object or "")
    assert swap.instruction == f"Replace the man with {swap.target_object}."
    assert change.target_object
    assert change.instruction == f"Make the man {change.target_object.split(' ', 1)[1].removesuffix(' man')}."
    for case in (remove, swap, change):
        assert case.target_caption
        assert "blue square" in case.target_caption, "the other object's caption"
        assert "red square" not in case.target_caption
        assert case.caption.startswith("Clip")


def test_added_things_get_a_free_place(materials):
    made = next(one for one in edits(materials, 4) if one.case.operation == "add")
    record = next(one.record for one in materials.values() if one.record.id == made.case.clip_id)
    masks = decode_masks(made.counts, height_px=HEIGHT_PX, width_px=WIDTH_PX)
    for track in record.tracks:
        others = decode_masks(track.masks[:12], height_px=HEIGHT_PX, width_px=WIDTH_PX)
        assert not (masks & others).any()
    assert np.count_nonzero(masks)


def captioner(server):
    options = {"base_url": server.base_url, "model": "seer"}
    return models.maker("captioner", ModelChoice(name="openai", options=options))()


def test_captioner_is_shown_the_region_and_its_three_lines_are_taken(materials):
    answer = "Instruction: Turn the man into a bear.\n\n**Region:** a brown bear\nVideo: A bear crosses a dog."
    with serving() as server:
        server.choose = lambda prompt, number: says(answer)
        made = edits(materials, 1, first_turn=2, write_words=partial(asked_words, captioner(server)))
    case = made[0].case
    assert case.instruction == "Turn the man into a bear."
    assert (case.target_object, case.target_caption) == ("a brown bear", "A bear crosses a dog.")
    (asked,) = server.asked
    assert "replace what is there by another kind of thing" in asked.prompt
    assert case.caption in asked.prompt
    pictures = [one for one in asked.body["messages"][-1]["content"] if one["type"] == "image_url"]
    assert len(pictures) == 12, "six key frames, outlined and alone"


def test_answer_of_another_form_is_asked_for_once_more_and_then_the_clip_is_passed_over(materials):
    good = "Instruction: Remove him.\nRegion: an empty lawn\nVideo: A lawn."
    with serving() as server:
        server.choose = lambda prompt, number: says("Sure! I would remove him." if number < 3 else good)
        told = []
        made = edits(
            materials, 1, first_turn=1, write_words=partial(asked_words, captioner(server)),
            unusable=lambda clip, error: told.append((clip, error.why)),
        )  # fmt: skip
    assert made[0].case.instruction == "Remove him."
    assert [why for _, why in told] == ["captioner"]
    assert "0 of the lines" in server.prompts[1]
