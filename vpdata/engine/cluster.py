"""Where a build runs, as the build sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vpdata.engine.crew import Crew
from vpdata.engine.dispatch import Dispatch
from vpdata.engine.plan import Node, make_plan
from vpdata.engine.progress import Progress
from vpdata.engine.work import Counts, Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One machine or many."""

    crew: Crew
    nodes: Sequence[Node]
    report: Callable[[str, Counts], None]
    """Told of every finished part: the stage and its counts."""
    runs_at_once: bool
    """Whether stages may share it; False: each stage gets all of it in its turn."""


def run_jobs(
    cluster: Cluster,
    jobs: Sequence[Job],
    *,
    waiting: Mapping[str, Sequence[str]],
    following: Callable[[str, Counts], Sequence[str]],
    progress: Progress,
) -> None:
    """Run some jobs at once to their end; `waiting` and `following` as in `Dispatch`."""

    def staff(left: Sequence[Job]) -> Mapping[str, int]:
        return make_plan({job.name: job.resources for job in left}, cluster.nodes).workers

    def done(stage: str, counts: Counts) -> None:
        progress.part_done(stage, counts)
        cluster.report(stage, counts)

    Dispatch(cluster.crew, jobs, waiting=waiting, following=following, staff=staff, done=done).run()
