"""Makes a study of a benchmark and its results: draws the cases and encodes all that people will see."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmark.bench import Bench, Case, Sampled
from benchmark.results import BadResult, Frames, Results
from benchmark.running import fingerprint
from benchmark.study.ballots import BROKEN, ORIGINAL, Plan, Shown, ballots_of, draw_checks, draw_order
from benchmark.study.footage import broken, encode, outlined, put_back
from benchmark.study.store import REFERENCE, CaseText, Facts, Store, create
from vpdata.codec import to_json
from vpdata.config import nearest
from vpdata.errors import ConfigError, RunError
from vpdata.storage import Folder

_log = logging.getLogger(__name__)

MAX_METHODS = 8
"""More videos than that nobody compares at once."""


def videos_folder(study: Path) -> Path:
    """Where the videos of a study lie."""
    return study.with_name(f"{study.name}.videos")


def make(study: Path, wanted: Facts, bench: Bench, results: Results) -> None:
    """Write the videos and then the study. Stopped in between, the next call goes on with the videos that are there.

    ConfigError for methods that have no results on this benchmark or are too many, and where no case is left to draw.
    """
    _check_methods(wanted.methods, results, fingerprint(bench))
    cases = {case.id: case for case in bench.cases if not wanted.subsets or case.subset in wanted.subsets}
    videos = _Videos(Folder(videos_folder(study)), bench, results, wanted)
    files: dict[tuple[str, Shown], str] = {}
    drawn: list[str] = []
    left_out: dict[str, str] = {}
    for case_id in draw_order(cases, seed=wanted.seed):
        if len(drawn) == wanted.num_cases:
            break
        _log.info("videos of case %d of %d: %s", len(drawn) + 1, min(wanted.num_cases, len(cases)), case_id)
        try:
            files |= videos.of_methods(cases[case_id])
            drawn.append(case_id)
        except BadResult as error:
            left_out[case_id] = str(error)
            _log.warning("left out: %s: %s", case_id, error)
    if not drawn:
        raise ConfigError(
            f"got no case of which every method has a result: {left_out or 'the benchmark has none of these subsets'}"
        )
    # Of an edit the original is no good answer to what fits the text, so checks show cases of filling where they can.
    filling = [case_id for case_id in cases if cases[case_id].instruction is None] or list(cases)
    check_ids = draw_checks(filling, taken=drawn, num=wanted.num_checks, seed=wanted.seed)
    for case_id in check_ids:
        files |= videos.of_check(cases[case_id])
    shown_ids = {*drawn, *check_ids}
    facts = replace(wanted, case_ids=tuple(sorted(drawn)), check_ids=check_ids, left_out=left_out)
    create(study, facts, texts={case_id: _text(cases[case_id]) for case_id in shown_ids}, files=files)


def invite(store: Store, *, up_to: int) -> dict[int, str]:
    """Add participants until there are so many; number to token of those that were added."""
    facts = store.facts
    plan = Plan(seed=facts.seed, methods=facts.methods, case_ids=facts.case_ids, check_ids=facts.check_ids)
    new = range(len(store.participants) + 1, up_to + 1)
    return store.invite({number: ballots_of(plan, number) for number in new})


def check_same(store: Store, wanted: Facts) -> None:
    """ConfigError where a study that is there was made for other options, or lacks videos."""
    drawn = {"case_ids", "check_ids", "left_out"}
    old, new = (
        {name: getattr(facts, name) for name in Facts.__dataclass_fields__ if name not in drawn}
        for facts in (store.facts, wanted)
    )
    changed = [f"{name} is {old[name]!r}, not {new[name]!r}" for name in old if old[name] != new[name]]
    if changed:
        shown = f", --show {store.facts.shown} too," if store.facts.shown != wanted.shown else ""
        raise ConfigError(
            f"{store.path} is another study: {'; '.join(changed)}; give the same options{shown} or another --output"
        )
    folder = videos_folder(store.path)
    missing = [file for file in store.files if not (folder / file).is_file()]
    if missing:
        raise RunError(f"{folder} lacks {len(missing)} videos, the first is {missing[0]}; bring back the folder")


class _Videos:
    """Encodes what is not there yet. A file is named by what decides its content, so an old one is never mistaken."""

    def __init__(self, folder: Folder, bench: Bench, results: Results, wanted: Facts) -> None:
        self._folder, self._bench, self._results, self._wanted = folder, bench, results, wanted

    def of_methods(self, case: Case) -> dict[tuple[str, Shown], str]:
        """Of the original and of every method's result; BadResult where one of them has none."""
        for method in self._wanted.methods:
            outcome = self._results.outcome(method, case.id)
            if outcome.status == "failed":
                raise BadResult(f"{method}: {outcome.reason}")
        sampled = self._bench.sampled(case)
        made = self._reference(case, sampled)
        num_frames, height, width = sampled.masks.shape
        for method in self._wanted.methods:
            try:
                frames = self._results.frames(method, case.id, shape=(num_frames, height, width))
            except BadResult as error:
                raise BadResult(f"{method}: {error}") from error
            if self._wanted.shown == "composited":
                reach_px = self._results.method(method).dilate_px
                frames = put_back(frames, sampled.frames, sampled.masks, dilate_px=reach_px)
            made[case.id, Shown(name=method)] = self._file(case, method, sampled, frames)
        return made

    def of_check(self, case: Case) -> dict[tuple[str, Shown], str]:
        """Of the original, with the outline and without, and of as many broken copies as make up a page."""
        sampled = self._bench.sampled(case)
        made = self._reference(case, sampled)
        made[case.id, Shown(name=ORIGINAL)] = self._file(case, ORIGINAL, sampled, sampled.frames)
        for variant in range(len(self._wanted.methods) - 1):
            frames = broken(sampled.frames, case_id=case.id, variant=variant)
            made[case.id, Shown(name=BROKEN, variant=variant)] = self._file(case, f"{BROKEN}{variant}", sampled, frames)
        return made

    def _reference(self, case: Case, sampled: Sampled) -> dict[tuple[str, Shown], str]:
        drawn = outlined(sampled.frames, sampled.masks)
        return {(case.id, Shown(name=REFERENCE)): self._file(case, REFERENCE, sampled, drawn)}

    def _file(self, case: Case, name: str, sampled: Sampled, frames: Frames) -> str:
        key = [
            case.id,
            name,
            self._wanted.short_side_px,
            str(sampled.fps),
            hashlib.sha256(frames.tobytes()).hexdigest(),
        ]
        file = f"{hashlib.sha256(to_json(key)).hexdigest()[:32]}.mp4"
        if not self._folder.exists(file):
            self._folder.write(file, encode(frames, fps=sampled.fps, short_side_px=self._wanted.short_side_px))
            # A server tells when a file was written, and methods are written one after the other.
            os.utime(self._folder.path(file), (0, 0))
        return file


def _check_methods(methods: Sequence[str], results: Results, bench: str) -> None:
    if len(set(methods)) != len(methods) or not 2 <= len(methods) <= MAX_METHODS:
        raise ConfigError(f"--methods: got {', '.join(methods)}; wanted 2 to {MAX_METHODS} different ones")
    for method in methods:
        if method not in results.methods:
            tail = nearest(method, results.methods) or f"; there are: {', '.join(results.methods)}"
            raise ConfigError(f"--methods: {results.root} has no results of {method!r}{tail}")
        results.method(method, bench=bench)


def _text(case: Case) -> CaseText:
    return CaseText(text=case.prompt, region_text=case.object_prompt.strip(), instruction=case.instruction)
