"""A small benchmark with results whose errors are known by construction, good and bad ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from benchmark.__main__ import main
from benchmark.bench import CASES, cases_table, open_bench
from benchmark.results import MethodRecord, Outcome, Results
from benchmark.running import fingerprint
from tests.benchmark.benches import make_bench
from tests.report.conftest import HOSTILE, _browser, page
from vpdata.dataset.run import parquet_bytes
from vpdata.models.weights import WEIGHTS_VARIABLE
from vpdata.storage import Folder

__all__ = ["_browser", "page"]

DARKER = {"dark": 25, "darker": 51}
"""Method to grey levels that its outputs are darker by, where they can be."""
BROKEN = ("darker", "s-2")
REASON = f"it ran out of memory {HOSTILE}"


@dataclass(frozen=True, kw_only=True)
class Made:
    """A benchmark and its results."""

    bench: Path
    results: Results


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Three short cases and an edit; `truth` gives the truth back, `darker` has no result on the case s-2."""
    folder = tmp_path_factory.mktemp("bench")
    make_bench(folder, num_short=3, num_long=0, num_edits=1, num_frames=6)
    cases = [replace(case, caption=HOSTILE) for case in open_bench(folder).cases]
    Folder(folder).write(CASES, parquet_bytes(cases_table(cases)))
    return Made(
        bench=folder, results=make_results(folder, tmp_path_factory.mktemp("results"), ("dark", "darker", "truth"))
    )


def make_results(folder: Path, root: Path, methods: tuple[str, ...], **facts: object) -> Results:
    """Results of some of the methods, scored with no weights."""
    bench, results = open_bench(folder), Results(root)
    for method in methods:
        results.begin(
            MethodRecord(name=method, kind="folder", settings={}, bench=fingerprint(bench), **{"dilate_px": 3, **facts})
        )
        for case in bench.cases:
            if (method, case.id) == BROKEN:
                results.keep_failure(method, case.id, Outcome(status="failed", reason=REASON))
                continue
            frames = darker(bench.sampled(case).frames, DARKER.get(method, 0))
            results.keep(method, case.id, frames, Outcome(status="ok", seconds=2.0), fps=Fraction(12))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(WEIGHTS_VARIABLE, raising=False)
        assert main(["score", "--bench", str(folder), "--results", str(root)]) == 0
    return results


def darker(frames: np.ndarray, levels: int) -> np.ndarray:
    """Each value less some grey levels, 0 at the least."""
    return frames - np.minimum(frames, levels).astype(np.uint8)
