"""Where a build runs, as the build sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vpdata.engine.dispatch import Crew
from vpdata.engine.plan import Node
from vpdata.engine.work import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One machine or many."""

    crew: Crew
    nodes: Sequence[Node]
    report: Callable[[str, Counts], None]
    """Told of every finished part: the stage and its counts."""
    runs_at_once: bool
    """Whether stages may share it; False: each stage gets all of it in its turn."""
