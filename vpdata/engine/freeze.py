"""The frozen source list of a run, in parts; and what a run's shape on disk depends on."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence

from vpdata import codec
from vpdata.dataset import layout
from vpdata.dataset.lease import LeaseProof
from vpdata.dataset.run import Run, parquet_bytes
from vpdata.engine.again import remove_pack
from vpdata.engine.settings import EngineSettings
from vpdata.errors import ConfigError, RunError, StorageError
from vpdata.records import Source
from vpdata.sources import Input

_log = logging.getLogger(__name__)

_WANTED_PARTS = 64
_MAX_VIDEOS_PER_PART = 64


def freeze_sources(
    run: Run, source: Input, *, engine: EngineSettings, add_sources: bool, lease: LeaseProof
) -> EngineSettings:
    """Write the list of a new run, or append to an old one; returns the settings with the run's own part sizes.

    `stage.json` is written last: without it the list is unfinished and is made anew.
    """
    folder = run.stage_folder("source")
    if not folder.exists(layout.STAGE_STATE):
        sources = source.sources()
        engine = dataclasses.replace(engine, videos_per_part=engine.videos_per_part or _videos_per_part(len(sources)))
        lease.check()
        folder.remove_all()
        _append(run, sources, first_part=0, engine=engine)
        folder.write(layout.STAGE_STATE, json.dumps(_shape(engine)).encode())
        return engine
    engine = with_shape_of(run, engine)
    if add_sources:
        new = new_sources(run, source)
        _log.info("%d new sources", len(new))
        if new:
            lease.check()
            remove_pack(run, source, recut=())
            last = max(map(layout.part_number, run.parts("source")), default=-1)
            _append(run, new, first_part=last + 1, engine=engine)
    return engine


def new_sources(run: Run, source: Input) -> list[Source]:
    """What the input names and the run does not hold yet; errors as from `Input.sources`."""
    known = {one.id for one in run.sources()}
    return [one for one in source.sources() if one.id not in known]


def compare_input(run: Run, source: Input, *, is_cut: bool) -> None:
    """Warn of sources that the input names and a run with a frozen list does not hold.

    RunError where the input names none that it holds and, as `is_cut` says, sources are still to be read: each of them
    would be rejected. Where listing takes long (folders of object storage), and on a new run, nothing is compared.
    """
    if source.is_slow_to_list or not run.stage_folder("source").exists(layout.STAGE_STATE):
        return
    try:
        new = new_sources(run, source)
    except (ConfigError, StorageError) as error:
        _log.warning("%s; this run goes on with the list of sources that it has", error)
        return
    if not new:
        return
    num_listed = len(source.sources())
    what = f"{len(new)} of {num_listed} sources of {source.name} are not in this run, such as {new[0].uri!r}"
    if len(new) == num_listed and not is_cut:
        raise RunError(
            f"{run.folder.uri}: {what}, and none that is; give the --input that it was begun with, another --output, "
            "or --add-sources to append them"
        )
    _log.warning("%s, and were left out; --add-sources appends them", what)


def _append(run: Run, sources: Sequence[Source], *, first_part: int, engine: EngineSettings) -> None:
    size = engine.videos_per_part
    assert size is not None
    # In id order, as the shards are: a shard then takes its clips from few parts (three times less CPU in all).
    sources = sorted(sources, key=lambda one: one.id)
    for number, first in enumerate(range(0, len(sources), size), start=first_part):
        table = codec.to_table(sources[first : first + size], Source)
        run.stage_folder("source").write(layout.records_file(layout.part_name(number)), parquet_bytes(table))


def _videos_per_part(num_sources: int) -> int:
    """Small runs get small parts, so that every worker has something to do."""
    return max(1, min(_MAX_VIDEOS_PER_PART, num_sources // _WANTED_PARTS))


def _shape(engine: EngineSettings) -> dict[str, int | None]:
    return {"videos_per_part": engine.videos_per_part, "clips_per_part": engine.clips_per_part}


def with_shape_of(run: Run, engine: EngineSettings) -> EngineSettings:
    """The settings with the part sizes of a run whose sources are frozen; RunError where they ask for others."""
    folder = run.stage_folder("source")
    if not folder.exists(layout.STAGE_STATE):
        return engine
    stored = json.loads(folder.read(layout.STAGE_STATE))
    wanted = _shape(engine)
    wrong = {name: got for name, got in wanted.items() if got is not None and got != stored[name]}
    for name, got in wrong.items():
        raise RunError(
            f"engine.{name}: got {got}, this run was made with {stored[name]}; set it back, or build into a new folder"
        )
    return dataclasses.replace(engine, **stored)
