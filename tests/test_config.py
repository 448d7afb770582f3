"""Settings from YAML and from the command line: strict, and clear about what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vpdata.config import ModelChoice, fill, public, read_yaml, to_plain, with_overrides
from vpdata.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    min_s: float = 1.5
    mode: Literal["fast", "exact"] = "fast"
    fps: Fraction = Fraction(24)

    def __post_init__(self) -> None:
        if self.min_s < 0:
            raise ValueError(f"min_s: got {self.min_s}, wanted 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    num: int = 3
    is_on: bool = False
    limit: float | None = None
    size: tuple[int, int] = (1, 2)
    words: tuple[str, ...] = ()
    paths: str | tuple[str, ...] | None = None
    inner: Inner = field(default_factory=Inner)
    parts: tuple[Inner, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    model: ModelChoice | None = None


@pytest.mark.parametrize(("text", "paths"), [("a", "a"), ("[a, 's3://b/c']", ("a", "s3://b/c")), ("null", None)])
def test_one_or_several_may_be_given(text, paths):
    assert fill(Outer, with_overrides({"name": "x"}, [f"paths={text}"])).paths == paths


def test_of_a_local_path_only_the_last_part_is_public():
    plain = {"weights": "/home/me/my-model", "list": ["./a/b", "~/c", "file:///home/me/d"], "none": None}
    assert public(plain) == {"weights": "my-model", "list": ["b", "c", "d"], "none": None}
    kept = {
        "hub": "org/name",
        "bucket": "s3://bucket/a",
        "url": "http://host/v1",
        "prompt": "/think\nSay more.",
        "n": 1,
    }
    assert public(kept) == kept


def test_what_is_not_given_takes_its_default():
    assert fill(Outer, {"name": "x"}) == Outer(name="x")


def test_every_kind_of_value_is_filled_in():
    data = yaml.safe_load("""
        name: x
        num: 4
        is_on: true
        limit: 2
        size: [3, 4]
        words: [a, b]
        inner: {min_s: 2, mode: exact, fps: 30000/1001}
        parts: [{min_s: 1}, {}]
        weights: {a: 1, b: 2.5}
        model: {name: other, options: {any: [1, two]}}
    """)
    assert fill(Outer, data) == Outer(
        name="x",
        num=4,
        is_on=True,
        limit=2.0,
        size=(3, 4),
        words=("a", "b"),
        inner=Inner(min_s=2.0, mode="exact", fps=Fraction(30000, 1001)),
        parts=(Inner(min_s=1.0), Inner()),
        weights={"a": 1.0, "b": 2.5},
        model=ModelChoice(name="other", options={"any": [1, "two"]}),
    )


def test_a_whole_number_given_for_a_number_becomes_one():
    assert isinstance(fill(Outer, {"name": "x", "limit": 2}).limit, float)


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.e-4", "10e-5"])
def test_number_with_an_exponent_need_have_no_point(text):
    assert fill(Outer, with_overrides({"name": "x"}, [f"limit={text}"])).limit == 1e-4


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "x", "innner": {}}, r"unknown setting innner, did you mean 'inner'\?"),
        ({"name": "x", "inner": {"mins": 1}}, r"unknown setting inner\.mins, did you mean 'min_s'\?"),
        ({"name": "x", "zzz": 1}, r"unknown setting zzz; known here: name, num"),
        ({}, "got no name"),
        ({"name": 5}, r"name: got 5 \(int\), wanted text"),
        ({"name": "x", "num": "4"}, r"num: got '4' \(str\), wanted a whole number"),
        ({"name": "x", "num": 4.0}, r"num: got 4\.0 \(float\), wanted a whole number"),
        ({"name": "x", "num": True}, r"num: got True \(bool\), wanted a whole number"),
        ({"name": "x", "limit": True}, r"limit: got True \(bool\), wanted a number"),
        ({"name": "x", "is_on": 1}, r"is_on: got 1 \(int\), wanted true or false"),
        ({"name": "x", "size": [1]}, "size: got 1 values, wanted 2"),
        ({"name": "x", "size": 1}, r"size: got 1 \(int\), wanted a list"),
        ({"name": "x", "words": "ab"}, r"words: got 'ab' \(str\), wanted a list"),
        ({"name": "x", "words": ["a", 1]}, r"words\[1\]: got 1 \(int\), wanted text"),
        ({"name": "x", "paths": 1}, r"paths: got 1 \(int\), wanted text"),
        ({"name": "x", "paths": ["a", 1]}, r"paths\[1\]: got 1 \(int\), wanted text"),
        ({"name": "x", "inner": None}, r"inner: got None \(NoneType\), wanted a mapping"),
        (
            {"name": "x", "inner": {"mode": "exakt"}},
            r"inner\.mode: got 'exakt' .*wanted one of 'fast', 'exact', did you",
        ),
        ({"name": "x", "inner": {"fps": "24/0"}}, r"inner\.fps: got '24/0' .*wanted a fraction"),
        ({"name": "x", "inner": {"min_s": -1}}, r"inner: min_s: got -1\.0, wanted 0 or more"),
        ({"name": "x", "parts": [{}, {"min_s": -1}]}, r"parts\[1\]: min_s"),
        ({"name": "x", "weights": {"a": "b"}}, r"weights\.a: got 'b'"),
        ({"name": "x", "model": "other"}, r"model: got 'other' \(str\), wanted a mapping with the keys of ModelChoice"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_got_and_wanted(data, message):
    with pytest.raises(ConfigError, match=message):
        fill(Outer, data)


inners = st.builds(
    Inner,
    min_s=st.floats(0, 1e6),
    mode=st.sampled_from(["fast", "exact"]),
    fps=st.fractions(0, 240, max_denominator=1001),
)
outers = st.builds(
    Outer,
    name=st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    num=st.integers(),
    limit=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    words=st.lists(st.sampled_from(["a", "yes", "1", "null", ""])).map(tuple),
    paths=st.none() | st.text("ab") | st.lists(st.text("ab")).map(tuple),
    inner=inners,
    parts=st.lists(inners, max_size=3).map(tuple),
)


@given(outers)
def test_plain_settings_written_as_yaml_fill_to_the_same(settings):
    written = yaml.safe_dump(to_plain(settings), sort_keys=False, allow_unicode=True)
    assert fill(Outer, yaml.safe_load(written)) == settings


def test_overrides_are_read_as_yaml_and_leave_the_original_alone():
    data = {"inner": {"min_s": 1, "mode": "fast"}, "num": 1}
    overrides = ["inner.min_s=2.5", "num=4", "words=[a, b]", "limit=null", "name=a=b", "model.options.k=v"]
    assert with_overrides(data, overrides) == {
        "inner": {"min_s": 2.5, "mode": "fast"},
        "num": 4,
        "words": ["a", "b"],
        "limit": None,
        "name": "a=b",
        "model": {"options": {"k": "v"}},
    }
    assert data == {"inner": {"min_s": 1, "mode": "fast"}, "num": 1}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("inner.min_s", r"wanted dotted\.key=value"),
        ("=4", r"wanted dotted\.key=value"),
        ("num=[1", "not valid YAML"),
        ("num.deep=1", "'num' holds 1, not a group"),
    ],
)
def test_a_malformed_override_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        with_overrides({"num": 1}, [override])


def test_a_yaml_file_is_read_and_an_empty_one_has_no_settings(tmp_path):
    (tmp_path / "a.yaml").write_text("inner: {min_s: 2}\n")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "a.yaml") == {"inner": {"min_s": 2}}
    assert read_yaml(tmp_path / "empty.yaml") == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1\n", "a.yaml is not valid YAML"),
        (b"- 1\n", "got a list, wanted a mapping"),
        (b"\xff\xfe\x00", "a.yaml is not valid YAML"),
        (b"a: !!python/object/apply:os.getcwd []\n", "a.yaml is not valid YAML"),
        (b"cut:\n  min_s: 1\n  max_s: 2\n  min_s: 3\n", "'min_s' is given twice"),
    ],
)
def test_a_broken_yaml_file_is_named(tmp_path, content, message):
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_yaml(tmp_path / "a.yaml")


def test_a_missing_yaml_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the config .*none\.yaml: No such file"):
        read_yaml(tmp_path / "none.yaml")
