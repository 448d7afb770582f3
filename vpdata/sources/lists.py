"""CSV and Parquet source lists: rows with a uri and, where the list has them, id, licence, attribution and caption."""

from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from vpdata.config import nearest
from vpdata.errors import ConfigError
from vpdata.records import MAX_VIDEO_ID_CHARS, is_valid_id

_log = logging.getLogger(__name__)

_COLUMNS = ("uri", "id", "licence", "attribution", "caption")
_PUBLISHED_NAMES = {"link": "uri", "videoId": "id"}
"""Columns of the published pexels.csv, read as it is."""
_OTHER_LISTS = (".txt", ".tsv", ".json", ".jsonl", ".ndjson", ".xlsx")
_READ = frozenset((*_COLUMNS, *_PUBLISHED_NAMES))
_ROWS_AT_ONCE, _BUFFER_BYTES = 4096, 1 << 20
"""Of a Parquet list, whose only row group may hold all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRow:
    """One row as written, before anybody has looked at its uri."""

    number: int
    """From 1, the header not counted."""
    uri: str
    id: str | None = None
    licence: str | None = None
    attribution: str | None = None
    caption: str | None = None


def is_list(name: str) -> bool:
    """Whether a file of that name is a source list."""
    return name.lower().endswith((".csv", ".parquet"))


def refuse_other_lists(name: str) -> None:
    """ConfigError for the name of a file that may be a list and is none that we read."""
    if name.lower().endswith(_OTHER_LISTS):
        raise ConfigError(
            f"{name}: wanted videos, or a list that is a CSV or a Parquet file with a column uri; a file of one path a "
            "line is such a list once its first line says uri and its name ends in .csv"
        )


def read_list(file: BinaryIO, *, name: str) -> Iterator[ListRow]:
    """Rows of the list file `name`, told by its suffix, a few at a time; ConfigError names the row that is wrong."""
    is_csv = name.lower().endswith(".csv")
    header, rows = _read_csv(file, name) if is_csv else _read_parquet(file, name)
    positions = _positions(header, name)
    for number, values in rows:
        yield _row(number, [values[at] for at in positions.values()], positions, name)


def _positions(header: Sequence[str], name: str) -> dict[str, int]:
    """Our column -> its place in the file; columns we do not know are named in the log."""
    ours = [_PUBLISHED_NAMES.get(column, column) for column in header]
    if ours.count("uri") != 1:
        tail = nearest("uri", header)
        raise ConfigError(f"{name}: got the columns {', '.join(header)}, wanted exactly one named uri (or link){tail}")
    positions = {column: ours.index(column) for column in _COLUMNS if column in ours}
    ignored = [column for at, column in enumerate(header) if at not in positions.values()]
    if ignored:
        hints = [f"{column}{nearest(column, _COLUMNS)}" for column in ignored]
        _log.warning("%s: columns that are not read: %s", name, "; ".join(hints))
    return positions


def _row(number: int, values: list[str | None], positions: dict[str, int], name: str) -> ListRow:
    fields = dict(zip(positions, values, strict=True))
    uri = fields.pop("uri")
    if not uri or "\0" in uri:
        raise ConfigError(f"{name}, row {number}: got no uri, wanted a path or a URL")
    row = ListRow(number=number, uri=uri, **{column: value or None for column, value in fields.items()})
    if row.id is not None and not (len(row.id) <= MAX_VIDEO_ID_CHARS and is_valid_id(row.id)):
        raise ConfigError(
            f"{name}, row {number}: got the id {row.id!r}, wanted lower-case letters, digits and hyphens only, "
            f"at most {MAX_VIDEO_ID_CHARS} of them"
        )
    return row


def _read_csv(file: BinaryIO, name: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    lines = _csv_lines(file, name)
    header = [column.strip() for column in next(lines, ())]
    if not header:
        raise ConfigError(f"{name} is empty, wanted a header with the column uri")
    if len(header) == 1 and any(sign in header[0] for sign in ";\t|"):
        raise ConfigError(f"{name}: got the header {header[0]!r}, wanted commas between its columns and between values")

    def rows() -> Iterator[tuple[int, list[str]]]:
        for number, line in enumerate(lines, start=1):
            if len(line) != len(header):
                raise ConfigError(
                    f"{name}, row {number}: got {len(line)} values, wanted {len(header)}; quote values that hold a "
                    "comma"
                )
            yield number, line

    return header, rows()


def _csv_lines(file: BinaryIO, name: str) -> Iterator[list[str]]:
    """Values of each line that has any."""
    reader = csv.reader(io.TextIOWrapper(file, "utf-8-sig", newline=""), strict=True)
    try:
        yield from filter(None, reader)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not in UTF-8 somewhere behind line {reader.line_num}: {error.reason}") from error
    except csv.Error as error:
        raise ConfigError(
            f"{name}, line {reader.line_num}: not CSV: {error}; wanted quotes in pairs, and values of at most "
            f"{csv.field_size_limit()} characters"
        ) from error


def _read_parquet(file: BinaryIO, name: str) -> tuple[list[str], Iterator[tuple[int, list[str | None]]]]:
    with _named_damage(name):
        # On this thread only, for the reason that `dataset.run.read_table` gives.
        parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER_BYTES)
        header = list(parquet.schema_arrow.names)
    read = sorted(_READ.intersection(header))

    def in_batches() -> Iterator[tuple[int, list[str | None]]]:
        first = 1
        with _named_damage(name):
            for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=read, use_threads=False):
                batch.validate(full=True)
                columns = {}
                for column in read:
                    values = batch.column(batch.schema.names.index(column)).to_pylist()
                    rows = enumerate(values, start=first)
                    columns[column] = [_text(value, f"{name}, row {at}, column {column}") for at, value in rows]
                nothing = [None] * batch.num_rows
                yield from enumerate(map(list, zip(*(columns.get(one, nothing) for one in header), strict=True)), first)
                first += batch.num_rows

    return header, in_batches()


@contextmanager
def _named_damage(name: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name} is not a Parquet file: {error}") from error


def _text(value: object, where: str) -> str | None:
    """A value as it would stand in a CSV list, None for nothing; ConfigError for what is neither text nor a number."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise ConfigError(f"{where}: got bytes that are no text in UTF-8: {error}") from error
    # pandas writes NaN for what is missing, and then whole numbers as floats.
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise ConfigError(f"{where}: got {value!r} ({type(value).__name__}), wanted text or a whole number")
