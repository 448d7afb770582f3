"""Rows of the paper's tables, quoted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmark.metrics.settings import Protocol
from vpdata.config import fill, read_yaml

NUM_COLUMNS = 8
_OTHER_DEFINITIONS = (
    "They were measured by other definitions than the numbers beside them, which are not to be compared with them: "
    "score --protocol paper has theirs."
)


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
    caveats: str
    """How the methods of these rows were run."""
    rows: tuple[Quoted, ...]

    def note(self, protocol: Protocol) -> str:
        """What a reader must know who sees the rows beside numbers of a protocol."""
        setting = (
            f"Quoted rows are of the published VPBench, in a setting that the paper does not state: {self.source}."
        )
        return f"{setting} {self.caveats_beside(protocol)}"

    def caveats_beside(self, protocol: Protocol) -> str:
        """As `note`, without the source."""
        return self.caveats if protocol == "paper" else f"{_OTHER_DEFINITIONS} {self.caveats}"

    def of(self, subset: str) -> tuple[Quoted, ...]:
        """The rows on one subset, in the order of the paper."""
        return tuple(row for row in self.rows if row.subset == subset)


@cache
def published() -> Published:
    """The content of `published.yaml`."""
    path = Path(__file__).with_name("published.yaml")
    return fill(Published, read_yaml(path), where=path.name)
