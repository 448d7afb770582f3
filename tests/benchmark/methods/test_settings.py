"""The YAML file of methods."""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark.methods.kinds import MODULES, kind_of
from benchmark.methods.settings import MethodSettings, read_methods
from vpdata.errors import ConfigError

ROOT = Path(__file__).parents[3]


def write(folder: Path, text: str) -> Path:
    path = folder / "methods.yaml"
    path.write_text(text)
    return path


def test_methods_come_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "a: {kind: copy}\nb: {kind: opencv, options: {radius_px: 5}}\nc: {kind: flow, cpus: 2}\n")
    assert list(read_methods(path)) == ["a", "b", "c"]
    methods = read_methods(path, ["c", "b"], overrides=["b.dilate_px=8", "b.options.algorithm=navier-stokes"])
    assert list(methods) == ["c", "b"]
    assert methods["c"] == MethodSettings(kind="flow", cpus=2.0)
    options = {"radius_px": 5, "algorithm": "navier-stokes"}
    assert methods["b"] == MethodSettings(kind="opencv", options=options, dilate_px=8)


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        ("a: {kind: copy}\na: {kind: flow}", None, "'a' is given twice"),
        ("a: {kind: copy}", ["a", "a"], "the method a twice"),
        ("a: {kind: copy}", [], "got no method, wanted some of .*, which has a"),
        ("", None, "got no method"),
        ("telea: {kind: copy}", ["tela"], "no method 'tela', did you mean 'telea'"),
        ("A: {kind: copy}", None, "got the name 'A'"),
        ("a/b: {kind: copy}", None, "got the name 'a/b'"),
        ("a: {kind: opncv}", None, "got the kind 'opncv', wanted .*did you mean 'opencv'"),
        ("a: {kind: opencv, options: {radius: 3}}", None, "a: unknown setting options.radius"),
        ("a: {kind: opencv, options: {radius_px: 0}}", None, "radius_px 0"),
        ("a: {kind: copy, worker: 3}", None, "unknown setting .*worker, did you mean 'workers'"),
        ("a: {kind: copy, workers: 0}", None, "wanted 1 worker or more"),
        ("a: copy", None, "wanted a mapping"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, names: list[str] | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_methods(write(tmp_path, text), names)


def test_every_built_in_kind_is_in_the_demo_and_every_kind_opens() -> None:
    pytest.importorskip("diffusers")
    methods = read_methods(ROOT / "configs" / "methods_demo.yaml")
    assert {settings.kind for settings in methods.values()} == set(MODULES) - {"command", "folder"}
    for name in MODULES:
        assert is_dataclass(kind_of(name).settings)


def test_methods_with_a_painted_first_frame_are_those_of_the_true_one_in_all_else() -> None:
    pytest.importorskip("diffusers")
    methods = read_methods(ROOT / "configs" / "methods.yaml")
    # What is given the true first frame fails on edits, and so has a variant that does not.
    given = [name for name, settings in methods.items() if settings.give_first_frame]
    assert given == ["backbone", "ours", "ours-id"]
    for name in given:
        settings = methods[f"{name}-painted"]
        assert not settings.give_first_frame
        assert settings.filled_options().first_frame.guidance == 30
        options = {key: value for key, value in settings.options.items() if key != "first_frame"}
        assert replace(settings, options=options, give_first_frame=True) == methods[name]


I2V = {"backbone": {"tiny": "wan-i2v", "device": "cpu", "dtype": "float32"}}
PAINTER = {"first_frame": {"weights": "lab/fill"}}
PROGRAM = {"command": ["program", "{frames}", "{masks}", "{output}"]}


@pytest.mark.parametrize(
    ("kind", "options", "can_edit"),
    [
        ("backbone", I2V, False),
        ("backbone", I2V | PAINTER, True),
        ("backbone", {"backbone": I2V["backbone"] | {"tiny": "wan"}}, True),
        ("vpdata", {**I2V, "context_encoder": "mine"}, False),
        ("vpdata", {**I2V, **PAINTER, "context_encoder": "mine"}, True),
        ("command", PROGRAM, False),
    ],
)
def test_what_needs_a_true_first_frame_cannot_edit(kind: str, options: dict[str, Any], can_edit: bool) -> None:
    pytest.importorskip("diffusers")
    assert MethodSettings(kind=kind, options=options, give_first_frame=True).can_edit is can_edit
    assert MethodSettings(kind=kind, options=options).can_edit


def test_nothing_is_claimed_of_edits_that_were_made_elsewhere() -> None:
    given = {kind: MethodSettings(kind=kind, give_first_frame=True).given_version for kind in ("copy", "folder")}
    assert given == {"copy": 2, "folder": 1}


def test_the_config_of_real_models_is_read() -> None:
    pytest.importorskip("diffusers")
    methods = read_methods(ROOT / "configs" / "methods.yaml")
    assert {"ours", "ours-id", "backbone", "wan-vace"} <= set(methods)
    assert all(settings.gpus for settings in methods.values() if settings.kind in ("vpdata", "backbone", "wan_vace"))


def test_trained_parts_are_looked_for_where_the_trainings_leave_them() -> None:
    left = {
        stage: f"{yaml.safe_load((ROOT / 'configs/train' / f'{stage}.yaml').read_text())['output']}/{stage}"
        for stage in ("context_encoder", "id_adapter")
    }
    methods = read_methods(ROOT / "configs" / "methods.yaml")
    wanted = {one.options[stage] for one in methods.values() for stage in left if stage in one.options}
    assert wanted == set(left.values())
