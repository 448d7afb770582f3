"""Tells a person how far a build is: one live line per stage on a terminal, one plain line per part elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from vpdata.dataset import layout
from vpdata.engine.work import Counts


@dataclass(slots=True)
class _Line:
    num_parts: int
    """That are known so far."""
    parts_done: int = 0
    """Earlier calls included."""
    records: int = 0
    """Of this call only, as the two below."""
    rejects: int = 0
    parts_here: int = 0
    started_at: float | None = None


class Progress:
    """A context manager; `part_done` may be called between entering and leaving it."""

    def __init__(self, stages: Sequence[str], stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._lines = {stage: _Line(0) for stage in stages}
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if self._stream.isatty():
            self._live = Live(console=Console(file=self._stream), get_renderable=self._table, refresh_per_second=2)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        """One line for a person, above the live lines."""
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            self._stream.write(f"{text}\n")

    def known(self, stage: str, *, num_parts: int, done: int) -> None:
        """A stage starts: how many parts it has, as far as anybody knows, and how many are done."""
        line = self._lines[stage]
        line.num_parts, line.parts_done, line.parts_here, line.started_at = num_parts, done, 0, time.monotonic()

    def follow(self, stage: str, num_parts: int) -> None:
        """A finished part of the stage before gives this one so many more."""
        self._lines[stage].num_parts += num_parts

    def part_done(self, stage: str, counts: Counts) -> None:
        """One more part is finished; the plan of the shards is none, and only its notes are told."""
        line = self._lines[stage]
        if counts.name != layout.PACK_PLAN:
            self._count(stage, counts)
        line.rejects += counts.num_rejects
        for text in counts.notes:
            self.note(f"{stage} {counts.name}: {text}")

    def _count(self, stage: str, counts: Counts) -> None:
        line = self._lines[stage]
        line.parts_done += 1
        line.parts_here += 1
        line.num_parts = max(line.num_parts, line.parts_done)
        line.records += counts.num_records
        if self._live is None:
            made = f"{_number(counts.num_records, 'record')}, {_number(counts.num_rejects, 'reject')}"
            self._stream.write(f"{stage} {counts.name}: {made} ({self._parts(stage)} parts)\n")
            self._stream.flush()

    def _parts(self, stage: str) -> str:
        """How many are done and of how many: `3/8`, or `3/8+` while the stages before will give more."""
        line = self._lines[stage]
        return f"{line.parts_done}/{line.num_parts}{'' if self._is_known(stage) else '+'}"

    def _is_known(self, stage: str) -> bool:
        """Whether no stage before has anything left."""
        names = list(self._lines)
        before = [self._lines[name] for name in names[: names.index(stage)]]
        return all(line.parts_done >= line.num_parts for line in before)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for title in ("stage", "parts", "clips", "rejects", "clips/s", "left"):
            table.add_column(title, justify="left" if title == "stage" else "right")
        for stage, line in self._lines.items():
            elapsed_s = 0.0 if line.started_at is None else time.monotonic() - line.started_at
            rate = f"{line.records / elapsed_s:.1f}" if line.parts_here and elapsed_s else ""
            left = ""
            if line.parts_here and self._is_known(stage):
                left_s = elapsed_s / line.parts_here * (line.num_parts - line.parts_done)
                left = f"{left_s // 60:.0f}:{left_s % 60:02.0f}"
            table.add_row(stage, self._parts(stage), str(line.records), str(line.rejects), rate, left)
        return table


def _number(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
