"""What people answered: how often each method was called best, how sure that is, and how far people agree."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.metrics.intervals import Interval, crossed_bootstrap
from benchmark.study.agreement import krippendorff_alpha
from benchmark.study.ballots import ORIGINAL, QUESTIONS, Question
from benchmark.study.published import published_study
from benchmark.study.store import Answer, Facts, Store
from vpdata.codec import to_json
from vpdata.storage import Folder

MAX_MISSED_FRAC = 1 / 3
RULE = (
    "A check is passed where the original is chosen in all three questions. Excluded is who missed more than a third "
    "of the checks that they answered and, in a study with checks, who answered none."
)
NAMES: dict[Question, str] = {
    "background": "background preservation", "text": "text alignment", "quality": "video quality",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Turnout:
    """What one participant did."""

    participant: int
    num_answered: int
    """Pages, checks among them."""
    num_pages: int
    num_checks: int
    """That were answered."""
    num_passed: int
    excluded: str | None
    """Why the answers do not count; None where they do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One question: the share of answers that call a method best, as 0 to 1."""

    question: Question
    shares: dict[str, Interval]
    """Of each method; empty where nobody's answers count."""
    agreement: float | None
    """Krippendorff's alpha over cases; None where no case has two answers."""
    num_answers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResults:
    """Content of `results.json`."""

    facts: Facts
    rule: str
    interval: str
    agreement: str
    turnout: tuple[Turnout, ...]
    outcomes: tuple[Outcome, ...]


def write_results(store: Store, folder: Path) -> str:
    """Write `results.json`, `results.md` and `answers.csv`; the Markdown."""
    answers = store.answers()
    pages = {number: store.progress(number)[1] for number in store.participants}
    results = analyse(store.facts, answers, pages)
    text = markdown(results)
    files = Folder(folder)
    files.write("results.json", to_json(results))
    files.write("results.md", text.encode())
    with files.writing("answers.csv") as path:
        path.touch(mode=0o600)  # who answered what and when: the owner's alone, as is the study
        path.write_bytes(_csv(answers, results.turnout))
    return text


def analyse(facts: Facts, answers: Sequence[Answer], num_pages: dict[int, int]) -> StudyResults:
    """`num_pages`: of each participant, those without an answer among them."""
    turnout = tuple(
        _turnout(number, [answer for answer in answers if answer.participant == number], total, facts)
        for number, total in sorted(num_pages.items())
    )
    counted = {one.participant for one in turnout if one.excluded is None}
    votes = [answer for answer in answers if answer.participant in counted and not answer.is_check]
    return StudyResults(
        facts=facts,
        rule=RULE,
        interval="95 %, bootstrap over participants and cases",
        agreement="Krippendorff's alpha, nominal",
        turnout=turnout,
        outcomes=tuple(_outcome(question, votes, facts) for question in QUESTIONS),
    )


def markdown(results: StudyResults) -> str:
    """One table: a row a method, in the paper's order of questions, and the paper's own shares below."""
    facts, turnout, paper = results.facts, results.turnout, published_study()
    started = [one for one in turnout if one.num_answered]
    excluded = [one for one in started if one.excluded]
    head = "| method | " + " | ".join(NAMES[outcome.question] for outcome in results.outcomes) + " |"
    rows = [
        f"| {method} | " + " | ".join(_percent(outcome.shares.get(method)) for outcome in results.outcomes) + " |"
        for method in facts.methods
    ]
    agreement = " | ".join("n/a" if one.agreement is None else f"{one.agreement:.3f}" for one in results.outcomes)
    lines = [
        "Called best, in % of all answers, with the 95 % interval over participants and cases. "
        f"Benchmark {facts.bench}, {len(facts.case_ids)} cases. Of {len(turnout)} participants {len(started)} began, "
        f"{sum(one.num_answered == one.num_pages for one in started)} finished and "
        f"{len(started) - len(excluded)} are counted, with all that they answered. Shown were "
        f"{'raw results' if facts.shown == 'raw' else 'results with the known pixels put back'}.",
        "", head, "|---" * (1 + len(results.outcomes)) + "|", *rows,
        f"| Krippendorff's alpha | {agreement} |",
        *(
            f"| *quoted, {row.task}: {row.method}* | "
            + " | ".join(f"{getattr(row, outcome.question):.1f}" for outcome in results.outcomes) + " |"
            for row in paper.of(facts.subsets)
        ),
        "", f"Quoted rows: {paper.source}; {paper.setting}. A share depends on what a method is compared with, so they "
        "are not comparable with the rows above, whatever the name.",
        "", results.rule,
        *(f"Excluded: participant {one.participant}: {one.excluded}" for one in excluded),
        *(f"Left out: {case_id}: {reason}" for case_id, reason in sorted(facts.left_out.items())),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _turnout(participant: int, answers: Sequence[Answer], num_pages: int, facts: Facts) -> Turnout:
    checks: dict[int, list[bool]] = {}
    for answer in answers:
        if answer.is_check:
            checks.setdefault(answer.ballot, []).append(answer.chosen == ORIGINAL)
    num_passed = sum(all(right) for right in checks.values())
    num_missed = len(checks) - num_passed
    excluded = None
    if num_missed > MAX_MISSED_FRAC * len(checks):
        excluded = f"missed {num_missed} of {len(checks)} checks"
    elif answers and facts.check_ids and not checks:
        excluded = "answered no check"
    return Turnout(
        participant=participant,
        num_answered=len({answer.ballot for answer in answers}),
        num_pages=num_pages,
        num_checks=len(checks),
        num_passed=num_passed,
        excluded=excluded,
    )


def _outcome(question: Question, votes: Sequence[Answer], facts: Facts) -> Outcome:
    chosen = {(vote.participant, vote.case_id): vote.chosen for vote in votes if vote.question == question}
    raters = sorted({participant for participant, _ in chosen})
    of_case = {
        case_id: [chosen[rater, case_id] for rater in raters if (rater, case_id) in chosen]
        for case_id in facts.case_ids
    }
    shares = {}
    for method in facts.methods if chosen else ():
        wins = [
            [
                float(chosen[rater, case_id] == method) if (rater, case_id) in chosen else np.nan
                for case_id in facts.case_ids
            ]
            for rater in raters
        ]
        shares[method] = crossed_bootstrap(np.array(wins), seed=facts.seed)
    return Outcome(question=question, shares=shares, agreement=krippendorff_alpha(of_case), num_answers=len(chosen))


def _percent(share: Interval | None) -> str:
    return "n/a" if share is None else f"{share.scaled(100):.1f}"


def _csv(answers: Sequence[Answer], turnout: Sequence[Turnout]) -> bytes:
    excluded = {one.participant for one in turnout if one.excluded}
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["participant", "page", "case", "check", "question", "chosen", "shown", "unix_s", "excluded"])
    for answer in answers:
        writer.writerow([
            answer.participant, answer.ballot, answer.case_id, int(answer.is_check), answer.question, answer.chosen,
            " ".join(answer.shown), f"{answer.unix_s:.3f}", int(answer.participant in excluded),
        ])  # fmt: skip
    return buffer.getvalue().encode()
