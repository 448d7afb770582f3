"""One study that is served for all tests which leave no mark that others see: each takes a participant of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from tests.benchmark.study.studies import Participant, Served, fail_case, make_material, served
from tests.report.conftest import _browser, page  # noqa: F401  fixtures

NUM_INVITED = 40
"""Enough for all tests together, slow ones too."""


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Benchmark and results; of one case a method has none."""
    folder = tmp_path_factory.mktemp("study")
    make_material(folder, num_cases=4)
    fail_case(folder, "all-red", "s-3")
    return folder


@pytest.fixture(scope="session")
def study(material: Path) -> Iterator[Served]:
    with served(material, participants=NUM_INVITED) as server:
        yield server


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def newcomer(study: Served, _numbers: Iterator[int]) -> Callable[[], Participant]:
    """A participant whom no other test has."""
    return lambda: Participant(study, study.tokens[next(_numbers)])
