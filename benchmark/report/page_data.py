"""Tables and cases as the plain data that the page's script reads; all text is ready to be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.bench import Case
from benchmark.metrics.table import Key, Output
from benchmark.report.columns import PLACE_NAMES, Column, columns_of, places_of
from benchmark.report.numbers import MISSING, coverage, interval, number, quoted_number, title
from benchmark.report.scores import Scores, sums_of
from benchmark.report.tables import Cell, Table


def table_data(table: Table) -> dict[str, Any]:
    """One table."""
    is_signed = table.reference is not None
    return {
        "subset": table.subset,
        "place": table.place,
        "place_name": PLACE_NAMES[table.place],
        "output": table.output,
        "dilate_px": table.dilate_px,
        "reference": table.reference,
        "title": title(table),
        "given_note": table.given_note,
        "quoted_note": table.quoted_note,
        "columns": [{"head": one.head, "is_higher_better": one.is_higher_better} for one in table.columns],
        "rows": [
            {
                "method": method,
                "mark": table.mark(method),
                "cells": [
                    _cell(cell, column, is_signed=is_signed, num_cases=table.num_cases)
                    for cell, column in zip(cells, table.columns, strict=True)
                ],
                "coverage": coverage(table, cells),
            }
            for method, cells in table.rows.items()
        ],
        "quoted": [
            {
                "method": row.method,
                "table": row.where,
                "cells": [quoted_number(value) for value in row.values],
            }
            for row in table.quoted
        ],
    }


def _cell(cell: Cell, column: Column, *, is_signed: bool, num_cases: int) -> dict[str, Any]:
    shown = MISSING if cell.value is None else number(cell.value, column, is_signed=is_signed)
    return {
        "text": shown,
        "value": cell.value,
        "interval": interval(cell, column, is_signed=is_signed),
        "fewer": f"{cell.num_cases} of {num_cases}" if cell.value is not None and cell.num_cases < num_cases else None,
        "why": cell.why,
        "is_best": cell.is_best,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What single cases are sorted by."""

    column: Column
    output: Output
    dilate_px: int

    @property
    def key(self) -> Key:
        return self.column.metric, self.column.place, self.output, self.dilate_px

    def data(self) -> dict[str, Any]:
        """For the page."""
        output = "raw" if self.output == "raw" else "known pixels put back"
        grown = f", hole grown by {self.dilate_px} px" if self.dilate_px else ""
        return {
            "name": f"{self.column.head}, {PLACE_NAMES[self.column.place]}, {output}{grown}",
            "output": self.output,
            "is_higher_better": self.column.is_higher_better,
        }


def measures_of(scores: Scores) -> tuple[Measure, ...]:
    """All that have a value for some case; those of the hole come first."""
    outputs: tuple[Output, ...] = ("raw", "composited")
    places = sorted(places_of(scores.protocol), key=lambda place: place != "hole")
    found: dict[Key, Measure] = {}
    for place in places:
        for output in outputs:
            for radius in scores.dilate_px:
                for column in columns_of(scores.protocol, place):
                    measure = Measure(column=column, output=output, dilate_px=radius)
                    if any(sums_of(rows[measure.key]) for rows in scores.rows.values()):
                        found.setdefault(measure.key, measure)
    return tuple(found.values())


def case_data(scores: Scores, case: Case, measures: tuple[Measure, ...], media: Mapping[str, Any] | None) -> dict:
    """One case: its words, its videos, and every method's values in the order of the measures."""
    names = ("id", "subset", "category", "caption", "object_caption", "operation", "instruction", "target_caption")
    return {
        **{name: getattr(case, name) for name in (*names, "target_object")},
        "media": media,
        "methods": {method: _method(scores, method, case, measures) for method in scores.methods},
    }


def _method(scores: Scores, method: str, case: Case, measures: tuple[Measure, ...]) -> dict[str, Any]:
    rows = scores.rows[method, case.id]
    reason = next((row.reason for row in rows.values() if row.status == "failed"), None)
    return {"failed": reason, "values": [_value(rows, measure) for measure in measures]}


def _value(rows: Mapping[Key, Any], measure: Measure) -> list[Any]:
    """The number, and as it is shown."""
    row, column = rows[measure.key], measure.column
    sums = sums_of(row)
    if sums is None:
        return [None, MISSING]
    value = column.factor * sums.sum / sums.count
    return [float(f"{value:.6g}"), number(value, column)]
