"""Write `docs/settings.md`: every setting with its default and meaning, from the settings classes themselves.

`python -m tools.settings_page [FILE]`; a test holds that the page is what this writes.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
import typing
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from benchmark.methods.kinds import MODULES, kind_of
from benchmark.methods.settings import MethodSettings
from benchmark.metrics.settings import ScoreSettings
from benchmark.split.settings import BenchSettings
from vpdata.app.limits import AppSettings
from vpdata.build import BuildConfig
from vpdata.config import ModelChoice, to_plain
from vpdata.encode import EncodeConfig
from vpdata.inpaint.settings import InpaintSettings
from vpdata.models import MODELS
from vpdata.stages.rule_table import RULES
from vpdata.train.settings import TrainSettings

PAGE = Path(__file__).resolve().parents[1] / "docs/settings.md"
_HEAD = """# Settings

Every key that a config or `--set` takes, made by `python -m tools.settings_page` from the classes that hold them. A key
inside a group is written with points: `--set cut.min_s=2`. For a group stands what its place changes of the defaults in
its own table."""
_FILES: tuple[tuple[str, type], ...] = (
    ("`vpdata build`", BuildConfig),
    ("`vpdata encode`", EncodeConfig),
    ("`vpdata train`", TrainSettings),
    ("`vpdata inpaint`", InpaintSettings),
    ("`vpdata app`: those of `vpdata inpaint`, and under `app`", AppSettings),
    ("`python -m benchmark make`", BenchSettings),
    ("`python -m benchmark run`: each method", MethodSettings),
    ("`python -m benchmark score`", ScoreSettings),
)


class _Told:
    """Which classes have their table on the page, and what each is called there: two may have one name."""

    def __init__(self) -> None:
        self.shown: set[type] = set()
        self._titles: dict[type, str] = {}

    def title(self, kind: type) -> str:
        if kind not in self._titles:
            is_taken = kind.__name__ in self._titles.values()
            self._titles[kind] = f"{kind.__name__} of {kind.__module__}" if is_taken else kind.__name__
        return self._titles[kind]

    def link(self, kind: type) -> str:
        title = self.title(kind)
        anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        return f"[{title}](#{anchor})"


def page() -> str:
    """The whole page."""
    told = _Told()
    parts = [_HEAD]
    for title, kind in _FILES:
        parts += [f"## {title}", *_sections(kind, told)]
    parts += ["## The rules of `filter.rules`", _rules(), "## Options of models", *_options_of_models(told)]
    parts += ["## Options of methods", *_options_of_methods(told)]
    return "\n\n".join(parts) + "\n"


def _sections(kind: type, told: _Told) -> Iterator[str]:
    """The table of a class, then of each class that its keys are of; none twice on the page."""
    if kind in told.shown:
        return
    told.shown.add(kind)
    yield f"### {told.title(kind)}"
    yield _first_paragraph(inspect.getdoc(kind) or "")
    rows = list(_rows(kind, told))
    yield "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *rows]) if rows else "None."
    for hint in typing.get_type_hints(kind).values():
        for inner in _classes_in(hint):
            yield from _sections(inner, told)


def _rows(kind: type, told: _Told) -> Iterator[str]:
    hints, meanings = typing.get_type_hints(kind), _meanings(kind)
    for item in dataclasses.fields(kind):
        inner = [told.link(one) for one in _classes_in(hints[item.name])]
        meaning = " ".join(filter(None, (meanings.get(item.name, ""), _choices(hints[item.name]), *inner)))
        yield f"| `{item.name}` | {_default(item)} | {_cell(meaning)} |"


def _classes_in(hint: Any) -> Iterator[type]:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        yield hint
    for inner in typing.get_args(hint):
        yield from _classes_in(inner)


def _choices(hint: Any) -> str:
    """What a `Literal` may be."""
    if typing.get_origin(hint) is typing.Literal:
        return f"One of {', '.join(f'`{one}`' for one in typing.get_args(hint))}."
    return " ".join(filter(None, map(_choices, typing.get_args(hint))))


def _default(item: dataclasses.Field[Any]) -> str:
    if item.default_factory is not dataclasses.MISSING:
        value = item.default_factory()
    elif item.default is not dataclasses.MISSING:
        value = item.default
    else:
        return "must be given"
    if dataclasses.is_dataclass(value) and not isinstance(value, (ModelChoice, type)):
        own = _own_defaults(type(value))
        plain = {name: one for name, one in to_plain(value).items() if name not in own or own[name] != one}
        return _yaml(plain) if plain else ""
    return _yaml(to_plain(value))


def _own_defaults(kind: type) -> dict[str, Any]:
    """Of a group, without the keys that must be given."""
    fields = dataclasses.fields(kind)
    made = {one.name: one.default_factory() for one in fields if one.default_factory is not dataclasses.MISSING}
    given = {one.name: one.default for one in fields if one.default is not dataclasses.MISSING}
    return {name: to_plain(value) for name, value in (made | given).items()}


def _yaml(plain: Any) -> str:
    text = yaml.safe_dump(plain, default_flow_style=True, width=10_000, sort_keys=False)
    return f"`{_cell(text.strip().removesuffix('...'))}`"


def _meanings(kind: type) -> dict[str, str]:
    """Field to the string below it, also of the classes that this one extends."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if dataclasses.is_dataclass(one):
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
            assert isinstance(tree, ast.ClassDef)
            found |= dict(_described(tree.body))
    return found


def _described(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, text


def _rules() -> str:
    rows = [f"| `{rule.name}` | {rule.measure} | {rule.default} | {rule.after} | {_cell(rule.why)} |" for rule in RULES]
    return "\n".join(["| rule | measure | default | known after | why |", "| --- | --- | --- | --- | --- |", *rows])


def _options_of_models(told: _Told) -> Iterator[str]:
    lines, sections = [], []
    for role, entries in MODELS.items():
        for name, entry in entries.items():
            module, _, class_name = entry.settings.partition(":")
            kind = getattr(import_module(f"vpdata.models.{module}"), class_name)
            lines.append(f"| {role} | `{name}` | {told.link(kind)} |")
            sections += _sections(kind, told)
    yield "\n".join(["| role | name | options |", "| --- | --- | --- |", *lines])
    yield from sections


def _options_of_methods(told: _Told) -> Iterator[str]:
    kinds = {name: kind_of(name).settings for name in MODULES}
    lines = [f"| `{name}` | {told.link(kind)} |" for name, kind in kinds.items()]
    yield "\n".join(["| kind | options |", "| --- | --- |", *lines])
    for kind in kinds.values():
        yield from _sections(kind, told)


def _first_paragraph(text: str) -> str:
    return _cell(text.partition("\n\n")[0])


def _cell(text: str) -> str:
    """On one line, with nothing that ends a cell."""
    return re.sub(r"(?<!\\)\|", r"\|", " ".join(text.split()))


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    target.write_text(page(), encoding="utf-8")
