"""What nodes must prove, and which paths they can share."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from tests.engine.builds import NAMES, build, write_sources
from vpdata.engine import preflight
from vpdata.errors import BackendError, ConfigError, RunError
from vpdata.models.weights import Lock, write_lock
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
    source = Input(str(write_sources(tmp_path / "sources", ["1", "1"])), SourceSettings())
    first = source.sources()[0]
    errand = preflight.make_errand(Folder(tmp_path / "run"), source, first)
    assert "probe" in preflight.visit(errand).faults[0]
    errand.run_folder.write(errand.probe, b"")
    assert preflight.visit(errand).faults == ()
    (tmp_path / "sources" / first.uri).unlink()
    (fault,) = preflight.visit(errand).faults
    assert "source_gone" in fault


def test_a_run_whose_sources_are_cut_may_go_on_without_its_input(tmp_path: Path) -> None:
    folder = write_sources(tmp_path / "sources", ["1"])
    source = Input(str(folder), SourceSettings())
    (first,) = source.sources()
    folder.rename(tmp_path / "elsewhere")
    assert preflight.make_errand(Folder(tmp_path / "run"), source, first).first is None


def test_a_source_that_is_bad_in_itself_is_no_fault_of_a_node(tmp_path: Path) -> None:
    folder = write_sources(tmp_path / "sources", ["1"])
    source = Input(str(folder), SourceSettings(max_bytes=100))
    errand = preflight.make_errand(Folder(tmp_path / "run"), source, source.sources()[0])
    errand.run_folder.write(errand.probe, b"")
    (folder / NAMES[0]).write_bytes(bytes(101))
    assert preflight.visit(errand).faults == ()


def test_a_node_without_the_weights_names_the_command_that_fetches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VPDATA_WEIGHTS", str(tmp_path / "weights"))
    errand = preflight.Errand(
        run_folder=Folder(tmp_path / "run"),
        probe="probe",
        source=Input(str(write_sources(tmp_path / "sources", ["1"])), SourceSettings()),
        first=None,
        weights=[("some-lab/detector", "abc"), ("raft-large", None)],
    )
    errand.run_folder.write(errand.probe, b"")
    (fault,) = preflight.visit(errand).faults
    assert f"vpdata models fetch some-lab/detector@abc raft-large --to {tmp_path / 'weights'}" in fault
    for name in ("some-lab/detector", "raft-large"):
        write_lock(Folder(tmp_path / "weights" / name), Lock(source=name, revision="abc", files={}))
    assert preflight.visit(errand).faults == ()


@pytest.mark.parametrize("weights", ["./mine", "../mine", "some-lab/detector"])
def test_a_relative_place_of_weights_is_refused_on_many_nodes_and_in_a_ray_job(
    weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VPDATA_WEIGHTS", "mine")
    wanted = [(weights, None)]
    preflight.refuse_relative_weights(wanted, num_nodes=1)
    with pytest.raises(ConfigError, match=r"relative path '\S*mine' on 2 nodes, wanted an absolute path .*bucket/mine"):
        preflight.refuse_relative_weights(wanted, num_nodes=2)
    monkeypatch.setenv(preflight.RAY_JOB_VARIABLE, "{}")
    with pytest.raises(ConfigError, match="inside a Ray job"):
        preflight.refuse_relative_weights(wanted, num_nodes=1)
    monkeypatch.setenv("VPDATA_WEIGHTS", "s3://bucket/mine")
    preflight.refuse_relative_weights([("some-lab/detector", None), ("/shared/mine", None)], num_nodes=2)


@pytest.mark.parametrize("kind", ["local", "ray"])
def test_missing_weights_stop_a_build_before_it_writes_anything(
    kind: Literal["local", "ray"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VPDATA_WEIGHTS", raising=False)
    sources = write_sources(tmp_path / "sources", ["1"])
    with pytest.raises(BackendError, match=r"VPDATA_WEIGHTS is not set(.|\n)*vpdata models fetch some-lab/detector"):
        build(sources, tmp_path / "run", kind=kind, weights=[("some-lab/detector", None)])
    assert not (tmp_path / "run").exists()


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
