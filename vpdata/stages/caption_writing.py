"""From requests to texts that passed their checks: asked, and asked again once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from vpdata.models.ports import Captioner, CaptionRequest, unheard
from vpdata.stages.batches import Again
from vpdata.stages.caption_checks import CaptionChecks, Problem, problem_of

_DARK = 40
"""Brightest channel in [0, 255] of a pixel that is called black; coded black is 0, that of night footage 10 to 30."""
_EVERY_PX = 4


@dataclass(frozen=True, slots=True)
class Written:
    """The answer to one request."""

    text: str
    problem: Problem | None
    """Why the text is of no use; None: it is."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a captioner is asked."""

    request: CaptionRequest
    is_second: bool = False
    """Whether its prompt names what was wrong with the first answer."""
    shown: CaptionRequest | None = None
    """The request with the pictures that the text is about, where `request` has none."""


def ask(
    captioner: Captioner,
    questions: Sequence[Question],
    *,
    checks: CaptionChecks | None,
    ask_again: str,
    alive: Callable[[], None] = unheard,
) -> list[Written | Again[Question]]:
    """One text per question, or where the first has a problem, the second question, by the prompt `ask_again`.

    An empty answer is taken as it is: the model has nothing to say, or its server declines.
    """
    requests = [one.request for one in questions]
    outcomes: list[Written | Again[Question]] = []
    for question, text in zip(questions, captioner.caption(requests, alive=alive), strict=True):
        request = question.request
        on_black = partial(_may_be_on_black, question.shown or request)
        problem = problem_of(text, label=label_of(request), checks=checks, may_be_on_black=on_black)
        if problem is None or problem.check == "empty" or question.is_second:
            outcomes.append(Written(text, problem))
        else:
            second = _with_complaint(request, problem, ask_again)
            outcomes.append(Again(dataclasses.replace(question, request=second, is_second=True)))
    return outcomes


def write(
    captioner: Captioner,
    questions: Sequence[Question],
    *,
    checks: CaptionChecks | None,
    ask_again: str,
    alive: Callable[[], None] = unheard,
) -> list[Written]:
    """As `ask`, with second questions asked at once: one text per question."""
    written: dict[int, Written] = {}
    left = dict(enumerate(questions))
    while left:
        outcomes = ask(captioner, [*left.values()], checks=checks, ask_again=ask_again, alive=alive)
        rows, left = list(left), {}
        for row, outcome in zip(rows, outcomes, strict=True):
            if isinstance(outcome, Again):
                left[row] = outcome.request
            else:
                written[row] = outcome
    return [written[row] for row in range(len(questions))]


def label_of(request: CaptionRequest) -> str | None:
    """The label of the track that a request is about; None for the whole clip."""
    return next((track.label for track in request.record.tracks or () if track.id == request.track), None)


def _may_be_on_black(request: CaptionRequest) -> bool:
    """Whether what surrounds the object is dark in the video itself."""
    if request.masks is None:
        return False
    rows = slice(None, None, _EVERY_PX)
    around = request.images[:, rows, rows][~request.masks[:, rows, rows]]
    return not len(around) or float(np.median(around.max(axis=-1))) < _DARK


def _with_complaint(request: CaptionRequest, problem: Problem, ask_again: str) -> CaptionRequest:
    prompt = ask_again.format(prompt=request.prompt.strip(), got=problem.got, wanted=problem.wanted)
    return dataclasses.replace(request, prompt=prompt)
