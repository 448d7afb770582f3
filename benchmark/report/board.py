"""A leaderboard: one file a benchmark, to which methods are added by measuring their results anew."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from benchmark.bench import Bench
from benchmark.metrics.networks import Networks
from benchmark.metrics.scorer import VERSION, Scorer
from benchmark.metrics.settings import Protocol, ScoreSettings
from benchmark.metrics.table import Output, Place
from benchmark.report.columns import columns_of
from benchmark.report.facts import Facts, MethodFacts, facts_of
from benchmark.report.reasons import public_reason
from benchmark.report.scores import read_scores
from benchmark.report.tables import Cell, Table, finished, tables
from benchmark.results import Results
from benchmark.running import fingerprint
from vpdata import codec
from vpdata.config import to_plain
from vpdata.errors import ConfigError, RunError
from vpdata.storage import Folder

_MEMORY_SINCE = 4
"""Boards of earlier versions keep memory on the GPU as that on the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRow:
    """One method in one table, in the order of `columns_of`."""

    subset: str
    place: Place
    output: Output
    dilate_px: int
    num_cases: int
    first_frame_given: bool = False
    """Whether the method was given the true first frame of these cases; False on a board from before rows kept it."""
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One method."""

    method: MethodFacts
    failed: tuple[tuple[str, str, str], ...]
    """Method, case and reason of results that cannot be used."""
    rows: tuple[BoardRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """All entries were measured on the same cases, with the same settings and networks."""

    bench: str
    fingerprint: str
    """Of the benchmark's cases and sampling."""
    num_cases: int
    protocol: Protocol
    settings: dict[str, Any]
    """Of the scores."""
    version: int | None = None
    """Of the metrics, as of the scorer; None: a board from before boards kept it."""
    facts: Facts
    """What all entries share; without methods and failures."""
    entries: tuple[Entry, ...] = ()
    """Sorted by name."""

    @property
    def setting(self) -> dict[str, Any]:
        """All that must be equal for entries to stand beside each other."""
        return {
            "benchmark": (self.bench, self.fingerprint),
            "version of the metrics": self.version or "one that it does not say",
            "settings": self.settings,
            "networks": self.facts.models,
            "networks that are missing": sorted(self.facts.missing),
        }

    @property
    def all_facts(self) -> Facts:
        """With all methods and failures; no memory where it is not known what it is of."""
        methods = tuple(entry.method for entry in self.entries)
        if (self.version or 0) < _MEMORY_SINCE:
            methods = tuple(replace(method, peak_memory_mb=None) for method in methods)
        return replace(
            self.facts,
            methods=methods,
            failed=tuple(one for entry in self.entries for one in entry.failed),
        )

    def tables(self) -> list[Table]:
        """All entries beside each other, and beside the paper's rows."""
        made: dict[tuple[str, Place, Output, int], Table] = {}
        for entry in self.entries:
            for row in entry.rows:
                table = made.setdefault(
                    (row.subset, row.place, row.output, row.dilate_px),
                    Table(
                        subset=row.subset,
                        place=row.place,
                        output=row.output,
                        dilate_px=row.dilate_px,
                        num_cases=row.num_cases,
                        columns=columns_of(self.protocol, row.place),
                        rows={},
                    ),
                )
                name = entry.method.name
                made[row.subset, row.place, row.output, row.dilate_px] = replace(
                    table,
                    rows={**table.rows, name: row.cells},
                    first_frame_given=table.first_frame_given | ({name} if row.first_frame_given else set()),
                )
        return [finished(table) for table in made.values()]


def setting_of(bench: Bench, settings: ScoreSettings, networks: Networks) -> dict[str, Any]:
    """`Board.setting` of what `measured_board` would give, before anything is measured."""
    return {
        "benchmark": (bench.name, fingerprint(bench)),
        "version of the metrics": VERSION,
        "settings": to_plain(replace(settings, device=None)),
        "networks": _models(networks),
        "networks that are missing": sorted(networks.missing),
    }


def refuse_unlike(board: Board, found: Mapping[str, Any]) -> None:
    """RunError where results of another `setting` would stand beside those of a board."""
    wanted = board.setting
    if differing := [name for name in wanted if found[name] != wanted[name]]:
        pairs = "; ".join(f"{name}: got {found[name]}, wanted {wanted[name]}" for name in differing)
        raise RunError(
            f"these results were not measured as those of the leaderboard: {pairs}; name another --board, and add to "
            "it what should stand beside them"
        )


def measured_board(bench: Bench, results: Results, settings: ScoreSettings, networks: Networks) -> Board:
    """A board of these results alone, measured anew: scores that lie beside them are not read.

    ConfigError for results that are on another benchmark, or that nothing is known of.
    """
    for method in results.methods:
        results.method(method, bench=fingerprint(bench))
    with tempfile.TemporaryDirectory(prefix="leaderboard-") as scratch:
        for method in results.methods:
            Path(scratch, method).symlink_to((results.root / method).absolute(), target_is_directory=True)
        fresh = Results(scratch)
        Scorer(bench, fresh, settings, networks).score()
        scores = read_scores(bench, fresh, settings.protocol)
        facts, means = facts_of(bench, fresh, scores), list(tables(scores))
    return Board(
        bench=bench.name,
        fingerprint=fingerprint(bench),
        num_cases=len(bench.cases),
        protocol=settings.protocol,
        settings=to_plain(replace(settings, device=None)),
        version=VERSION,
        # From the networks and not from the rows, which of results that all failed know of none.
        facts=replace(
            facts,
            methods=(),
            failed=(),
            models=_models(networks),
            missing={metric: public_reason(why, results.root) for metric, why in networks.missing.items()},
        ),
        entries=tuple(_entry(facts, means, method) for method in facts.methods),
    )


def merged(old: Board, new: Board, *, replaces: bool) -> Board:
    """Both boards' entries. RunError where they were not measured alike, or hold different results under one name.

    With `replaces` the new results of such a name are taken.
    """
    refuse_unlike(old, new.setting)
    entries = {entry.method.name: entry for entry in old.entries}
    for entry in new.entries:
        known = entries.get(entry.method.name)
        if known not in (None, entry) and not replaces:
            raise RunError(
                f"the leaderboard holds other results of {entry.method.name!r}; give the method another name, or "
                "--replace to drop the old ones"
            )
        entries[entry.method.name] = entry
    return replace(old, entries=tuple(entries[name] for name in sorted(entries)))


def read_board(path: Path) -> Board:
    """ConfigError where there is none, or it is damaged."""
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; `python -m benchmark leaderboard add` makes it")
    try:
        return codec.from_json(path.read_bytes(), Board)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no leaderboard: {error}") from error


def write_board(path: Path, board: Board) -> None:
    """Equal boards give equal bytes."""
    Folder(path.parent).write(path.name, msgspec.json.format(codec.to_json(board), indent=1))


def _models(networks: Networks) -> dict[str, str]:
    return {metric: model for metric, model in networks.models.items() if metric not in networks.missing}


def _entry(facts: Facts, means: list[Table], method: MethodFacts) -> Entry:
    rows = tuple(
        BoardRow(
            subset=table.subset,
            place=table.place,
            output=table.output,
            dilate_px=table.dilate_px,
            num_cases=table.num_cases,
            first_frame_given=method.name in table.first_frame_given,
            # Which is best, is known among all entries only.
            cells=tuple(replace(cell, is_best=False) for cell in table.rows[method.name]),
        )
        for table in means
    )
    return Entry(
        method=method,
        failed=tuple(one for one in facts.failed if one[0] == method.name),
        rows=rows,
    )
