"""Applies all rules to a finished record and writes the verdict."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from vpdata.models.ports import ModelCard
from vpdata.records import Record, Verdict
from vpdata.stages.base import Rejected, Result
from vpdata.stages.rules import FilterSettings, judge


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterInputs:
    """A record; the pixels are not needed."""

    record: Record

    @property
    def item_id(self) -> str:
        return self.record.id

    @property
    def num_bytes(self) -> int:
        return 0


class Filter:
    """Fills `Record.verdict` of what passes every rule, and drops the rest with what was got and wanted.

    Rules that ran early run again, so that tightening them takes no more than this stage.
    """

    name: ClassVar[str] = "filter"
    needs_media: ClassVar[bool] = False

    def __init__(self, settings: FilterSettings) -> None:
        self._settings = settings
        self.resources = settings.resources

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"version": 1, "rules": self._settings.rules}

    @property
    def models(self) -> tuple[ModelCard, ...]:
        return ()

    def setup(self) -> None:
        """Nothing to load."""

    def prepare(self, item: Record, media: bytes) -> FilterInputs:
        return FilterInputs(record=item)

    def process_many(self, inputs: Iterator[FilterInputs]) -> Iterator[Result | Rejected]:
        for one in inputs:
            judged = judge(one.record, self._settings, after=None)
            for reject in judged.rejects:
                yield Rejected(item_id=one.item_id, reject=reject)
            if judged.record is not None:
                record = dataclasses.replace(judged.record, verdict=Verdict(keep=True))
                yield Result(item_id=one.item_id, record=record)
