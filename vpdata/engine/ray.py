"""The Ray engine: workers are actors of one fixed pool per stage, on a cluster that is running or on a local one.

Messages are names of parts and counts; records and pixels stay in files, so the object store stays empty.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import ray
from ray.exceptions import (
    ActorUnavailableError,
    GetTimeoutError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
)
from ray.util.metrics import Counter
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vpdata.engine import preflight
from vpdata.engine.cluster import Cluster
from vpdata.engine.crew import WorkerLost
from vpdata.engine.local import this_node
from vpdata.engine.plan import Node, gpu_share, make_plan
from vpdata.engine.settings import EngineSettings
from vpdata.engine.work import Counts, Job, PackedJob
from vpdata.engine.worker import Worker
from vpdata.errors import BackendError, ConfigError
from vpdata.ray_init import join_ray, start_ray
from vpdata.stages.base import Resources

_log = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 80 * 10**6
"""The least that Ray accepts: nothing is put there."""
_QUIET = {"log_to_driver": False, "logging_level": logging.ERROR}
_WAIT_S = 5.0
VISIT_S = 300.0
"""For a node to look at the run, a source and the weights: seconds, but Python may come from a slow disk."""
_CONNECT_S = 2.0


@contextmanager
def ray_cluster(engine: EngineSettings, errand: preflight.Errand, needs: Mapping[str, Resources]) -> Iterator[Cluster]:
    """A cluster that is running, joined and checked, or a local one that ends with the build."""
    with connected(engine.ray_address) as is_local:
        if is_local:
            nodes = [_with_ray_memory(this_node())]
        else:
            with _room(needs, wait_for_s=engine.wait_for_s):
                nodes = _visit_all(errand)
        yield Cluster(crew=RayCrew(nodes), nodes=nodes, runs_at_once=True, report=_reporter())


@contextmanager
def connected(address: str = "auto") -> Iterator[bool]:
    """Ray, whichever is found first: what this process has, a cluster that is running, a local one that ends with this.

    True for one of its own. `address` as `engine.ray_address`; ConfigError for a cluster that cannot be joined.
    """
    was_running = ray.is_initialized()
    is_local = not was_running and not _join(address)
    if is_local:
        start_ray(object_store_memory=_OBJECT_STORE_BYTES, **_QUIET)
    try:
        yield is_local
    finally:
        if not was_running:
            ray.shutdown()


def _join(address: str) -> bool:
    """Connect to a running cluster; False where there is none to connect to."""
    if address == "local":
        return False
    if address == "auto" and not os.environ.get("RAY_ADDRESS") and not _is_running(_current_cluster_file()):
        return False
    try:
        join_ray(address, **_QUIET)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = os.environ.get("RAY_ADDRESS") or address
        raise ConfigError(
            f"cannot join the Ray cluster at {where!r}: {error}. If none should be running, set engine.ray_address: "
            f"local (and remove {_current_cluster_file()} if it is left over)"
        ) from error
    return True


def _is_running(current_cluster: Path) -> bool:
    """Whether somebody listens at the address in the file, which a head that was killed leaves behind."""
    try:
        host, _, port = current_cluster.read_text().strip().rpartition(":")
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except (OSError, ValueError) as error:
        _log.info("no Ray cluster runs here (%s: %s)", current_cluster, error)
        return False
    return True


def _current_cluster_file() -> Path:
    """Where `ray start` leaves the address of the cluster that it started on this machine."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    return Path(folder, "ray", "ray_current_cluster")


def _nodes() -> dict[str, Node]:
    """What Ray has, by node id."""
    return {node["NodeID"]: _node_of(node["Resources"]) for node in ray.nodes() if node["Alive"]}


def _node_of(resources: Mapping[str, float]) -> Node:
    return Node(
        cpus=resources.get("CPU", 0.0), gpus=resources.get("GPU", 0.0), memory_gb=resources.get("memory", 0.0) / 1e9
    )


def _with_ray_memory(node: Node) -> Node:
    (found,) = _nodes().values()
    return replace(found, gpu_memory_gb=node.gpu_memory_gb)


@contextmanager
def _room(needs: Mapping[str, Resources], *, wait_for_s: float) -> Iterator[None]:
    """Ask an autoscaling cluster for room for all stages at once, and wait; in the end room for each alone will do.

    ConfigError with the numbers where there is not even that. The request holds while the block runs. It would outlive
    the build: nodes that nobody uses would stay for good.
    """
    from ray.autoscaler.sdk import request_resources

    deadline = time.monotonic() + wait_for_s
    has_asked = False
    try:
        while True:
            is_late = time.monotonic() >= deadline
            try:
                if len(make_plan(needs, list(_nodes().values())).groups) == 1:
                    break
                if is_late:
                    if has_asked:
                        _log.warning("in %g s the cluster has not grown to hold all stages at once", wait_for_s)
                    break
            except ConfigError:
                if is_late:
                    raise
            request_resources(bundles=[_bundle(need) for need in needs.values() for _ in range(need.workers or 1)])
            if not has_asked:
                _log.warning("waiting for room for all stages at once, up to engine.wait_for_s (%g s)", wait_for_s)
            has_asked = True
            time.sleep(_WAIT_S)
        yield
    finally:
        if has_asked:
            request_resources(bundles=[])


def _bundle(need: Resources) -> dict[str, float]:
    return {"CPU": need.cpus, "GPU": need.gpus, "memory": need.memory_gb * 1e9}


def _visit_all(errand: preflight.Errand) -> list[Node]:
    """Send the errand to every node; RunError that names what a node cannot do, BackendError one that cannot answer."""
    nodes = _nodes()
    hosts = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes()}
    errand = replace(errand, num_nodes=len(nodes))
    preflight.refuse_relative(errand.run_folder.uri, num_nodes=len(nodes))
    errand.run_folder.write(errand.probe, b"")
    try:
        visit = ray.remote(preflight.visit)
        answers = {}
        for node in nodes:
            place = NodeAffinitySchedulingStrategy(node, soft=False)
            answers[node] = visit.options(num_cpus=0, max_retries=1, scheduling_strategy=place).remote(errand)
        _, late = ray.wait(list(answers.values()), num_returns=len(answers), timeout=VISIT_S)
        if late:
            names = ", ".join(sorted(hosts[node] for node, answer in answers.items() if answer in late))
            raise BackendError(
                f"no answer from {names} in {VISIT_S:g} s: does a disk hang there that holds the run, the input or the "
                "weights? Mend that, or take the node out of the cluster"
            )
        findings = [_answer(answer, hosts[node]) for node, answer in answers.items()]
    finally:
        errand.run_folder.remove(errand.probe)
    preflight.refuse_differences(findings)
    pairs = zip(nodes.values(), findings, strict=True)
    return [replace(node, gpu_memory_gb=found.gpu_memory_gb) for node, found in pairs]


def _answer(answer: ray.ObjectRef, host: str) -> preflight.Findings:
    try:
        return ray.get(answer)
    except RayTaskError as error:
        raise BackendError(f"{host}, a node of the cluster, cannot run vpdata: {error.cause}") from error
    except RayError as error:
        what = str(error).splitlines()[0]
        raise BackendError(f"{host}, a node of the cluster, cannot be used: {what} If it died, start again") from error


def _reporter() -> Callable[[str, Counts], None]:
    """Counts for Prometheus, on the port that Ray exports its metrics on."""
    records = Counter("vpdata_records", "Records that a stage let through.", tag_keys=("stage",))
    rejects = Counter("vpdata_rejects", "Rejects of a stage.", tag_keys=("stage",))

    def report(stage: str, counts: Counts) -> None:
        for metric, number in ((records, counts.num_records), (rejects, counts.num_rejects)):
            if number:
                metric.inc(number, tags={"stage": stage})

    return report


class RayCrew:
    """Starts actors."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        """`nodes`: those that the plan is for."""
        self._nodes = nodes

    def start(self, job: Job) -> RayHand:
        return RayHand(job, num_gpus=gpu_share(job.resources, self._nodes))


class RayHand:
    """One actor. Ray never restarts it or its calls: the dispatcher knows what was lost and why."""

    def __init__(self, job: Job, *, num_gpus: float) -> None:
        need = job.resources
        options = {"num_cpus": need.cpus, "num_gpus": num_gpus, "memory": need.memory_gb * 1e9}
        actor = ray.remote(Worker).options(**options, max_restarts=0, max_task_retries=0)
        self._actor = actor.remote(PackedJob.of(job))
        self._placed = self._actor.__ray_ready__.remote()  # type: ignore[attr-defined]  # every actor has it, but for the stub

    def is_placed(self) -> bool:
        return bool(ray.wait([self._placed], timeout=0)[0])

    def ready(self) -> Future[None]:
        return self._future_of(self._actor.ready.remote())

    def run(self, name: str) -> Future[Counts]:
        # An actor takes its calls in turn: one that answers the first was alive when it began the second.
        ready = self._actor.ready.remote().future()
        return self._future_of(self._actor.run.remote(name), after=ready)

    def stop(self) -> None:
        ray.kill(self._actor)  # type: ignore[arg-type]  # its stub wants the untyped handle

    def _future_of(self, ref: ray.ObjectRef, *, after: Future | None = None) -> Future:
        """Like `ref.future()`, with our own errors as they were raised and the death of the actor as WorkerLost.

        `after`: of the call before it, which tells whether the actor had begun this one.
        """
        ours: Future = Future()

        def settle(theirs: Future) -> None:
            error = theirs.exception()
            had_begun = after is not None and after.done() and after.exception() is None
            if error is None:
                ours.set_result(theirs.result())
            elif isinstance(error, ActorUnavailableError):
                # Not from here: this is a thread of Ray's own.
                threading.Thread(target=self._end, args=(ours, error, had_begun), daemon=True).start()
            elif isinstance(error, (RayActorError, OutOfMemoryError)):
                ours.set_exception(_lost(error, had_begun=had_begun))
            else:
                ours.set_exception(error.cause if isinstance(error, RayTaskError) else error)

        ref.future().add_done_callback(settle)
        return ours

    def _end(self, ours: Future, error: ActorUnavailableError, had_begun: bool) -> None:
        """Kill an actor that could not be reached, and call it lost when Ray knows that it is dead.

        Until then it may be at work, and another one at the same part would do everything twice.
        """
        while ray.is_initialized():
            self.stop()
            try:
                ray.get(self._actor.ready.remote(), timeout=_WAIT_S)
            except (ActorUnavailableError, GetTimeoutError):
                pass
            except (RayActorError, OutOfMemoryError):
                ours.set_exception(_lost(error, had_begun=had_begun))
                return
            time.sleep(1.0)


def _lost(error: Exception, *, had_begun: bool) -> WorkerLost:
    return WorkerLost(str(error).splitlines()[0], had_begun=had_begun)
