"""What a dry run foretells of the options that change a run, and that it changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.engine.builds import NAMES, build, results, write_sources
from tests.engine.tiny_stages import TinyCut, TinyDetect, TinyFilter
from vpdata.engine import EngineSettings, plan_text
from vpdata.errors import ConfigError, Reason, RunError
from vpdata.sources import Input, SourceSettings

TEXTS = ["2", "1", "", "2"]
STAGES: list[Any] = [TinyCut(), TinyDetect(), TinyFilter()]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sources(tmp_path_factory.mktemp("sources"), TEXTS)


@pytest.fixture(scope="module")
def finished(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two parts in every stage, one shard."""
    run = tmp_path_factory.mktemp("runs") / "one"
    build(sources, run, stages=STAGES)
    return run


def foretold(sources: Path, run: Path, **asked: Any) -> list[str]:
    """The lines between the first and the plan of the workers."""
    source = Input(str(sources), SourceSettings())
    text = plan_text(str(run), source=source, stages=STAGES, engine=EngineSettings(workers=1), kind="local", **asked)
    lines = text.splitlines()
    assert "goes on: 2 parts of sources; parts done: cut 2, detect 2, filter 2" in lines[0]
    return lines[1 : next(at for at, line in enumerate(lines) if line.startswith("plan: "))]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, []),
        ({"redo": "pack"}, ["--redo pack first removes 1 shard(s) with their index and plan"]),
        (
            {"redo": "detect"},
            [
                "--redo detect first removes 2 part(s) of detect, 2 part(s) of filter, 1 shard(s) with their index "
                "and plan"
            ],
        ),
        (
            {"redo": "cut"},
            [
                "--redo cut first removes 2 part(s) of cut, 2 part(s) of detect, 2 part(s) of filter, 1 shard(s) "
                "with their index and plan; the sources are read again"
            ],
        ),
        (
            {"retry_rejects": Reason.EMPTY_FILE},
            [
                "--retry-rejects empty_file first removes 1 part(s) of cut with all that follows from them, "
                "1 shard(s) with their index and plan"
            ],
        ),
        (
            {"retry_rejects": Reason.NO_TRACKS},
            ["--retry-rejects no_tracks finds no such reject and changes nothing"],
        ),
        ({"add_sources": True}, ["--add-sources appends 0 source(s)"]),
    ],
    ids=str,
)
def test_what_an_option_changes_is_said_and_not_done(
    sources: Path, finished: Path, asked: dict[str, Any], wanted: list[str]
) -> None:
    before = results(finished)
    assert foretold(sources, finished, **asked) == wanted
    assert results(finished) == before


def test_new_sources_are_counted(finished: Path, tmp_path: Path) -> None:
    more = write_sources(tmp_path / "more", [*TEXTS, "1", "1"])
    assert foretold(more, finished, add_sources=True) == [
        f"--add-sources appends 2 source(s), such as '{min(NAMES[4:6])}', and first removes 1 shard(s) with their "
        "index and plan"
    ]


def test_what_a_build_refuses_to_remove_a_dry_run_refuses(sources: Path, finished: Path, tmp_path: Path) -> None:
    cleaned = Path(shutil.copytree(finished, tmp_path / "cleaned"))
    for tar in cleaned.glob("1-cut/*.tar"):
        tar.unlink()
    with pytest.raises(RunError, match=r"nothing was removed.*--redo cut"):
        foretold(sources, cleaned, redo="filter")
    with pytest.raises(ConfigError, match="unknown stage 'fliter'"):
        foretold(sources, cleaned, redo="fliter")
