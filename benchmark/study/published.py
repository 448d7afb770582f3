"""What the paper's own human study found, quoted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from vpdata.config import fill, read_yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotedShares:
    """One method: in % of all answers, how often it was called best."""

    task: Literal["inpainting", "editing"]
    method: str
    background: float
    """Of `Question`, as are the next two."""
    text: float
    quality: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedStudy:
    """All rows, who published them, and how they were asked."""

    source: str
    setting: str
    rows: tuple[QuotedShares, ...]

    def of(self, subsets: Collection[str]) -> tuple[QuotedShares, ...]:
        """The rows on the tasks of these subsets, in the order of the paper; all rows for no subsets."""
        tasks = {"editing" if subset.startswith("edit-") else "inpainting" for subset in subsets}
        return tuple(row for row in self.rows if not tasks or row.task in tasks)


@cache
def published_study() -> PublishedStudy:
    """The content of `published.yaml`."""
    path = Path(__file__).with_name("published.yaml")
    return fill(PublishedStudy, read_yaml(path), where=path.name)
