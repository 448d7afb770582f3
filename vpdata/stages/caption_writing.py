"""From requests to texts that passed their checks: asked, and asked again once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from vpdata.models.ports import Captioner, CaptionRequest
from vpdata.stages.caption_checks import CaptionChecks, Problem, problem_of


@dataclass(frozen=True, slots=True)
class Written:
    """The answer to one request."""

    text: str
    problem: Problem | None
    """Why the text is of no use; None: it is."""


def write(
    captioner: Captioner, requests: Sequence[CaptionRequest], *, checks: CaptionChecks | None, ask_again: str
) -> list[Written]:
    """One text per request. One with a problem is asked for once more, by the prompt `ask_again` that names it.

    An empty answer is taken as it is: the model has nothing to say, or its server declines.
    """
    written = _checked(captioner.caption(requests), requests, checks)
    bad = [row for row, one in enumerate(written) if one.problem is not None and one.problem.check != "empty"]
    if bad:
        again = [_with_complaint(requests[row], written[row].problem, ask_again) for row in bad]
        for row, one in zip(bad, _checked(captioner.caption(again), again, checks), strict=True):
            written[row] = one
    return written


def label_of(request: CaptionRequest) -> str | None:
    """The label of the track that a request is about; None for the whole clip."""
    return next((track.label for track in request.record.tracks or () if track.id == request.track), None)


def _checked(texts: Sequence[str], requests: Sequence[CaptionRequest], checks: CaptionChecks | None) -> list[Written]:
    pairs = zip(texts, requests, strict=True)
    return [Written(text, problem_of(text, label=label_of(request), checks=checks)) for text, request in pairs]


def _with_complaint(request: CaptionRequest, problem: Problem | None, ask_again: str) -> CaptionRequest:
    assert problem is not None
    prompt = ask_again.format(prompt=request.prompt.strip(), got=problem.got, wanted=problem.wanted)
    return dataclasses.replace(request, prompt=prompt)
