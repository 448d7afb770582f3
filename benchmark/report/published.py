"""Rows of the paper's tables, quoted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vpdata.config import fill, read_yaml

NUM_COLUMNS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """One row, in the units of the paper: those of `benchmark.report.columns`."""

    table: str
    """Its number in the paper."""
    subset: str
    method: str
    values: tuple[float, ...]
    """PSNR, SSIM, LPIPS, MSE, MAE, CLIP Sim, CLIP Sim (M), FVID."""
    masks: str = ""
    """Whose they are, where ours may be others."""

    @property
    def where(self) -> str:
        """The table, and under which masks."""
        return f"{self.table}, under {self.masks} masks" if self.masks else self.table

    def __post_init__(self) -> None:
        if len(self.values) != NUM_COLUMNS:
            raise ValueError(f"{self.method}: got {len(self.values)} values, wanted {NUM_COLUMNS}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """All rows, and who published them."""

    source: str
    rows: tuple[Quoted, ...]

    def of(self, subset: str) -> tuple[Quoted, ...]:
        """The rows on one subset, in the order of the paper."""
        return tuple(row for row in self.rows if row.subset == subset)


@cache
def published() -> Published:
    """The content of `published.yaml`."""
    path = Path(__file__).with_name("published.yaml")
    return fill(Published, read_yaml(path), where=path.name)
