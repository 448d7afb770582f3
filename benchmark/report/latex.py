r"""The paper's columns as LaTeX tables, for `\usepackage{booktabs}`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from benchmark.report.facts import Facts
from benchmark.report.numbers import MISSING, SUBSETS, number, quoted_number, title
from benchmark.report.tables import Cell, Table

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip
_PATTERN = re.compile("|".join(map(re.escape, _SPECIAL)))


def latex(facts: Facts, tables: Sequence[Table]) -> str:
    """One `tabular` for each table of means, in the order given; comments say what the numbers are of."""
    lines = [f"protocol {facts.protocol}", facts.frames, *(f"{one.name}: {one.given}" for one in facts.methods)]
    comments = "".join(f"% {' '.join(line.split())}\n" for line in lines)
    return "\n".join([comments, *(_tabular(table) for table in tables if table.reference is None)])


def _tabular(table: Table) -> str:
    columns = [column for column in table.columns if column.is_published]
    heads = [rf"{column.head.rpartition(' ')[0]} ${_arrow(column.is_higher_better)}$" for column in columns]
    lines = [
        f"% {SUBSETS[table.subset]}; {title(table)}; {table.num_cases} cases",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        _row(["", *heads]),
        r"\midrule",
    ]
    for method, cells in table.rows.items():
        values = [_cell(table, cells[index], index) for index in range(len(columns))]
        lines.append(_row([_escaped(method), *values]))
    if table.quoted:
        lines.append(r"\midrule")
    for row in table.quoted:
        values = [quoted_number(value) for value in row.values]
        lines.append(_row([rf"{_escaped(row.method)} (quoted, Table {row.table})", *values]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _cell(table: Table, cell: Cell, index: int) -> str:
    if cell.value is None:
        return MISSING
    value = number(cell.value, table.columns[index])
    value = rf"\textbf{{{value}}}" if cell.is_best else value
    fewer = cell.num_cases < table.num_cases
    return rf"{value}\textsuperscript{{{cell.num_cases}/{table.num_cases}}}" if fewer else value


def _arrow(is_higher_better: bool) -> str:
    return r"\uparrow" if is_higher_better else r"\downarrow"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _escaped(text: str) -> str:
    return _PATTERN.sub(lambda match: _SPECIAL[match[0]], text)
