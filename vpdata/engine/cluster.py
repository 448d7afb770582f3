"""Where a build runs, as the build sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vpdata.engine.dispatch import Crew
from vpdata.engine.plan import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One machine or many."""

    crew: Crew
    nodes: Sequence[Node]
    runs_at_once: bool
    """Whether stages may share it; False: each stage gets all of it in its turn."""
