"""A benchmark from a run: drawn, cut, written, and held out of training."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from benchmark.bench import (
    CASES,
    EXPORT,
    FACTS,
    LONG,
    SPLIT,
    Case,
    Category,
    FolderMedia,
    Subset,
    cases_table,
    mask_file,
    mask_json,
    video_file,
)
from benchmark.split.candidates import candidates_of
from benchmark.split.cases import MadeCase, Material, make_case
from benchmark.split.categories import CATEGORIES, offers_of
from benchmark.split.draw import Budget, Candidate, Drawn, draw
from benchmark.split.edits import WriteWords, make_edits
from benchmark.split.facts import facts_of
from benchmark.split.held_out import hold_out_cases
from benchmark.split.settings import BenchSettings
from benchmark.split.shots import ShotCutter
from benchmark.split.unusable import UnusableError, Why
from benchmark.split.write_published import write_published
from vpdata.codec import to_builtins
from vpdata.dataset import layout
from vpdata.dataset.reader import open_dataset
from vpdata.dataset.run import Run, parquet_bytes
from vpdata.errors import RunError
from vpdata.records import Clip
from vpdata.storage import Folder

_log = logging.getLogger(__name__)


class Maker:
    """Makes one benchmark. What was drawn and could not be used is listed in `unusable`."""

    def __init__(
        self, run: Run, settings: BenchSettings, output: Folder, *, cutter: ShotCutter | None, write_words: WriteWords
    ) -> None:
        """`cutter` may be None where no long cases are wanted. RunError for an unfinished run."""
        self.run, self.settings, self.output = run, settings, output
        self.found = candidates_of(run, settings)
        self.unusable: dict[tuple[str, Why], str] = {}
        self._cutter, self._write_words = cutter, write_words
        self._dataset = open_dataset(run.folder.uri)
        self._budget = Budget(Counter(self.found.videos_of.values()), max_frac=settings.max_held_out_frac)
        self._shots: dict[str, Material] = {}

    def cases(self) -> list[Case]:
        """All cases, their files written. Long ones first: few shots are long enough."""
        settings = self.settings
        long = self._drawn("L", self.found.long, settings.num_long, held_out=())
        short = self._drawn("S", self.found.short, settings.num_short, held_out={case.video_id for case in long})
        short_edits = self._edits("edit-S", short, settings.num_short_edits)
        long_edits = self._edits("edit-L", long, settings.num_long_edits, first_turn=len(short_edits))
        return [*long, *short, *long_edits, *short_edits]

    def long_clips(self, cases: Sequence[Case]) -> list[Clip]:
        """The clips that long cases are made from, which the run does not have."""
        return [self._material(case.subset, case.clip_id).record.clip for case in cases if case.subset == "L"]

    def _drawn(
        self, subset: Subset, candidates: Sequence[Candidate], num: int, *, held_out: Collection[str]
    ) -> list[Case]:
        """Draw and make. Where something cannot be made, all is drawn again without it: the last draw alone tells."""
        made: dict[tuple[str, Category], Case] = {}
        while True:
            options = {"budget": self._budget, "held_out": held_out, "seed": self.settings.seed, "salt": subset}
            drawn = draw(candidates, num=num, **options)
            useless: dict[str, Collection[Category]] = {}
            for one in drawn:
                key = one.candidate.id, one.offer.category
                try:
                    made[key] = made.get(key) or self._write(self._case(subset, one))
                except UnusableError as error:
                    self._list(one.candidate.id, error)
                    useless[one.candidate.id] = (one.offer.category,) if error.why == "mask" else CATEGORIES
            if not useless:
                return [made[one.candidate.id, one.offer.category] for one in drawn]
            candidates = [one.without(useless.get(one.id, ())) for one in candidates]

    def _case(self, subset: Subset, one: Drawn) -> MadeCase:
        material, offer = self._material(subset, one.candidate.id), one.offer
        if subset == "L":
            # Followed anew, the shot has other tracks than its clips had.
            of_category = {new.category: new for new in offers_of(to_builtins(material.record.tracks or ()))}
            if offer.category not in of_category:
                detail = f"drawn as {offer.category}, and followed as a whole it shows {', '.join(of_category)} alone"
                raise UnusableError("mask", detail)
            offer = of_category[offer.category]
        return make_case(material, offer, subset=subset, max_s=self._max_s(subset), seed=self.settings.seed)

    def _edits(self, subset: Subset, cases: Sequence[Case], num: int, *, first_turn: int = 0) -> list[Case]:
        made = make_edits(
            [case.clip_id for case in cases],
            lambda clip: self._material(subset, clip),
            num=num,
            first_turn=first_turn,
            subset=subset,
            max_s=self._max_s(subset),
            seed=self.settings.seed,
            write_words=self._write_words,
            unusable=self._list,
        )
        return [self._write(one) for one in made]

    def _material(self, subset: Subset, name: str) -> Material:
        """A clip of the run, or a shot by its candidate's id or that of its clip."""
        if subset not in LONG:
            sample = self._dataset.find(name)
            return Material(record=sample.record, mp4=sample.mp4)
        if name not in self._shots:
            assert self._cutter is not None, "only they are drawn from shots"
            shot = self.found.shots[name]
            _log.info("%s: cutting it again from %s, and following what is in it", name, shot.video.uri)
            material = self._cutter.material(shot)
            self._shots[name] = self._shots[material.record.id] = material
        return self._shots[name]

    def _max_s(self, subset: Subset) -> float:
        return self.settings.long_max_s if subset in LONG else self.settings.short_s

    def _write(self, made: MadeCase) -> Case:
        case = made.case
        _log.info("%s: %s, %d frames", case.id, case.operation or case.category, case.num_frames)
        self.output.write(video_file(case.id), made.mp4)
        masks = mask_json(made.counts, height_px=case.height_px, width_px=case.width_px)
        self.output.write(mask_file(case.id), masks)
        return replace(case, mask_sha256=hashlib.sha256(masks).hexdigest())

    def _list(self, name: str, error: UnusableError) -> None:
        _log.warning("%s cannot be used: %s", name, error)
        self.unusable[name, error.why] = error.detail


def make_bench(maker: Maker) -> Mapping[str, Any]:
    """Write the benchmark's folder and the split that holds it out; what `bench.yaml` says.

    RunError where the output holds a benchmark, or nothing of the run can be a case.
    """
    run, settings, output = maker.run, maker.settings, maker.output
    if output.exists(FACTS):
        raise RunError(
            f"{output.uri} holds a benchmark already; to make it anew remove that folder first, or give another "
            "--output and another name, which is that of its split"
        )
    cases = maker.cases()
    if not cases:
        raise RunError(
            f"{run.folder.uri}: none of its {len(maker.found.videos_of)} clips can be a case of the benchmark; set "
            "short_s, long_min_s or max_held_out_frac to what the run has"
        )
    _remove_others(output, cases)
    output.write(CASES, parquet_bytes(cases_table(cases)))
    held_out = hold_out_cases(
        run,
        settings,
        packed=maker.found.videos_of,
        videos=sorted({case.video_id for case in cases}),
        long_clips=maker.long_clips(cases),
    )
    output.write(SPLIT, run.folder.child(layout.SPLITS).read(f"{settings.name}.parquet"))
    write_published(cases, FolderMedia(output), output.child(EXPORT))
    facts = facts_of(maker, cases, held_out)
    # Last: a folder with it is whole.
    output.write(FACTS, yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=120).encode())
    return facts


def _remove_others(output: Folder, cases: Sequence[Case]) -> None:
    """Files of cases that a draw gave up, or that an earlier, unfinished making left."""
    for name_of in (video_file, mask_file):
        wanted = {name_of(case.id) for case in cases}
        folder = name_of("").partition("/")[0]
        for name in output.child(folder).names():
            if f"{folder}/{name}" not in wanted:
                output.remove(f"{folder}/{name}")
