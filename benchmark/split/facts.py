"""What a benchmark says of itself: what is in it, what is missing, and what it was made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import vpdata
from benchmark.bench import Case
from benchmark.split.categories import CATEGORIES
from benchmark.split.held_out import HASHES_ALONE, HeldOutFacts
from benchmark.split.operations import OPERATIONS
from benchmark.split.settings import BenchSettings
from vpdata.config import public, to_plain

if TYPE_CHECKING:
    from benchmark.split.making import Maker


def facts_of(maker: Maker, cases: Sequence[Case], held_out: HeldOutFacts) -> dict[str, Any]:
    """Content of `bench.yaml`."""
    settings, run = maker.settings, maker.run
    fills = [case for case in cases if not case.is_edit]
    return {
        "name": settings.name,
        "seed": settings.seed,
        "sampling": to_plain(settings.sampling),
        "sizes": _counts(case.subset for case in cases),
        "categories": _counts(case.category for case in fills),
        "operations": _counts(case.operation for case in cases if case.operation),
        "held_out": to_plain(held_out),
        "warnings": list(_warnings(settings, cases, held_out)),
        "unusable": [
            {"id": name, "why": why, "detail": detail} for (name, why), detail in sorted(maker.unusable.items())
        ],
        "vpdata_version": vpdata.__version__,
        "run": {"name": run.folder.uri.rpartition("/")[2], "vpdata_version": run.config()["vpdata_version"]},
        "settings": public(to_plain(settings)),
    }


def _warnings(settings: BenchSettings, cases: Sequence[Case], held_out: HeldOutFacts) -> Iterator[str]:
    sizes = Counter(case.subset for case in cases)
    wanted = {
        "S": settings.num_short,
        "L": settings.num_long,
        "edit-S": settings.num_short_edits,
        "edit-L": settings.num_long_edits,
    }
    for subset, num in wanted.items():
        if sizes[subset] < num:
            yield (
                f"{subset} has {sizes[subset]} of {num} cases: the run has no more clips that are long enough, and of "
                f"which at most {settings.max_held_out_frac:.0%} may be held out"
            )
    categories = {case.category for case in cases if not case.is_edit}
    for category in CATEGORIES:
        if category not in categories:
            yield f"no case shows {category}: no clip of it could be used, or there are fewer cases than categories"
    operations = {case.operation for case in cases}
    for operation in OPERATIONS if settings.num_short_edits + settings.num_long_edits >= len(OPERATIONS) else ():
        if operation not in operations:
            yield f"no edit is to {operation}: no clip bore it"
    if not held_out.has_embeddings:
        yield HASHES_ALONE
    if held_out.num_left == 0:
        yield "nothing is left to train on: all clips are held out"


def _counts(values: Iterator[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
