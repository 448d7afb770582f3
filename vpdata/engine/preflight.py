"""What every node of a cluster must prove before a build starts. Runs as a Ray task; imports no ray."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import vpdata
from vpdata.engine.local import gpus_here
from vpdata.errors import ConfigError, RejectItem, RunError, VpdataError
from vpdata.records import Source
from vpdata.sources import Input
from vpdata.storage import Folder

_PACKAGES = ("torch", "av", "opencv-python-headless", "numpy", "pyarrow")
"""Whose version can change a result."""
RAY_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the driver of a submitted job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What a node is asked to do."""

    run: Folder
    probe: str
    """A file in the run that the driver has written."""
    source: Input
    first: Source | None
    """A source that the driver could open; None where opening one would download it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a node answers."""

    host: str
    versions: dict[str, str]
    gpu_memory_gb: float
    faults: tuple[str, ...]


def visit(errand: Errand) -> Findings:
    """Look at this node: versions, GPUs, and whether it can reach the run and a source."""
    faults = []
    try:
        errand.run.read(errand.probe)
        own = f"probe-{uuid.uuid4().hex}"
        errand.run.write(own, b"")
        errand.run.remove(own)
        if errand.first is not None:
            with errand.source.local_file(errand.first):
                pass
    except VpdataError as error:
        faults.append(str(error))
    versions = {"vpdata": vpdata.__version__, "python": platform.python_version()}
    versions |= {name: _version(name) for name in _PACKAGES}
    return Findings(host=socket.gethostname(), versions=versions, gpu_memory_gb=gpus_here()[1], faults=tuple(faults))


def make_errand(run: Folder, source: Input, first: Source | None) -> Errand:
    """What the other nodes must be able to do, tried here first."""
    if first is not None:
        try:
            if "://" in first.uri:
                first = None
            else:
                with source.local_file(first):
                    pass
        except RejectItem:
            first = None
    return Errand(run=run, probe=f"probe-{uuid.uuid4().hex}", source=source, first=first)


def refuse_relative(uri: str, *, num_nodes: int) -> None:
    """ConfigError for a relative path where the machines that read it may have other working folders."""
    if "://" in uri or os.path.isabs(uri):
        return
    where = "inside a Ray job" if RAY_JOB_VARIABLE in os.environ else f"on {num_nodes} nodes"
    if RAY_JOB_VARIABLE in os.environ or num_nodes > 1:
        raise ConfigError(
            f"got the relative path {uri!r} {where}, wanted an absolute path on storage that all nodes share, or a uri "
            f"such as s3://bucket/{uri}"
        )


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


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
