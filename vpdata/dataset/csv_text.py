"""CSV files that all readers take apart alike."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence


class CsvText:
    """Lines that end in a line feed, texts in quotation marks."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._text = io.StringIO()
        # Without the marks a text with a carriage return would be two lines for csv and pandas.
        self._writer = csv.writer(self._text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        self.num_rows = 0
        self._writer.writerow(columns)

    def write(self, row: Sequence[object]) -> None:
        """Append a line; None is an empty text."""
        self._writer.writerow(row)
        self.num_rows += 1

    def encoded(self) -> bytes:
        """The whole file, UTF-8."""
        return self._text.getvalue().encode("utf-8")
