"""One shard of a run in another layout: what a process is given, what it leaves for the tables, and those tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from vpdata.dataset import index, layout
from vpdata.dataset.csv_text import CsvText
from vpdata.dataset.reader import INDEX_COLUMNS, Dataset, Sample
from vpdata.dataset.split import Split
from vpdata.storage import Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPart:
    """All that the files of one part depend on."""

    run_folder: Folder
    output: Folder
    index_name: str
    number: int
    """Its place among the run's shards, from 0."""
    num_parts: int
    first: int
    """Clips of the data set before its own."""
    held_out: Split

    @property
    def name(self) -> str:
        return self.index_name.removesuffix(".parquet")

    def __str__(self) -> str:
        return f"the clips of {self.name}.tar"

    def table(self) -> pa.Table:
        """The shard's index."""
        return index.read_index(self.run_folder.child(layout.INDEX), [self.index_name])

    def samples(self, table: pa.Table) -> Dataset:
        """The clips of some rows of `table`."""
        return Dataset(self.run_folder.child(layout.SHARDS), table.select(INDEX_COLUMNS))

    def __iter__(self) -> Iterator[tuple[Sample, bool]]:
        """Each clip, and whether a split holds it out: it belongs to the layout's test split then."""
        for sample in self.samples(self.table()):
            yield sample, self.held_out.holds_out(sample.id, video_id=sample.record.clip.video.id)


@dataclass(slots=True, kw_only=True)
class PartRows:
    """What a part has written, and what the tables of the whole export are to say of it."""

    num_clips: int = 0
    num_held_out: int = 0
    tables: dict[str, list[list[str | int | float | None]]] = field(default_factory=dict)
    """Rows by the name of their table."""
    num_masked_px: int = 0
    num_shown_px: int = 0
    """Mask pixels of the clips, and those that the layout could hold."""

    def add(self, table: str, row: Sequence[str | int | float | None]) -> None:
        """Append a row to a table."""
        self.tables.setdefault(table, []).append(list(row))


def write_table(folder: Folder, name: str, columns: Sequence[str], parts: Sequence[PartRows]) -> None:
    """Write a table of an export, the rows of all parts in their order."""
    text = CsvText(columns)
    for part in parts:
        for row in part.tables.get(name, []):
            text.write(row)
    folder.write(name, text.encoded())


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export wrote."""

    num_clips: int
    num_rows: int
    """A row per clip (hf), or per clip and track (videopainter, files)."""
    num_held_out: int
    """Clips that a split of the run holds out: they are the layout's test split."""
    hidden_frac: float | None = None
    """Share of all mask pixels that the layout could not hold, since a smaller object lies over them; None for one that
    holds all.
    """

    @classmethod
    def of(cls, parts: Sequence[PartRows], *tables: str) -> Exported:
        """What parts hold together; their rows are those of `tables`."""
        return cls(
            num_clips=sum(part.num_clips for part in parts),
            num_rows=sum(len(part.tables.get(name, ())) for part in parts for name in tables),
            num_held_out=sum(part.num_held_out for part in parts),
        )

    def __str__(self) -> str:
        told = f"exported {self.num_clips} clips in {self.num_rows} rows"
        if self.num_held_out:
            told += f"; the {self.num_held_out} clips that the run's splits hold out are in the test split"
        if self.hidden_frac is not None:
            told += f"; {self.hidden_frac:.1%} of the mask pixels were lost below smaller objects"
        return told
