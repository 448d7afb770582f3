import numpy as np
import pytest

from vpdata.config import ModelChoice
from vpdata.errors import BackendError, ConfigError
from vpdata.inpaint.edit import NEUTRAL, PromptWriter
from vpdata.inpaint.options import Words
from vpdata.models.ports import unheard

GOOD = "A blue ball rolls over short green grass in bright light."


class Scripted:
    """A `Captioner` that gives its answers in turn and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def caption(self, requests, *, alive=unheard):
        self.requests += requests
        return [self.answers.pop(0) for _ in requests]


def film(num_frames=30):
    frames = np.full((num_frames, 40, 60, 3), 200, np.uint8)
    masks = np.zeros(frames.shape[:3], bool)
    masks[:, 10:20, 10:20] = True
    return frames, masks


def prompts(words, captioner=None, choice=None):
    frames, masks = film()
    return PromptWriter(choice, captioner=captioner).prompts(words, iter(frames), iter(masks), num_frames=len(frames))


def test_prompts_of_the_user_ask_nobody():
    captioner = Scripted()
    assert prompts(Words(prompts=((0, "a"), (9, "b"))), captioner) == {0: "a", 9: "b"}
    assert captioner.requests == []


def test_without_captioner_the_users_words_are_taken():
    assert prompts(Words(remove=True)) == {0: NEUTRAL}
    assert prompts(Words(replace="a green ball")) == {0: "a green ball"}
    assert prompts(Words(edit="make it green", prompts=((0, "a green ball"),))) == {0: "a green ball"}
    with pytest.raises(ConfigError, match="--edit without a --prompt"):
        prompts(Words(edit="make it green"))


def test_removal_shows_the_surroundings_and_not_the_object():
    captioner = Scripted(GOOD)
    assert prompts(Words(remove=True), captioner) == {0: GOOD}
    (request,) = captioner.requests
    _, masks = film()
    assert len(request.images) == 8
    assert (request.images[:, masks[0]] == 128).all()
    assert (request.images[:, ~masks[0]] == 200).all()
    assert request.masks is None


def test_edit_rewrites_each_prompt():
    captioner = Scripted(GOOD, "Another scene in which a blue ball lies still.")
    words = Words(edit="make the ball {blue}", prompts=((0, "A red ball rolls."), (9, "A red ball lies.")))
    assert prompts(words, captioner) == {0: GOOD, 9: "Another scene in which a blue ball lies still."}
    assert ["A red ball rolls." in one.prompt for one in captioner.requests] == [True, False]
    assert all("make the ball {blue}" in one.prompt for one in captioner.requests)
    assert all(one.masks is not None and one.masks.any() for one in captioner.requests)


def test_bad_answer_is_asked_for_again_and_then_refused():
    captioner = Scripted("Sure! Here is what you want: a ball.", GOOD)
    assert prompts(Words(replace="a blue ball"), captioner) == {0: GOOD}
    with pytest.raises(BackendError, match="is no prompt"):
        prompts(Words(replace="a blue ball"), Scripted("I'm sorry.", "# A heading\n- a list of words here"))


def test_captioner_that_follows_no_instruction_is_refused():
    with pytest.raises(ConfigError, match="follows no instruction"):
        prompts(Words(remove=True), choice=ModelChoice(name="embedded"))
