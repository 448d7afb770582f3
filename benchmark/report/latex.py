r"""The paper's columns as LaTeX tables, for `\usepackage{booktabs}`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from benchmark.report.columns import Column
from benchmark.report.facts import Facts
from benchmark.report.numbers import (
    INTERVALS,
    MISSING,
    SUBSETS,
    given_notes,
    interval,
    number,
    on_one_line,
    quoted_notes,
    quoted_number,
    reasons_of,
    title,
)
from benchmark.report.tables import GIVEN, Cell, Table

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "--": "-{}-", GIVEN: r"\textsuperscript{\dag}",
}  # fmt: skip
_PATTERN = re.compile("|".join(map(re.escape, _SPECIAL)))


def latex(facts: Facts, tables: Sequence[Table], *, has_intervals: bool = False) -> str:
    """One `tabular` under its title for each table of means, in the order given, and their footnotes.

    Comments say what the numbers are of. With `has_intervals` the 95 % interval stands behind each number, in small.
    """
    means = [table for table in tables if table.reference is None]
    notes = reasons_of(cell for table in means for row in table.rows for cell, _ in _published(table, row))
    lines = [f"protocol {facts.protocol}", facts.frames, *(f"{one.name}: {one.given}" for one in facts.methods)]
    comments = "".join(f"% {' '.join(line.split())}\n" for line in lines)
    footnotes = [rf"{{\footnotesize\noindent {_mark(why, notes)} {_escaped(why)}\par}}" for why in notes]
    footnotes += [
        rf"{{\footnotesize\noindent {_escaped(note)}\par}}" for note in (*given_notes(means), *quoted_notes(means))
    ]
    if has_intervals:
        footnotes.append(rf"{{\footnotesize\noindent {_escaped(INTERVALS)}.\par}}")
    tabulars = [_tabular(table, notes, has_intervals=has_intervals) for table in means]
    return "\n".join([comments, *tabulars, *footnotes, ""])


def _published(table: Table, method: str) -> list[tuple[Cell, Column]]:
    """The cells of a row in the paper's columns."""
    pairs = zip(table.rows[method], table.columns, strict=True)
    return [(cell, column) for cell, column in pairs if column.is_published]


def _tabular(table: Table, notes: Sequence[str], *, has_intervals: bool) -> str:
    columns = [column for column in table.columns if column.is_published]
    heads = [rf"{column.head.rpartition(' ')[0]} ${_arrow(column.is_higher_better)}$" for column in columns]
    lines = [
        rf"\noindent {_escaped(f'{SUBSETS[table.subset]}; {title(table)}; {table.num_cases} cases')}\par\smallskip",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        _row(["", *heads]),
        r"\midrule",
    ]
    for method in table.rows:
        values = [
            f"{_cell(table, *one, has_interval=has_intervals)}{_mark(one[0].why, notes)}"
            for one in _published(table, method)
        ]
        lines.append(_row([_escaped(method + table.mark(method)), *values]))
    if table.quoted:
        lines.append(r"\midrule")
    for row in table.quoted:
        values = [quoted_number(value) for value in row.values]
        lines.append(_row([rf"{_escaped(row.method)} (quoted, Table {_escaped(row.where)})", *values]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _cell(table: Table, cell: Cell, column: Column, *, has_interval: bool) -> str:
    if cell.value is None:
        return MISSING
    value = number(cell.value, column)
    value = rf"\textbf{{{value}}}" if cell.is_best else value
    if has_interval and (bounds := interval(cell, column)):
        value = rf"{value} {{\scriptsize {bounds}}}"
    fewer = cell.num_cases < table.num_cases
    return f"{value} ({cell.num_cases}/{table.num_cases})" if fewer else value


def _mark(why: str | None, notes: Sequence[str]) -> str:
    return rf"\textsuperscript{{{notes.index(why) + 1}}}" if why else ""


def _arrow(is_higher_better: bool) -> str:
    return r"\uparrow" if is_higher_better else r"\downarrow"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _escaped(text: str) -> str:
    return _PATTERN.sub(lambda match: _SPECIAL[match[0]], on_one_line(text))
