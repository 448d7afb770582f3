"""What nodes must prove, and which paths they can share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.builds import NAMES, write_sources
from vpdata.engine import preflight
from vpdata.errors import ConfigError, RunError
from vpdata.sources import Input, SourceSettings
from vpdata.storage import Folder


def test_a_relative_path_is_refused_inside_a_ray_job_and_on_many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    preflight.refuse_relative("runs/mine", num_nodes=1)
    with pytest.raises(ConfigError, match=r"relative path 'runs/mine' on 2 nodes, wanted an absolute path"):
        preflight.refuse_relative("runs/mine", num_nodes=2)
    monkeypatch.setenv(preflight.RAY_JOB_VARIABLE, "{}")
    with pytest.raises(ConfigError, match="inside a Ray job"):
        preflight.refuse_relative("runs/mine", num_nodes=1)
    preflight.refuse_relative("/shared/runs/mine", num_nodes=2)
    preflight.refuse_relative("s3://bucket/mine", num_nodes=2)


def test_a_node_that_cannot_reach_the_run_or_a_source_says_so(tmp_path: Path) -> None:
    source = Input(str(write_sources(tmp_path / "sources", ["1"])), SourceSettings())
    errand = preflight.make_errand(Folder(tmp_path / "run"), source, source.sources()[0])
    assert "probe" in preflight.visit(errand).faults[0]
    errand.run.write(errand.probe, b"")
    assert preflight.visit(errand).faults == ()
    (tmp_path / "sources" / NAMES[0]).unlink()
    (fault,) = preflight.visit(errand).faults
    assert "source_gone" in fault


def test_different_versions_are_refused_by_name_and_host() -> None:
    same = {"vpdata": "1", "av": "18.0"}
    findings = [
        preflight.Findings(host="a", versions=same, gpu_memory_gb=0, faults=()),
        preflight.Findings(host="b", versions=same, gpu_memory_gb=0, faults=()),
    ]
    preflight.refuse_differences(findings)
    other = preflight.Findings(host="c", versions=same | {"av": "17.0"}, gpu_memory_gb=0, faults=("no disk",))
    with pytest.raises(RunError, match=r"(?s)c: no disk.*av differs: 18\.0 on a, b; 17\.0 on c"):
        preflight.refuse_differences([*findings, other])
