"""The kinds of methods by name. A module is imported when its kind is asked for: some need torch."""

from __future__ import annotations

import importlib

from benchmark.methods.port import Kind
from vpdata.config import nearest
from vpdata.errors import ConfigError
from vpdata.extras import needs

MODULES = {
    "copy": "benchmark.methods.untouched",
    "opencv": "benchmark.methods.opencv",
    "temporal_median": "benchmark.methods.temporal_median",
    "flow": "benchmark.methods.flow",
    "backbone": "benchmark.methods.backbone_alone",
    "vpdata": "benchmark.methods.trained",
    "wan_vace": "benchmark.methods.wan_vace",
    "command": "benchmark.methods.command",
    "folder": "benchmark.methods.folder",
}
"""Each module has a `KIND`."""
STARTED_ANEW = frozenset({"command"})
"""Kinds whose time of a case holds a program's start and loading, and whose memory on the GPU nobody sees."""
MADE_ELSEWHERE = frozenset({"folder"})
"""Kinds that only look up: what that takes is neither the time nor the memory of the method."""


def kind_of(name: str) -> Kind:
    """ConfigError for a name that is none of `MODULES`, BackendError where a package that it needs is missing."""
    if name not in MODULES:
        raise ConfigError(f"got the kind {name!r}, wanted one of {', '.join(MODULES)}{nearest(name, MODULES)}")
    with needs("train", f"the kind {name!r}"):
        return importlib.import_module(MODULES[name]).KIND
