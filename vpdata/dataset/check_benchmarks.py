"""Proof that the split of its name holds out each benchmark in a run: every case, by the limits that it states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import yaml

from vpdata import codec
from vpdata.dataset import layout
from vpdata.dataset.run import Run, read_table
from vpdata.dataset.split import SplitFacts, read_rows_of_split
from vpdata.errors import ConfigError, RunError, StorageError
from vpdata.storage import Folder

_FACTS, _CASES = "bench.yaml", "cases.parquet"
"""Files of a benchmark; the first is written last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """What of `settings` decides what looks alike."""

    look_alike_frac: float
    look_alike_cosine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What is read of `bench.yaml`."""

    name: str
    """Of the split too."""
    seed: int
    settings: _Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What is read of a row of `cases.parquet`."""

    id: str
    clip_id: str
    video_id: str


def check_benchmarks(run: Run) -> Iterator[tuple[str, str]]:
    """(file, what is wrong with it) for all benchmarks directly inside a run; those elsewhere are not known here."""
    for name in run.folder.names():
        if run.folder.exists(f"{name}/{_FACTS}"):
            for problem in _problems(run, run.folder.child(name)):
                yield f"{name}/{_FACTS}", problem


def _problems(run: Run, bench: Folder) -> Iterator[str]:
    try:
        facts, cases = _read(bench)
    except (RunError, msgspec.MsgspecError, yaml.YAMLError, UnicodeDecodeError, StorageError) as error:
        yield f"the benchmark cannot be read: {error}; make it again"
        return
    splits, file = run.folder.child(layout.SPLITS), f"{facts.name}.parquet"
    where = f"{layout.SPLITS}/{file}"
    if file not in splits.names(".parquet"):
        yield f"nothing holds it out of training: there is no {where}; make it again"
        return
    try:
        read = read_rows_of_split(splits, file)
    except ConfigError as error:
        yield str(error)
        return
    if read is None:
        yield f"{where} was not written with it: it states no limits; make it again"
        return
    found, rows = read
    wanted = SplitFacts(
        name=facts.name,
        seed=facts.seed,
        look_alike_frac=facts.settings.look_alike_frac,
        look_alike_cosine=facts.settings.look_alike_cosine,
    )
    if found != wanted:
        yield f"{where} is not the one that was written with it: got {found}, wanted {wanted}"
    held_out = {(row.kind, row.id) for row in rows}
    for case in cases:
        if ("video", case.video_id) not in held_out:
            yield f"{case.id} is of the video {case.video_id}, which {where} does not hold out"
        if ("clip", case.clip_id) not in held_out:
            yield f"{case.id} is of the clip {case.clip_id}, which {where} does not hold out"


def _read(bench: Folder) -> tuple[_Facts, list[_Case]]:
    facts = codec.from_builtins(yaml.safe_load(bench.read(_FACTS)), _Facts)
    table = read_table(bench, _CASES)
    return facts, list(codec.from_table(table, _Case))
