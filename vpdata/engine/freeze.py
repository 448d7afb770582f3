"""The frozen source list of a run, in parts; and what a run's shape on disk depends on."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence

from vpdata import codec
from vpdata.dataset import layout
from vpdata.dataset.lease import LeaseProof
from vpdata.dataset.run import Run, parquet_bytes, read_table
from vpdata.engine.again import remove_pack
from vpdata.engine.settings import EngineSettings
from vpdata.errors import ConfigError, RunError, StorageError
from vpdata.records import Source
from vpdata.sources import Input
from vpdata.storage import Folder

_log = logging.getLogger(__name__)

_WANTED_PARTS = 64
_MAX_VIDEOS_PER_PART = 64
_CUT_FROM = ["clip.video.id", "clip.video.size_bytes"]
_APART = "put them into a folder of their own below the run's input, or give a list with ids"


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
    """What the input names and the run does not hold yet; it says how much of it the run does hold.

    Errors as from `Input.sources`.
    """
    uris = _frozen_uris(run)
    listed = source.sources()
    known = [one for one in listed if one.id in uris]
    if known:
        _log.log(
            logging.INFO if len(known) < len(listed) else logging.WARNING,
            "%d of %d sources of %s are in this run already by their ids, such as %r, and are left out; "
            "if they are other videos, %s",
            *(len(known), len(listed), source.name, known[0].uri, _APART),
        )
    return [one for one in listed if one.id not in uris]


def compare_added(run: Run, source: Input) -> None:
    """Warn of other files that the input has under the ids of sources that were cut: to append them adds nothing.

    RunError where it has nothing else under such ids.
    """
    uris = _frozen_uris(run)
    others, num_compared = _other_files(run, source, [one for one in source.sources() if one.id in uris])
    if others:
        what = _other_than_cut(source, others, num_compared)
        if len(others) == num_compared:
            raise RunError(
                f"{run.folder.uri}: {what}, and would be left out. An id is of the path below the input: {_APART}"
            )
        _log.warning("%s; the clips of those stay. If they are other videos, %s", what, _APART)


def compare_input(run: Run, source: Input, *, is_recut: bool, is_retried: bool) -> None:
    """Warn of sources that the input names and a run with a frozen list does not hold, or holds otherwise.

    RunError where sources are still to be read and the input names none that the run holds, as each of them would be
    rejected, or has nothing but other files under the ids of those that were cut. Files are compared there, and where
    `is_retried` says that parts with rejects are cut anew. `is_recut`: all are, so that no clip of another file stays.
    Where listing takes long (folders of object storage), and on a new run, nothing is compared.
    """
    if source.is_slow_to_list or not run.stage_folder("source").exists(layout.STAGE_STATE):
        return
    try:
        listed = source.sources()
    except (ConfigError, StorageError) as error:
        _log.warning("%s; this run goes on with the list of sources that it has", error)
        return
    uris = _frozen_uris(run)
    known = [one for one in listed if one.id in uris]
    is_uncut = not set(run.parts("source")) <= set(run.parts("cut"))
    if len(known) < len(listed):
        what = f"{len(listed) - len(known)} of {len(listed)} sources of {source.name} are not in this run, such as "
        what += repr(next(one.uri for one in listed if one.id not in uris))
        if not known and (is_recut or is_uncut):
            raise RunError(
                f"{run.folder.uri}: {what}, and none that is; give the --input that it was begun with, another "
                "--output, or --add-sources to append them"
            )
        _log.warning("%s, and were left out; --add-sources appends them", what)
    if moved := [one for one in known if one.uri != uris[one.id]]:
        what = f"{len(moved)} of {len(listed)} sources of {source.name} have another uri than in this run, such as"
        _log.warning("%s %r, there %r; they are taken for the same videos", what, moved[0].uri, uris[moved[0].id])
    if is_recut or not (is_uncut or is_retried):
        return
    others, num_compared = _other_files(run, source, known)
    if others:
        what = _other_than_cut(source, others, num_compared)
        if is_uncut and len(others) == num_compared:
            raise RunError(
                f"{run.folder.uri}: {what}; give the --input that it was begun with, or build into another --output"
            )
        _log.warning("%s; the clips of those stay%s", what, ", but for parts that are retried" if is_retried else "")


def _frozen_uris(run: Run) -> dict[str, str]:
    return {one.id: one.uri for one in run.sources()}


def _other_files(run: Run, source: Input, known: Sequence[Source]) -> tuple[list[str], int]:
    """Uri and sizes of each of the sources whose local file has another size than the one that its clips are of.

    And the number of those that could be compared.
    """
    sizes = {one.id: size for one in known if (size := source.local_size_bytes(one)) is not None}
    cut_from: dict[str, int] = {}
    for part in run.parts("cut") if sizes else ():
        table = read_table(run.stage_folder("cut"), layout.records_file(part), columns=_CUT_FROM)
        videos = table["clip"].combine_chunks().field("video")
        cut_from |= zip(videos.field("id").to_pylist(), videos.field("size_bytes").to_pylist(), strict=True)
    others = [
        f"{one.uri!r} with {sizes[one.id]} bytes instead of {cut_from[one.id]}"
        for one in known
        if one.id in cut_from and sizes.get(one.id, cut_from[one.id]) != cut_from[one.id]
    ]
    return others, len(cut_from.keys() & sizes.keys())


def _other_than_cut(source: Input, others: Sequence[str], num_compared: int) -> str:
    what = f"{len(others)} of {num_compared} sources of {source.name} are other files than those that were cut"
    return f"{what}, such as {others[0]}"


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


def _stored_shape(folder: Folder) -> dict[str, int]:
    content = folder.read(layout.STAGE_STATE)
    try:
        stored = json.loads(content)
    except ValueError:
        stored = None
    names = _shape(EngineSettings()).keys()
    if not isinstance(stored, dict) or stored.keys() != names or not all(type(got) is int for got in stored.values()):
        raise RunError(
            f"{folder.uri}/{layout.STAGE_STATE} cannot be read: got {content[:200]!r}, wanted the numbers "
            f"{' and '.join(names)} as this version of vpdata writes them; put back a good copy of it, go on with the "
            "version that wrote it, or build into a new folder"
        )
    return stored


def with_shape_of(run: Run, engine: EngineSettings) -> EngineSettings:
    """The settings with the part sizes of a run whose sources are frozen; RunError where they ask for others."""
    folder = run.stage_folder("source")
    if not folder.exists(layout.STAGE_STATE):
        return engine
    stored = _stored_shape(folder)
    wanted = _shape(engine)
    wrong = {name: got for name, got in wanted.items() if got is not None and got != stored[name]}
    for name, got in wrong.items():
        raise RunError(
            f"engine.{name}: got {got}, this run was made with {stored[name]}; set it back, or build into a new folder"
        )
    return dataclasses.replace(engine, **stored)
