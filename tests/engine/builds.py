"""Builds with tiny stages: in this process, or in a driver process of their own that a test may kill.

As a script: `python -m tests.engine.builds SOURCES RUN ENGINE WORKERS SLEEP_S [RAY_ADDRESS]`.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tests.engine.tiny_stages import TinyCut, TinyDetect, TinyFilter
from vpdata.engine import BuildSummary, EngineSettings, build_run
from vpdata.records import video_id
from vpdata.sources import Input, SourceSettings
from vpdata.stages.base import Stage
from vpdata.stages.rules import FilterSettings

NO_RULES = FilterSettings(early=False)


NAMES = sorted((f"v{number:02d}.mp4" for number in range(16)), key=video_id)
"""File names in the order of the ids that they give, which is the order of the videos in a run."""


def write_sources(folder: Path, texts: Sequence[str]) -> Path:
    """One "video" per text; they keep their order in a run."""
    folder.mkdir(exist_ok=True)
    for name, text in zip(NAMES, texts, strict=False):
        (folder / name).write_text(text)
    return folder


def build(
    sources: Path,
    run: Path | str,
    *,
    kind: Literal["ray", "local"] = "local",
    stages: Sequence[Stage] | None = None,
    source: Input | None = None,
    rules: FilterSettings = NO_RULES,
    engine: Mapping[str, Any] | None = None,
    **options: Any,
) -> BuildSummary:
    """A build of cut and filter; two videos a part."""
    settings = {"videos_per_part": 2, "workers": 1, "near_duplicate_frac": None, "ray_address": "local"}
    return build_run(
        str(run),
        source=source or Input(str(sources), SourceSettings()),
        stages=stages or [TinyCut(), TinyFilter()],
        filter=rules,
        engine=EngineSettings(**(settings | dict(engine or {}))),
        config={},
        kind=kind,
        **options,
    )


def start_driver(sources: Path, run: Path, *, kind: str = "local", workers: int = 2, sleep_s: float = 0.0) -> Any:
    """The same build in a process of its own, in its own process group."""
    command = [sys.executable, "-m", "tests.engine.builds", str(sources), str(run), kind, str(workers), str(sleep_s)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, cwd=root, start_new_session=True, stderr=subprocess.PIPE, text=True)


def results(run: Path) -> dict[str, str]:
    """SHA-256 of every part, shard and index file of a finished run; no other kind of file may be left."""
    paths = [path for path in sorted(run.rglob("*")) if path.is_file() and path.suffix not in (".json", ".yaml")]
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


if __name__ == "__main__":
    sources_, run_, kind_, workers_, sleep_s_, address_ = (*sys.argv[1:], "local")[:6]
    settings_ = {"sleep_s": float(sleep_s_)}
    build(
        Path(sources_),
        run_,
        kind=kind_,  # type: ignore[arg-type]
        stages=[TinyCut(settings=settings_), TinyDetect(settings=settings_), TinyFilter()],
        engine={"workers": int(workers_), "flush_every_s": 0.0, "ray_address": address_},
    )
