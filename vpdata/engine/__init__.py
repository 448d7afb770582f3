"""Runs the stages over a whole data set, on one machine or on a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vpdata.engine.build import BuildSummary as BuildSummary
    from vpdata.engine.build import build_run as build_run
    from vpdata.engine.build import plan_text as plan_text
    from vpdata.engine.settings import EngineSettings as EngineSettings

__all__ = ["BuildSummary", "EngineSettings", "build_run", "plan_text"]


def __getattr__(name: str) -> object:
    # Loaded on first use: a worker imports its own module of this package and must not pay for the driver's.
    if name == "EngineSettings":
        from vpdata.engine.settings import EngineSettings

        return EngineSettings
    if name in __all__:
        from vpdata.engine import build

        return getattr(build, name)
    raise AttributeError(f"module 'vpdata.engine' has no attribute {name!r}")
