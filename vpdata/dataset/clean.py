"""Freeing the disk of what the shards already hold."""

from __future__ import annotations

from dataclasses import dataclass

from vpdata.dataset.check import check
from vpdata.dataset.run import Run
from vpdata.errors import RunError


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """What `clean` removed."""

    num_files: int
    num_bytes: int

    def __str__(self) -> str:
        return (
            f"removed {self.num_files} tars of clips, {self.num_bytes / 1e6:.1f} MB; the shards are the only copy now, "
            "and to make or add anything takes --redo cut and the sources"
        )


def clean(run: Run) -> Cleaned:
    """Remove the tars of `1-cut/`, whose kept clips are in the shards.

    To add sources, or to track, caption or pack again, then takes `--redo cut`, which reads the sources. RunError, and
    nothing is removed, where `check` finds any problem.
    """
    problems = check(run)
    if problems:
        raise RunError(
            f"{run.folder.uri}: nothing was removed, since `vpdata check` finds {len(problems)} problems, "
            f"the first: {problems[0]}"
        )
    folder = run.stage_folder("cut")
    names = folder.names(".tar")
    num_bytes = sum(folder.size(name) for name in names)
    for name in names:
        folder.remove(name)
    return Cleaned(num_files=len(names), num_bytes=num_bytes)
