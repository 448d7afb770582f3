"""Removing what is to be made again, in an order that never leaves old results where they pass for new ones."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence

from vpdata.config import nearest
from vpdata.dataset import layout
from vpdata.dataset.run import Run, read_rows
from vpdata.engine.refuse_loss import refuse_loss
from vpdata.errors import ConfigError, Reason
from vpdata.records import Reject
from vpdata.sources import Input

_log = logging.getLogger(__name__)


def kept_stages(redo: str | None, stages: Sequence[str]) -> list[str]:
    """Those of `stages` whose results stay; ConfigError for a stage to redo that does not exist."""
    known = (*layout.STAGE_NAMES, layout.PACK)
    if redo is not None and redo not in known:
        raise ConfigError(f"--redo: unknown stage {redo!r}{nearest(redo, known) or '; known: ' + ', '.join(known)}")
    return [name for name in stages if redo is None or known.index(name) < known.index(redo)]


def remove_from(run: Run, stage: str, source: Input) -> None:
    """Remove the results of a stage and of all that follow it; "pack": only plan, shards and index."""
    remove_pack(run, source, recut=None if stage == layout.STAGE_NAMES[0] else ())
    num_kept = len(kept_stages(stage, layout.STAGE_NAMES))
    for name in reversed(layout.STAGE_NAMES[num_kept:]):
        folder = run.stage_folder(name)
        # Without its stage.json a folder counts as empty, whatever a kill leaves in it.
        folder.remove(layout.STAGE_STATE)
        folder.remove_all()


def remove_pack(run: Run, source: Input, *, recut: Collection[str] | None) -> None:
    """Remove the index, then the shards, then their plan; RunError as from `refuse_loss`, with nothing removed."""
    refuse_loss(run, source, recut=recut)
    for name in (layout.INDEX, layout.SHARDS):
        run.folder.child(name).remove_all()
    for name in (layout.PACK_PLAN, layout.RUNWIDE_REJECTS, layout.PACK_STATE):
        run.folder.remove(name)


def remove_rejected(run: Run, stages: Sequence[str], reason: Reason, source: Input) -> None:
    """Remove every part in which a stage rejected something for `reason`, and what followed from it."""
    found = parts_with(run, stages, reason)
    if not found:
        _log.warning("no part holds a reject for %s: --retry-rejects makes nothing anew", reason)
    else:
        _log.info("%d parts hold rejects for %s and run again", len(found), reason)
        remove_pack(run, source, recut=[part for stage, part in found if stage == stages[0]])
    for stage, part in found:
        for later in reversed(stages[stages.index(stage) :]):
            _remove_part(run, later, part, with_sub_parts=stage == stages[0])


def parts_with(run: Run, stages: Sequence[str], reason: Reason) -> list[tuple[str, str]]:
    """Stage and part wherever a stage rejected something for `reason`."""
    return [
        (stage, part)
        for stage in stages
        for part in run.parts(stage)
        if any(reject.reason is reason for reject in _rejects(run, stage, part))
    ]


def _rejects(run: Run, stage: str, part: str) -> Iterator[Reject]:
    folder, name = run.stage_folder(stage), layout.rejects_file(part)
    return read_rows(folder, name, Reject) if folder.exists(name) else iter(())


def _remove_part(run: Run, stage: str, part: str, *, with_sub_parts: bool) -> None:
    folder = run.stage_folder(stage)
    # What was flushed goes first: it counts items of the list that is to be made again.
    for one in (folder.child(layout.PROGRESS), folder):
        for name in sorted(one.names(), key=lambda name: name != layout.records_file(part)):
            stem = name.partition(".")[0]
            if stem == part or (with_sub_parts and layout.whole_part_of(stem) == part):
                one.remove(name)
