"""What every node of a cluster must prove before a build starts. Runs as a Ray task; imports no ray."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import vpdata
from vpdata.engine.gpus import gpus_here
from vpdata.errors import ConfigError, Reason, RejectItem, RunError, StorageError, VpdataError
from vpdata.models.weights import WEIGHTS_VARIABLE, Wanted, is_path, refuse_missing
from vpdata.records import Source
from vpdata.sources import Input
from vpdata.storage import Folder

_PACKAGES = ("torch", "transformers", "open_clip_torch", "av", "opencv-python-headless", "numpy", "pyarrow")
"""Whose version can change a result."""
_UNSEEN = (Reason.SOURCE_GONE, Reason.FETCH_FAILED)
"""Why a file that is there cannot be opened from a node."""
RAY_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the driver of a submitted job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What a node is asked to do."""

    run_folder: Folder
    probe: str
    """A file in the run that the driver has written."""
    source: Input | None = None
    first: Source | None = None
    """A source that the driver could open; None where opening one would download it."""
    shards: Folder | None = None
    """Of a finished data set that is read."""
    weights: Sequence[Wanted] = ()
    """What the models of the build open."""
    num_nodes: int = 1
    """Of the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a node answers."""

    host: str
    versions: dict[str, str]
    gpu_memory_gb: float
    faults: tuple[str, ...]


def visit(errand: Errand) -> Findings:
    """Look at this node: versions, GPUs, and whether it can use the run, open a source and find the weights."""
    faults = []
    for check in (_use_run, _open_source, _see_shards, _find_weights):
        try:
            check(errand)
        except VpdataError as error:
            faults.append(str(error))
    versions = {"vpdata": vpdata.__version__, "python": platform.python_version()}
    versions |= {name: _version(name) for name in _PACKAGES}
    return Findings(
        host=socket.gethostname(), versions=versions, gpu_memory_gb=gpus_here().memory_gb, faults=tuple(faults)
    )


def make_errand(run_folder: Folder, source: Input, first: Source | None, *, weights: Sequence[Wanted] = ()) -> Errand:
    """What the other nodes must be able to do, tried here first."""
    if first is not None:
        try:
            if "://" in first.uri:
                first = None
            else:
                with source.local_file(first):
                    pass
        except (RejectItem, StorageError):
            # All sources may be cut already; a worker that needs one says what is wrong.
            first = None
    return Errand(run_folder=run_folder, probe=f"probe-{uuid.uuid4().hex}", source=source, first=first, weights=weights)


def refuse_relative_weights(weights: Sequence[Wanted], *, num_nodes: int) -> None:
    """As `refuse_relative`, for each folder of weights and for the one that VPDATA_WEIGHTS names."""
    places = [name for name, _ in weights if is_path(name)]
    if len(places) < len(weights):
        places.append(os.environ.get(WEIGHTS_VARIABLE, ""))
    for place in filter(None, places):
        refuse_relative(place, num_nodes=num_nodes)


def refuse_relative(uri: str, *, num_nodes: int) -> None:
    """ConfigError for a relative path where the machines that read it may have other working folders."""
    if "://" in uri or os.path.isabs(uri):
        return
    where = "inside a Ray job" if RAY_JOB_VARIABLE in os.environ else f"on {num_nodes} nodes"
    if RAY_JOB_VARIABLE in os.environ or num_nodes > 1:
        raise ConfigError(
            f"got the relative path {uri!r} {where}, wanted an absolute path on storage that all nodes share, or a uri "
            f"such as s3://bucket/{uri.lstrip('./')}"
        )


def refuse_unwritable(folder: Folder) -> None:
    """StorageError for a local output that cannot be a folder, or that nothing can be written to; leaves nothing there.

    Folders that are missing are made later, by who writes.
    """
    if not folder.is_local:
        return
    place = Path(folder.uri).absolute()
    nearest = next(one for one in (place, *place.parents) if os.path.lexists(one))
    if not nearest.is_dir():
        raise StorageError(f"cannot write to {folder.uri}: {nearest} is no folder; give another --output")
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        why = f"{nearest} takes no file: {error.strerror}"
        raise StorageError(f"cannot write to {folder.uri}: {why}; give another --output") from error


def refuse_differences(findings: Sequence[Findings]) -> None:
    """RunError that lists what any node could not do, and every package whose version is not the same everywhere."""
    wrong = [f"{one.host}: {fault}" for one in findings for fault in one.faults]
    for name in findings[0].versions:
        hosts: dict[str, list[str]] = {}
        for one in findings:
            hosts.setdefault(one.versions[name], []).append(one.host)
        if len(hosts) > 1:
            found = "; ".join(f"{version} on {', '.join(sorted(set(where)))}" for version, where in hosts.items())
            wrong.append(f"{name} differs: {found}; install the same everywhere")
    if wrong:
        raise RunError("the cluster cannot run this build:\n  " + "\n  ".join(wrong))


def _use_run(errand: Errand) -> None:
    errand.run_folder.read(errand.probe)
    own = f"probe-{uuid.uuid4().hex}"
    errand.run_folder.write(own, b"")
    errand.run_folder.remove(own)


def _open_source(errand: Errand) -> None:
    """A source that is bad in itself is no fault of the node; one that only this node does not see is."""
    if errand.source is None or errand.first is None:
        return
    try:
        with errand.source.local_file(errand.first):
            pass
    except RejectItem as why:
        if why.reason in _UNSEEN:
            raise RunError(f"cannot open {errand.first.uri!r} of the input, which another node can ({why})") from why


def _see_shards(errand: Errand) -> None:
    if errand.shards is not None and not errand.shards.names(".tar"):
        raise RunError(f"sees no shards in {errand.shards.uri}, where another node does")


def _find_weights(errand: Errand) -> None:
    refuse_relative_weights(errand.weights, num_nodes=errand.num_nodes)
    refuse_missing(errand.weights)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
