"""The pipeline in the order the data takes."""

from __future__ import annotations

from vpdata.stages.caption import Caption
from vpdata.stages.cut import Cut
from vpdata.stages.detect import Detect
from vpdata.stages.filter import Filter
from vpdata.stages.track import Track

STAGES = (Cut, Detect, Track, Caption, Filter)

__all__ = ["STAGES", "Caption", "Cut", "Detect", "Filter", "Track"]
