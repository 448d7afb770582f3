"""One stage on one part: the only place where a stage meets data."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from vpdata.dataset import layout
from vpdata.dataset.lease import LeaseProof
from vpdata.dataset.run import Run, num_rows
from vpdata.engine.child import AT_HAND
from vpdata.engine.intake import Intake
from vpdata.engine.part_output import PartOutput, num_durable
from vpdata.engine.prefetch import OpenMedia, Prefetch
from vpdata.engine.settings import EngineSettings
from vpdata.engine.work import Counts, Work
from vpdata.errors import RejectItem, RunError
from vpdata.records import Record, Reject
from vpdata.stages import base
from vpdata.stages.base import Inputs, Item, Rejected, Resources, Result, Row, Stage
from vpdata.stages.caption import Caption
from vpdata.stages.detect import Detect
from vpdata.stages.rules import FilterSettings, judge
from vpdata.storage import Folder, scratch


@dataclass(frozen=True, slots=True, kw_only=True)
class StageJob:
    """Runs a stage on parts; a `vpdata.engine.work.Job`."""

    stage: Stage
    intake: Intake
    folder: Folder
    """Of the stage: where its parts go."""
    lease: LeaseProof
    rules: FilterSettings | None
    """Judge every record by these right after the stage; None: not before the filter stage."""
    engine: EngineSettings

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def resources(self) -> Resources:
        return self.stage.resources

    @property
    def has_items(self) -> bool:
        return True

    def setup(self) -> None:
        if isinstance(self.stage, Detect):
            self.stage.early_rules = self.rules
        self.stage.setup()

    def num_durable(self, name: str) -> int:
        return num_durable(self.folder, name)

    def open_output(self, part: str) -> PartOutput:
        """What takes the outcomes of a part."""
        return PartOutput(self.folder, part, self.lease)

    def run(self, work: Work, alive: Callable[[int], None]) -> Counts:
        """Run the stage on the part `work.name`, from its first item that is not finished yet."""
        items = self.intake.items(work.name)
        with self.open_output(work.name) as output:
            if work.blame is not None and work.blame.index == output.num_items:
                blamed = items[work.blame.index]
                output.add_reject(_rejected(blamed, work.blame.rejection, stage=self.name).reject)
                output.finish_items(work.blame.index + 1)
                output.flush()
            first = output.num_items
            alive(first)
            if isinstance(self.stage, Caption):
                self.stage.alive = lambda: alive(output.num_durable)
            if work.careful or work.alone:
                stop = min(first + 1, len(items)) if work.alone else len(items)
                at_hand = Path(scratch(), AT_HAND)
                for index in range(first, stop):
                    at_hand.write_text(items[index].id)
                    self._process(work, items, range(index, index + 1), output, alive)
                    output.flush()
                    alive(output.num_durable)
                at_hand.unlink(missing_ok=True)
            else:
                self._process(work, items, range(first, len(items)), output, alive)
            if work.alone:
                return Counts(name=work.name, num_items=1, num_records=0, num_rejects=0)
            return output.commit()

    def _process(
        self, work: Work, items: Sequence[Item], span: range, output: PartOutput, alive: Callable[[int], None]
    ) -> None:
        is_ahead = self.stage.needs_media and not (work.careful or work.alone)
        prefetch = Prefetch(
            self.stage,
            self._open_media(work.name, items[span.start : span.stop], lambda: alive(output.num_durable)),
            num_threads=self.engine.prefetch_threads if is_ahead else 0,
            # What is prepared ahead counts towards the stage's memory and must leave room for the stage itself.
            max_bytes=round(min(self.engine.prefetch_mb * 1e6, self.resources.memory_gb * 1e9 / 4)),
        )
        flushed_at = time.monotonic()
        for index, outcome in _outcomes(self.stage, items, span, prefetch):
            output.finish_items(index)
            prefetch.close_before(index)
            if time.monotonic() - flushed_at >= self.engine.flush_every_s:
                output.flush()
                flushed_at = time.monotonic()
            self._add(outcome, output)
            alive(output.num_durable)
        output.finish_items(span.stop)
        prefetch.close_before(span.stop)

    def _add(self, outcome: Result | Rejected, output: PartOutput) -> None:
        if isinstance(outcome, Rejected):
            output.add_reject(outcome.reject)
            return
        record: Row | None = outcome.record
        if self.rules is not None:
            assert isinstance(record, Record), "rules are for stages of a build"
            judged = judge(record, self.rules, after=self.stage.name)
            record = judged.record
            for reject in judged.rejects:
                output.add_reject(reject)
        if record is not None:
            output.add(record, outcome.members)

    def _open_media(self, part: str, items: Sequence[Item], alive: Callable[[], None]) -> OpenMedia:
        if not self.stage.needs_media:
            return lambda item: nullcontext(b"")
        return self.intake.open_media(part, items, alive)


def num_records(run: Run, stage: str, part: str) -> int:
    """Rows of a finished part."""
    return num_rows(run.stage_folder(stage), layout.records_file(part))


def sub_parts(part: str, *, num_clips: int, clips_per_part: int) -> list[str]:
    """Names that a part goes by after `cut`: its own, or those of its sub-parts."""
    if num_clips <= clips_per_part:
        return [part]
    number = int(part.removeprefix("part-"))
    return [layout.part_name(number, sub_part) for sub_part in range(-(-num_clips // clips_per_part))]


def _outcomes(
    stage: Stage, items: Sequence[Item], span: range, prefetch: Prefetch
) -> Iterator[tuple[int, Result | Rejected]]:
    """Outcomes with the index of their item, in the order of the items; an item without one is an error of ours."""
    index_of = {items[index].id: index for index in span}
    refused: deque[tuple[int, Rejected]] = deque()
    last = span.start - 1

    def accepted() -> Iterator[Inputs]:
        for prepared in prefetch.prepared(items[span.start : span.stop], first_index=span.start):
            if isinstance(prepared.inputs, RejectItem):
                item = items[prepared.index]
                refused.append((prepared.index, _rejected(item, prepared.inputs, stage=stage.name)))
            else:
                yield prepared.inputs

    def in_order(index: int) -> Iterator[tuple[int, Result | Rejected]]:
        nonlocal last
        while refused and refused[0][0] < index:
            last = refused[0][0]
            yield refused.popleft()
        if index not in (last, last + 1):
            raise RunError(f"{items[last + 1].id} has no outcome: every item gives at least one, in order")

    try:
        for outcome in stage.process_many(accepted()):
            index = index_of[outcome.item_id]
            yield from in_order(index)
            last = index
            yield index, outcome
    except Exception as error:
        if not getattr(error, "__notes__", None):
            error.add_note(f"record {items[min(last + 1, span.stop - 1)].id}")
        raise
    yield from in_order(span.stop)


def _rejected(item: Item, why: RejectItem, *, stage: str) -> Rejected:
    if isinstance(item, Record):
        return base.rejected(item, why, stage=stage)
    reject = Reject(
        id=item.id,
        stage=stage,
        reason=why.reason,
        detail=why.detail,
        got=why.got,
        wanted=why.wanted,
        video_id=item.id,
        uri=item.uri,
    )
    return Rejected(item_id=item.id, reject=reject)
