"""Runs the stages over a whole data set, on one machine or on a Ray cluster."""

from vpdata.engine.build import BuildSummary, build_run, plan_text
from vpdata.engine.settings import EngineSettings

__all__ = ["BuildSummary", "EngineSettings", "build_run", "plan_text"]
