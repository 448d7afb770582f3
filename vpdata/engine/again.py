"""Removing what is to be made again, in an order that never leaves old results where they pass for new ones."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from vpdata.config import nearest
from vpdata.dataset import layout
from vpdata.dataset.run import Run, read_rows
from vpdata.errors import ConfigError, Reason
from vpdata.records import Reject

_log = logging.getLogger(__name__)

PACK = "pack"
"""Names the run-wide pass and the shards where a stage's name is asked for."""


def remove_from(run: Run, stage: str) -> None:
    """Remove the results of a stage and of all that follow it; "pack": only plan, shards and index."""
    known = (*layout.STAGE_NAMES, PACK)
    if stage not in known:
        raise ConfigError(f"--redo: unknown stage {stage!r}{nearest(stage, known) or '; known: ' + ', '.join(known)}")
    remove_pack(run)
    for name in reversed(layout.STAGE_NAMES[known.index(stage) :]):
        folder = run.stage_folder(name)
        # Without its stage.json a folder counts as empty, whatever a kill leaves in it.
        folder.remove(layout.STAGE_STATE)
        folder.remove_all()


def remove_pack(run: Run) -> None:
    """Remove the index, then the shards, then their plan."""
    for name in (layout.INDEX, layout.SHARDS):
        run.folder.child(name).remove_all()
    for name in (layout.PACK_PLAN, layout.RUNWIDE_REJECTS, layout.PACK_STATE):
        run.folder.remove(name)


def remove_rejected(run: Run, stages: Sequence[str], reason: Reason) -> int:
    """Remove every part in which a stage rejected something for `reason`, and what followed from it; how many parts."""
    removed = 0
    for position, stage in enumerate(stages):
        for part in run.parts(stage):
            if any(reject.reason is reason for reject in _rejects(run, stage, part)):
                remove_pack(run)
                for later in reversed(stages[position:]):
                    _remove_part(run, later, part, with_sub_parts=stage == stages[0])
                removed += 1
    _log.info("%d parts hold rejects for %s and run again", removed, reason)
    return removed


def _rejects(run: Run, stage: str, part: str) -> Iterator[Reject]:
    folder, name = run.stage_folder(stage), layout.rejects_file(part)
    return read_rows(folder, name, Reject) if folder.exists(name) else iter(())


def _remove_part(run: Run, stage: str, part: str, *, with_sub_parts: bool) -> None:
    folder = run.stage_folder(stage)
    for name in sorted(folder.names(), key=lambda name: name != layout.records_file(part)):
        stem = name.partition(".")[0]
        if stem == part or (with_sub_parts and layout.whole_part_of(stem) == part):
            folder.remove(name)
