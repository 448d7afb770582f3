"""Cells and heads as text, the same in every format."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.report.columns import PLACE_NAMES, Column
from benchmark.report.tables import Cell, Table

SUBSETS = {
    "S": "VPBench-S, inpainting",
    "L": "VPBench-L, inpainting",
    "davis": "DAVIS, inpainting",
    "edit-S": "VPBench-Edit, short",
    "edit-L": "VPBench-Edit, long",
}
MISSING = "n/a"
INTERVALS = "Brackets hold 95 % intervals over videos, by Student's t"


def number(value: float, column: Column, *, is_signed: bool = False) -> str:
    """In as many digits as the column has."""
    return f"{value:{'+' if is_signed else ''}.{column.digits}f}"


def quoted_number(value: float) -> str:
    """As the paper prints it, whatever the column."""
    return f"{value:.2f}"


def interval(cell: Cell, column: Column, *, is_signed: bool = False) -> str | None:
    """`[low, high]`; None where there is none."""
    if cell.low is None or cell.high is None:
        return None
    return f"[{number(cell.low, column, is_signed=is_signed)}, {number(cell.high, column, is_signed=is_signed)}]"


def reasons_of(cells: Iterable[Cell]) -> list[str]:
    """Why numbers are missing or to be taken with care, each reason once: footnotes, numbered from 1."""
    return list(dict.fromkeys(cell.why for cell in cells if cell.why))


def quoted_notes(tables: Iterable[Table]) -> list[str]:
    """What a reader of the quoted rows must know, once."""
    return list(dict.fromkeys(table.quoted_note for table in tables if table.quoted_note))


def given_notes(tables: Iterable[Table]) -> list[str]:
    """What the mark of a method that was given the true first frame says, once."""
    return list(dict.fromkeys(table.given_note for table in tables if table.given_note))


def title(table: Table) -> str:
    """Region, output, dilation, and what the rows are."""
    output = table.output if table.output == "raw" else "known pixels put back"
    radius = f", hole grown by {table.dilate_px} px" if table.dilate_px else ""
    rows = (
        f"difference from {table.reference}{table.mark(table.reference)}, case by case"
        if table.reference
        else "mean over cases"
    )
    weights = ", cases weigh alike" if table.average == "cases" else ""
    return f"{PLACE_NAMES[table.place]}, {output}{radius}: {rows}{weights}"


def coverage(table: Table, cells: tuple[Cell, ...]) -> str:
    """Over how many of how many cases a row's numbers are."""
    numbers = sorted({cell.num_cases for cell in cells if cell.value is not None})
    if not numbers:
        return f"0 of {table.num_cases}"
    least = f"{numbers[0]} to " if len(numbers) > 1 else ""
    return f"{least}{numbers[-1]} of {table.num_cases}"


def on_one_line(text: str) -> str:
    """Lines joined by semicolons, so that commands among them can be told apart, but for those behind a colon."""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "; ".join(filter(None, lines)).replace(":; ", ": ")
