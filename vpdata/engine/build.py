"""The order of a build: freeze the sources, run the stages, look at the whole run, pack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import pyarrow.compute as pc
import yaml

from vpdata import __version__
from vpdata.config import public, to_plain
from vpdata.dataset import layout, lease
from vpdata.dataset.lease import LeaseProof
from vpdata.dataset.run import Run, num_rows, read_table
from vpdata.engine import again, fingerprint
from vpdata.engine.cluster import Cluster, run_jobs
from vpdata.engine.freeze import compare_added, compare_input, freeze_sources, with_shape_of
from vpdata.engine.intake import FromSources, FromStage, Intake
from vpdata.engine.local import local_cluster
from vpdata.engine.outlook import changes_of
from vpdata.engine.pack import PackJob, pack_resources, unpacked
from vpdata.engine.parts import StageJob, num_records, sub_parts
from vpdata.engine.plan import Plan, make_plan
from vpdata.engine.preflight import make_errand, refuse_relative, refuse_relative_weights, refuse_unwritable
from vpdata.engine.progress import Progress
from vpdata.engine.refuse_loss import refuse_stripped
from vpdata.engine.settings import EngineSettings
from vpdata.engine.work import Counts
from vpdata.errors import Reason, RunError
from vpdata.models.weights import Wanted, refuse_missing
from vpdata.sources import Input
from vpdata.stages.base import Resources, Stage
from vpdata.stages.rules import FilterSettings
from vpdata.storage import Folder

EngineKind = Literal["ray", "local"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSummary:
    """How a build ended."""

    num_sources: int
    num_clips: int
    """That passed all rules and are in the shards."""
    num_duplicates: int
    """That passed all rules and look like, or are the same as, one that is kept."""
    num_shards: int
    run_uri: str
    drops: Mapping[str, int]
    """Reason to number of rejected sources, spans and clips, the most frequent first; counted where no clip is left."""

    def __str__(self) -> str:
        if not self.num_clips:
            drops = ", ".join(f"{reason} {count}" for reason, count in islice(self.drops.items(), 5))
            return (
                f"{self.num_sources} sources gave no clip that passes all rules: the data set is empty; "
                f"most were dropped for: {drops or 'no reason'}. `vpdata stats {self.run_uri}` says where"
            )
        return (
            f"{self.num_sources} sources gave {self.num_clips} clips in {self.num_shards} shard(s); "
            f"{self.num_duplicates} more were duplicates"
        )


def build_run(
    run_uri: str,
    *,
    source: Input,
    stages: Sequence[Stage],
    filter: FilterSettings,
    engine: EngineSettings,
    config: Mapping[str, Any],
    weights: Sequence[Wanted] = (),
    kind: EngineKind,
    redo: str | None = None,
    add_sources: bool = False,
    retry_rejects: Reason | None = None,
) -> BuildSummary:
    """Make a run, or go on with an unfinished one, up to its shards and index.

    `weights` must be there before anything else happens. `config` is plain data without secrets; `run.yaml` stores it,
    of local paths only the last part. RunError where the folder is no run, is being built, or was made with other
    settings; StorageError where the disk is full or a server is down. In every case the finished parts stay, and the
    same call goes on.
    """
    if kind == "ray":
        refuse_relative(run_uri, num_nodes=1)
        refuse_relative_weights(weights, num_nodes=1)
    refuse_missing(weights)
    run = Run(Folder(run_uri))
    names = [stage.name for stage in stages]
    _refuse_other_folders(run.folder, redo)
    with lease.hold(run.folder, waits=True) as proof, Progress([*names, layout.PACK]) as progress:
        kept = again.kept_stages(redo, names)
        # All that can be refused is refused before anything is removed.
        refuse_stripped(run, kept)
        with_shape_of(run, engine)
        fingerprint.states_of(run, stages[: len(kept)], filter)
        if not add_sources:
            compare_input(run, source, is_recut=not kept, is_retried=retry_rejects is not None)
        elif kept:
            compare_added(run, source)
        if add_sources or redo is not None or retry_rejects is not None:
            _plan(kind, engine, run, source, stages, weights)
        if redo is not None:
            again.remove_from(run, redo, source)
        if retry_rejects is not None:
            again.remove_rejected(run, names, retry_rejects, source)
        engine = freeze_sources(run, source, engine=engine, add_sources=add_sources, lease=proof)
        states = fingerprint.settle_stages(run, stages, filter)
        fingerprint.settle_pack(run, source, engine, states[stages[-1].name])
        run.folder.write(layout.RUN_CONFIG, _run_yaml(config, stages))
        jobs = [
            StageJob(
                stage=stage,
                intake=_intake(run, source, previous, engine),
                folder=run.stage_folder(stage.name),
                lease=proof,
                rules=fingerprint.early_rules_of(states[stage.name]),
                engine=engine,
            )
            for stage, previous in zip(stages, ["source", *(stage.name for stage in stages)], strict=False)
        ]
        _Build(run, source, jobs, engine, weights, proof, progress).finish(kind)
    return _summary(run)


def plan_text(
    run_uri: str,
    *,
    source: Input,
    stages: Sequence[Stage],
    engine: EngineSettings,
    kind: EngineKind,
    redo: str | None = None,
    add_sources: bool = False,
    retry_rejects: Reason | None = None,
) -> str:
    """What `build_run` would do, for people; writes nothing.

    ConfigError where it could never run, RunError where it would remove what could not be made again.
    """
    run = Run(Folder(run_uri))
    names = [stage.name for stage in stages]
    _refuse_other_folders(run.folder, redo)
    again.kept_stages(redo, names)
    if run.folder.exists(layout.RUN_CONFIG):
        done = [f"{name} {len(run.parts(name))}" for name in names]
        what = f"{run_uri} goes on: {len(run.parts('source'))} parts of sources; parts done: {', '.join(done)}"
        changes = changes_of(run, source, names, redo=redo, retry_rejects=retry_rejects, add_sources=add_sources)
        what = "\n".join([what, *changes])
    else:
        what = f"{run_uri} is new: {len(source.sources())} sources"
    return f"{what}\n{_plan(kind, engine, run, source, stages).text}"


class _Build:
    """What is left to do of a run."""

    def __init__(
        self,
        run: Run,
        source: Input,
        jobs: Sequence[StageJob],
        engine: EngineSettings,
        weights: Sequence[Wanted],
        proof: LeaseProof,
        progress: Progress,
    ) -> None:
        self._run, self._source, self._jobs, self._engine = run, source, jobs, engine
        self._weights, self._progress = weights, progress
        self._previous = dict(zip((job.name for job in jobs), ["source", *(job.name for job in jobs)], strict=False))
        self._pack_job = PackJob(run_folder=run, lease=proof, engine=engine)

    def finish(self, kind: EngineKind) -> None:
        """Do it; a finished run starts no worker."""
        if self._run.folder.exists(layout.PACK_PLAN) and not unpacked(self._run):
            return
        for folder in (*map(self._run.stage_folder, layout.STAGE_FOLDERS), self._run.folder):
            folder.sweep()
        needs = {job.name: job.resources for job in self._jobs}
        with _cluster_of(kind, self._engine, self._run, self._source, needs, self._weights) as cluster:
            # What cannot run in the end is refused at the start.
            make_plan({layout.PACK: self._pack_job.resources}, cluster.nodes)
            if not self._run.folder.exists(layout.PACK_PLAN):
                self._run_stages(cluster)
                for job in self._jobs:
                    self._run.stage_folder(job.name).child(layout.PROGRESS).remove_all()
                self._pack(cluster, [layout.PACK_PLAN])
            self._pack(cluster, unpacked(self._run))

    def _run_stages(self, cluster: Cluster) -> None:
        needs = {job.name: job.resources for job in self._jobs}
        plan = make_plan(needs, cluster.nodes, at_once=cluster.runs_at_once)
        self._progress.note(plan.text)
        for group in plan.groups:
            jobs = [job for job in self._jobs if job.name in group]
            waiting = {job.name: self._waiting(job) for job in jobs}
            run_jobs(cluster, jobs, waiting=waiting, following=self._following, progress=self._progress)

    def _pack(self, cluster: Cluster, names: Sequence[str]) -> None:
        self._progress.known(layout.PACK, num_parts=len(names), done=0)
        waiting = {layout.PACK: names}
        run_jobs(cluster, [self._pack_job], waiting=waiting, following=self._following, progress=self._progress)

    def _waiting(self, job: StageJob) -> list[str]:
        """Parts that the stage before has finished and this one has not."""
        done = set(self._run.parts(job.name))
        names = self._run.parts(self._previous[job.name])
        if self._previous[job.name] == "cut":
            names = [name for part in names for name in self._sub_parts(part, num_records(self._run, "cut", part))]
        left = [name for name in names if name not in done]
        self._progress.known(job.name, num_parts=len(names), done=len(done))
        return left

    def _following(self, stage: str, counts: Counts) -> list[str]:
        names = self._sub_parts(counts.name, counts.num_records) if stage == "cut" else [counts.name]
        following = {previous: name for name, previous in self._previous.items()}
        self._progress.follow(following[stage], len(names))
        return names

    def _sub_parts(self, part: str, num_clips: int) -> list[str]:
        return sub_parts(part, num_clips=num_clips, clips_per_part=self._engine.clips_per_part)


def _intake(run: Run, source: Input, previous: str, engine: EngineSettings) -> Intake:
    """What the stage behind `previous` works on."""
    if previous == "source":
        return FromSources(run=run, source=source)
    return FromStage(run=run, previous=previous, clips_per_part=engine.clips_per_part)


def _plan(
    kind: EngineKind,
    engine: EngineSettings,
    run: Run,
    source: Input,
    stages: Sequence[Stage],
    weights: Sequence[Wanted] = (),
) -> Plan:
    """What the cluster, opened for a moment, will do; ConfigError where it could never run a stage or the packing."""
    needs = {stage.name: stage.resources for stage in stages}
    with _cluster_of(kind, engine, run, source, needs, weights) as cluster:
        make_plan({layout.PACK: pack_resources(engine)}, cluster.nodes)
        return make_plan(needs, cluster.nodes, at_once=cluster.runs_at_once)


def _cluster_of(
    kind: EngineKind,
    engine: EngineSettings,
    run: Run,
    source: Input,
    needs: Mapping[str, Resources],
    weights: Sequence[Wanted] = (),
) -> AbstractContextManager[Cluster]:
    """The machine or machines that an engine runs on."""
    if kind == "local":
        return local_cluster(engine)
    from vpdata.engine.ray import ray_cluster

    return ray_cluster(engine, make_errand(run.folder, source, next(run.sources(), None), weights=weights), needs)


def _refuse_other_folders(folder: Folder, redo: str | None) -> None:
    refuse_unwritable(folder)
    names = set(folder.names())
    if redo is not None and not names:
        raise RunError(f"got --redo {redo}, but there is no run in {folder.uri}; leave it out to begin one")
    if names and not names & {layout.RUN_CONFIG, layout.LEASE, layout.STAGE_FOLDERS["source"]}:
        raise RunError(f"{folder.uri} is neither empty nor a run (it holds {min(names)!r}); give another --output")


def _run_yaml(config: Mapping[str, Any], stages: Sequence[Stage]) -> bytes:
    models = [to_plain(card) for stage in stages for card in stage.models]
    content = {"vpdata_version": __version__, "config": public(config), "models": models}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()


def _summary(run: Run) -> BuildSummary:
    num_clips = num_rows(run.folder, layout.PACK_PLAN)
    return BuildSummary(
        num_sources=sum(num_records(run, "source", part) for part in run.parts("source")),
        num_clips=num_clips,
        num_duplicates=num_rows(run.folder, layout.RUNWIDE_REJECTS),
        num_shards=len(run.folder.child(layout.INDEX).names(".parquet")),
        run_uri=run.folder.uri,
        drops={} if num_clips else _drops(run),
    )


def _drops(run: Run) -> dict[str, int]:
    """Rejects of whole items by reason, as `BuildSummary.drops`."""
    counts: Counter[str] = Counter()
    for stage in (*layout.STAGE_NAMES, layout.PACK):
        for folder, name in run.reject_files(stage):
            rows = read_table(folder, name, columns=["reason", "track"])
            counts.update(rows.filter(pc.field("track").is_null())["reason"].to_pylist())
    return dict(counts.most_common())
