"""The score table of a folder of results, held against the benchmark: no method and no case is missing in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.bench import Bench, Case
from benchmark.metrics.scorer import STATE, TABLES, state_of
from benchmark.metrics.settings import Protocol
from benchmark.metrics.sums import Sums
from benchmark.metrics.table import Key, ScoreRow, planned
from benchmark.report.reasons import public_reason
from benchmark.results import Results
from vpdata import codec
from vpdata.errors import RunError


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One row for every method, case and key."""

    root: Path
    """Of the results."""
    protocol: Protocol
    dilate_px: tuple[int, ...]
    methods: tuple[str, ...]
    cases: tuple[Case, ...]
    rows: Mapping[tuple[str, str], Mapping[Key, ScoreRow]]
    """By method and case."""

    @property
    def subsets(self) -> tuple[str, ...]:
        """Those that have cases, in the order of the paper."""
        found = {case.subset for case in self.cases}
        return tuple(subset for subset in ("S", "L", "davis", "edit-S", "edit-L") if subset in found)

    def first_frame_given(self, subset: str) -> frozenset[str]:
        """The methods that were given the true first frame of a subset's cases."""
        cases = {case.id for case in self.cases if case.subset == subset}
        return frozenset(
            method
            for (method, case), rows in self.rows.items()
            if case in cases and any(row.first_frame_given for row in rows.values())
        )

    @property
    def videos(self) -> dict[str, str]:
        """Case to the video that it is of."""
        return {case.id: case.video_id for case in self.cases}

    def of(self, method: str, subset: str, key: Key) -> dict[str, ScoreRow]:
        """The rows of all cases of a subset, by case."""
        cases = (case.id for case in self.cases if case.subset == subset)
        return {case: self.rows[method, case][key] for case in cases}


def sums_of(row: ScoreRow) -> Sums | None:
    """None where nothing was measured."""
    return Sums(row.sum, row.count, row.num_capped) if row.status == "ok" and row.sum is not None else None


def read_scores(bench: Bench, results: Results, protocol: Protocol) -> Scores:
    """What `score` wrote last. RunError where it is of another benchmark, or of other results than are there now."""
    path = results.root / TABLES[protocol]
    again = f"run `python -m benchmark score --protocol {protocol}` on {results.root}"
    if not path.is_file():
        raise RunError(f"{path} does not exist; {again} first")
    try:
        table = pq.read_table(path)
        state = codec.from_json((table.schema.metadata or {}).get(STATE.encode(), b"{}"), dict[str, str])
        now = state_of(bench, results)
        if other := sorted(name for name in state.keys() | now.keys() if state.get(name) != now.get(name)):
            raise RunError(f"{path} is not of what is there now: {', '.join(other)} differ; {again} again")
        read = list(codec.from_table(table, ScoreRow))
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise RunError(f"{path} is damaged: {error}; {again} again") from error
    found: dict[tuple[str, str], dict[Key, ScoreRow]] = {}
    for row in read:
        if row.reason is not None:
            row = replace(row, reason=public_reason(row.reason, results.root))
        found.setdefault((row.method, row.case), {})[row.metric, row.region, row.output, row.dilate_px] = row
    dilate_px = tuple(sorted({row.dilate_px for row in read}))
    wanted = {(method, case.id) for method in results.methods for case in bench.cases}
    keys = set(planned(protocol, dilate_px))
    if {one for one, rows in found.items() if rows.keys() == keys} != wanted:
        raise RunError(f"{path} is damaged: it lacks rows of some methods and cases; {again} again")
    return Scores(
        root=results.root,
        protocol=protocol,
        dilate_px=dilate_px,
        methods=results.methods,
        cases=bench.cases,
        rows=found,
    )
