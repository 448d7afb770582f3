"""Tables as data: means over cases with their intervals, or differences from one method, beside the quoted rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmark.metrics.feature_files import fvid
from benchmark.metrics.intervals import pooled_interval
from benchmark.metrics.settings import Protocol
from benchmark.metrics.sums import Sums, total
from benchmark.metrics.table import METRICS, Key, Output, Place, ScoreRow
from benchmark.report.columns import Column, columns_of, places_of
from benchmark.report.published import Quoted, published
from benchmark.report.scores import Scores, sums_of
from vpdata.storage import Folder

Average = Literal["pixels", "cases"]
"""How cases weigh in a mean: by what was measured in each, or all alike."""
GIVEN = "†"
"""Mark of a method that was given the true first frame."""
_GIVEN_NOTES: dict[Protocol, str] = {
    "clean": "was given the true first frame. The first frame counts for no method, but the true one shows what is "
    "hidden later",
    "paper": "was given the true first frame, which counts as if the method had filled it",
}
_MAX_MORE_DIGITS = 2
"""Of a column whose least number, such as the squared error of a whole frame with a small hole, would show one."""
_OF_EDITS = "FVID of an edit is the distance from the videos before it, nearest for a method that changes nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One number, in the unit of its column."""

    value: float | None = None
    low: float | None = None
    """Of the 95 % interval over videos, and so is `high`; None for FVID, which is no mean, and for a single video."""
    high: float | None = None
    num_cases: int = 0
    """How many it is of."""
    why: str | None = None
    """Why it is not of all cases, or is to be taken with care."""
    is_best: bool = False
    """Of the column, among those that are of all cases and of methods that were given as much of the first frame;
    nowhere in a column that does not say which method is best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One subset, region and output."""

    subset: str
    place: Place
    output: Output
    dilate_px: int
    num_cases: int
    columns: tuple[Column, ...]
    rows: Mapping[str, tuple[Cell, ...]]
    """By method."""
    first_frame_given: frozenset[str] = frozenset()
    """The methods that were given the true first frame; the others' best value is marked apart from theirs."""
    quoted: tuple[Quoted, ...] = ()
    """They fill the first columns; only beside whole frames, which they seem to be of."""
    average: Average = "pixels"
    reference: str | None = None
    """Rows are what other methods differ from this one by, case by case; None: they are means."""

    @property
    def quoted_note(self) -> str | None:
        """What a reader of the quoted rows must know; None where there are none."""
        return published().note(self.columns[0].protocol) if self.quoted else None

    @property
    def given_note(self) -> str | None:
        """What the mark of a method says; None where no method has it."""
        if not self.first_frame_given:
            return None
        note = _GIVEN_NOTES[self.columns[0].protocol]
        return f"{GIVEN} {note}; the best of a column is marked among these methods and, apart, among the others."

    def mark(self, method: str) -> str:
        """Of a method that was given the true first frame; nothing for another."""
        return GIVEN if method in self.first_frame_given else ""


def tables(scores: Scores, reference: str | None = None, average: Average = "pixels") -> Iterator[Table]:
    """Of every subset, region, output and dilation: the means, and the differences from `reference` if there is one."""
    for subset in scores.subsets:
        num_cases = sum(case.subset == subset for case in scores.cases)
        for place in places_of(scores.protocol):
            for radius in scores.dilate_px:
                outputs: tuple[Output, ...] = ("raw", "composited")
                for output in outputs:
                    table = Table(
                        subset=subset,
                        place=place,
                        output=output,
                        dilate_px=radius,
                        num_cases=num_cases,
                        columns=columns_of(scores.protocol, place),
                        rows={},
                        first_frame_given=scores.first_frame_given(subset),
                        average=average,
                    )
                    means = _means(scores, table)
                    yield means
                    if reference is not None and len(scores.methods) > 1:
                        yield _differences(scores, replace(table, columns=means.columns), reference)


def _cell(sums: Mapping[str, Sums], videos: Mapping[str, str], column: Column, why: str | None) -> Cell:
    """Sum of all sums over sum of all counts, of the cases that were measured."""
    if not sums:
        return Cell(why=why)
    interval = pooled_interval(list(sums.values()), [videos[case] for case in sums]).scaled(column.factor)
    why = "; ".join(filter(None, (why, _capped(total(sums.values()))))) or None
    return Cell(value=interval.mean, low=interval.low, high=interval.high, num_cases=len(sums), why=why)


def _capped(sums: Sums) -> str | None:
    """What exact copies do to a mean."""
    if not sums.num_capped:
        return None
    return f"{sums.num_capped} of {sums.count} values are of exact copies, or nearly exact ones, and count as 100 dB"


def why_not(rows: Sequence[ScoreRow], num_measured: int) -> str | None:
    """The most frequent reason of cases that are missing in a mean, counted if some are there; None where none is."""
    reasons = Counter(row.reason or "without a reason" for row in rows if row.status != "ok")
    if num_measured == len(rows) or not reasons:
        return None
    ((reason, number),) = reasons.most_common(1)
    return f"{number} of {len(rows)} cases: {reason}" if num_measured else reason


def finished(means: Table) -> Table:
    """With digits enough in each column, its best marked, and the paper's rows."""
    quoted = published().of(means.subset) if means.place == "frame" else ()
    columns = tuple(
        _with_digits(column, cells) for column, *cells in zip(means.columns, *means.rows.values(), strict=True)
    )
    means = replace(means, columns=columns, quoted=quoted)
    return replace(means, rows=_with_best(means))


def _with_digits(column: Column, cells: Sequence[Cell]) -> Column:
    """The column with up to two digits more, where the least of its numbers else had a single one that tells."""
    most = column.digits + _MAX_MORE_DIGITS
    sizes = [abs(cell.value) for cell in cells if cell.value is not None and round(cell.value, most)]
    needed = 1 - math.floor(math.log10(min(sizes))) if sizes else 0
    return replace(column, digits=min(max(column.digits, needed), most))


def _means(scores: Scores, table: Table) -> Table:
    rows = {}
    for method in scores.methods:
        rows[method] = tuple(_mean(scores, table, method, column) for column in table.columns)
    return finished(replace(table, rows=rows))


def _mean(scores: Scores, table: Table, method: str, column: Column) -> Cell:
    rows = scores.of(method, table.subset, _key(column, table))
    if column.metric == "fvid":
        return _fvid(scores, table, method, rows)
    measured = {case: sums for case, row in rows.items() if (sums := _weighed(row, table))}
    return _cell(measured, scores.videos, column, why_not(list(rows.values()), len(measured)))


def _fvid(scores: Scores, table: Table, method: str, rows: Mapping[str, ScoreRow]) -> Cell:
    """The distance of the videos' features from the true ones'."""
    measured = [case for case, row in rows.items() if row.status == "ok"]
    why = why_not(list(rows.values()), len(measured))
    if not measured:
        return Cell(why=why)
    network = (rows[measured[0]].model or "").partition(":")[0]
    folder = Folder(scores.root).child("features").child(network)
    distance = fvid(folder, method, table.output, table.dilate_px, measured)
    whys = (why or distance.warning, _OF_EDITS if _is_edits(table) and distance.value is not None else None)
    return Cell(
        value=distance.value, num_cases=min(distance.num_videos), why="; ".join(one for one in whys if one) or None
    )


def _differences(scores: Scores, table: Table, reference: str) -> Table:
    rows: dict[str, tuple[Cell, ...]] = {}
    for method in scores.methods:
        if method != reference:
            rows[method] = tuple(_difference(scores, table, method, reference, column) for column in table.columns)
    return replace(table, rows=rows, reference=reference)


def _difference(scores: Scores, table: Table, method: str, reference: str, column: Column) -> Cell:
    """Over the cases that both have, each weighed as in the mean."""
    if column.metric == "fvid":
        return Cell(why="FVID is of all videos together, so there are no differences of single cases")
    own, other = (scores.of(one, table.subset, _key(column, table)) for one in (method, reference))
    pairs = {case: (a, b) for case in own if (a := _weighed(own[case], table)) and (b := _weighed(other[case], table))}
    why = why_not(list(own.values()), len(pairs)) or why_not(list(other.values()), len(pairs))
    differences = {
        case: Sums(a.sum - b.sum * a.count / b.count, a.count, max(a.num_capped, b.num_capped))
        for case, (a, b) in pairs.items()
    }
    return _cell(differences, scores.videos, column, why)


def _weighed(row: ScoreRow, table: Table) -> Sums | None:
    """What a case adds to a mean: its sum over what was measured, or its own mean as one value."""
    sums = sums_of(row)
    if sums is None or table.average == "pixels":
        return sums
    return Sums(sums.sum / sums.count, 1, sums.num_capped)


def _key(column: Column, table: Table) -> Key:
    return column.metric, column.place, table.output, table.dilate_px


def _is_edits(table: Table) -> bool:
    return table.subset.startswith("edit")


def _ranks(column: Column, table: Table) -> bool:
    """Whether its best value is of the best method."""
    return METRICS[column.metric].ranks and not (column.metric == "fvid" and _is_edits(table))


def _with_best(table: Table) -> dict[str, tuple[Cell, ...]]:
    """The cells, marked among the methods that were given the true first frame and among the others.

    Compared is what is printed: of numbers that read alike none is better.
    """
    marked = {method: list(cells) for method, cells in table.rows.items()}
    alike = [{method for method in marked if (method in table.first_frame_given) is given} for given in (True, False)]
    for index, column in enumerate(table.columns):
        for methods in alike:
            of_all = {
                method: round(cell.value, column.digits)
                for method in methods
                if (cell := marked[method][index]).value is not None and cell.num_cases == table.num_cases
            }
            best = None
            if len(of_all) > 1 and _ranks(column, table):
                best = (max if column.is_higher_better else min)(of_all.values())
            for method in methods:
                is_best = best is not None and of_all.get(method) == best
                marked[method][index] = replace(marked[method][index], is_best=is_best)
    return {method: tuple(cells) for method, cells in marked.items()}
