"""Every implementation of a port: the fakes, and each model that a config can name, with its default options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vpdata import models
from vpdata.config import ModelChoice
from vpdata.models import MODELS, Role


def implementations(role: Role, **fakes: Callable[[], Any]) -> list[Any]:
    """Parameters for pytest: calls without arguments that load an implementation."""
    real = {name: models.maker(role, ModelChoice(name=name)) for name in MODELS[role]}
    return [pytest.param(make, id=name) for name, make in {**real, **fakes}.items()]
