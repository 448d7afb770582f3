"""Rejects for a terminal: what was dropped, and why, a line each."""

from __future__ import annotations

from collections.abc import Iterator

from vpdata.dataset import layout
from vpdata.dataset.printable import printable
from vpdata.dataset.run import Run
from vpdata.errors import Reason
from vpdata.records import Reject


def reject_lines(run: Run, reason: Reason | None = None) -> Iterator[str]:
    """A line for each reject of a run, or for those of one reason: stage by stage, in the order of the parts.

    RunError where the folder is no run.
    """
    run.config()
    for stage in (*layout.STAGE_NAMES, layout.PACK):
        for reject in run.rejects(stage):
            if reason in (None, reject.reason):
                yield _line(reject)


def _line(reject: Reject) -> str:
    what = reject.id if reject.track is None else f"{reject.id} track {reject.track}"
    span = "" if reject.start_s is None or reject.stop_s is None else f" {reject.start_s:.2f}-{reject.stop_s:.2f} s"
    measured = ", ".join(f"{name} {value}" for name, value in (("got", reject.got), ("wanted", reject.wanted)) if value)
    why = f"{reject.detail}{f': {measured}' if measured else ''}"
    return printable(f"{reject.stage}  {reject.reason}  {what}  {reject.uri}{span}  {why}")
