"""The report as Markdown. Names and reasons come from others, so what Markdown would read in them is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from benchmark.report.facts import METHOD_HEADS, Facts, MethodFacts
from benchmark.report.numbers import (
    INTERVALS,
    MISSING,
    SUBSETS,
    coverage,
    given_notes,
    interval,
    number,
    on_one_line,
    quoted_notes,
    quoted_number,
    reasons_of,
    title,
)
from benchmark.report.tables import Cell, Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#|~!])")


def markdown(facts: Facts, tables: Sequence[Table]) -> str:
    """Facts, methods, all tables by subset, what could not be measured, what failed, and the tables' footnotes."""
    notes = reasons_of(cell for table in tables for cells in table.rows.values() for cell in cells)
    parts = [f"# {text(facts.bench)}", *_lead(facts, tables), "## Methods", _methods(facts.methods)]
    for subset in dict.fromkeys(table.subset for table in tables):
        parts.append(f"## {SUBSETS[subset]}")
        for table in tables:
            if table.subset == subset:
                parts += [f"### {text(title(table)).capitalize()}", markdown_table(table, notes)]
    if facts.missing:
        parts.append("## Not measured")
        parts += [f"- {text(metric)}: {text(why)}" for metric, why in facts.missing.items()]
    if facts.failed:
        rows = [[text(one) for one in row] for row in facts.failed]
        parts += ["## Results that cannot be used", grid(["method", "case", "reason"], rows)]
    parts += [f"[^{number}]: {text(why)}" for number, why in enumerate(notes, start=1)]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table, notes: Sequence[str]) -> str:
    """Methods, then the quoted rows; `notes` are the document's footnotes."""
    heads = ["method", *(column.head for column in table.columns), "cases"]
    rows = [
        [text(method) + table.mark(method), *row_cells(table, method, notes), coverage(table, cells)]
        for method, cells in table.rows.items()
    ]
    for row in table.quoted:
        values = [quoted_number(value) for value in row.values]
        blanks = [""] * (len(table.columns) - len(values))
        rows.append([f"*{text(row.method)}, quoted: table {text(row.where)}*", *values, *blanks, "quoted"])
    return grid(heads, rows)


def row_cells(table: Table, method: str, notes: Sequence[str] = ()) -> list[str]:
    """The numbers of one method, in the order of the columns, with the marks of those footnotes."""
    cells = table.rows[method]
    marks = [f"[^{notes.index(cell.why) + 1}]" if cell.why in notes else "" for cell in cells]
    return [f"{_cell(table, cells, index, table.reference is not None)}{mark}" for index, mark in enumerate(marks)]


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already; all columns but the first are numbers or short."""
    lines = [list(heads), ["---"] * len(heads), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def text(raw: str) -> str:
    """Any text on one line, with nothing in it that Markdown or HTML would read."""
    return _SPECIAL.sub(r"\\\1", on_one_line(raw)).replace("&", "&amp;")


def _lead(facts: Facts, tables: Sequence[Table]) -> Iterator[str]:
    yield "\n".join(
        [
            f"- Protocol {text(facts.protocol)}.",
            f"- {text(facts.frames)}.",
            f"- Holes grown by {', '.join(map(str, facts.dilate_px))} px before regions are taken and known pixels put "
            "back.",
            *(f"- {text(metric)}: {text(model)}." for metric, model in facts.models.items()),
            f"- {INTERVALS}.",
            *(f"- {text(note)}" for note in (*given_notes(tables), *quoted_notes(tables))),
        ]
    )


def _methods(methods: Sequence[MethodFacts]) -> str:
    return grid(["method", *METHOD_HEADS], [[text(one.name), *map(text, one.cells)] for one in methods])


def _cell(table: Table, cells: tuple[Cell, ...], index: int, is_signed: bool) -> str:
    cell, column = cells[index], table.columns[index]
    if cell.value is None:
        return MISSING
    value = number(cell.value, column, is_signed=is_signed)
    bounds = interval(cell, column, is_signed=is_signed)
    fewer = f" ({cell.num_cases} of {table.num_cases})" if cell.num_cases < table.num_cases else ""
    return f"{f'**{value}**' if cell.is_best else value}{f' {text(bounds)}' if bounds else ''}{fewer}"
