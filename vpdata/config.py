"""YAML to typed settings, strictly: an unknown key or a wrong type is an error that says where and what was meant.

Every settings class is a frozen dataclass that lives beside the code it configures; this module only fills them.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

import yaml

from vpdata.errors import ConfigError

T = TypeVar("T")
_EXPONENT = re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+")
"""A number such as 1e-4, which YAML 1.1 takes for text unless it has a point and a sign."""
_PATH_STARTS = ("/", "./", "../", "~", "file:", "local:")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """A model named in a config: one entry of `vpdata.models`, with its own options."""

    name: str
    """As in `docs/models.md`, or `package.module:SettingsClass` of one's own."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Checked against the model's own settings when it is described or loaded."""


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; ConfigError names the file and the line that is wrong."""
    try:
        data = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ConfigError(f"cannot read the config {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: got a {type(data).__name__}, wanted a mapping of settings")
    return data


def with_overrides(data: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of `data` with each `dotted.key=value` set; values are read as YAML ("4" is a number, "[a, b]" a list)."""
    merged = _deep_copy(data)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"got --set {override!r}, wanted dotted.key=value such as track.max_objects=4")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {override!r}: the value is not valid YAML: {error}") from error
        *parents, leaf = key.strip().split(".")
        node = merged
        for parent in parents:
            child = node.setdefault(parent, {})
            if not isinstance(child, dict):
                raise ConfigError(f"--set {override!r}: {parent!r} holds {child!r}, not a group of settings")
            node = child
        node[leaf] = value
    return merged


def fill(kind: type[T], data: Mapping[str, Any], *, where: str = "") -> T:
    """An instance of the dataclass `kind` from plain data; missing keys take the field's default."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where or 'config'}: got {_show(data)}, wanted a mapping with the keys of {kind.__name__}")
    fields = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    for key in data:
        if key not in fields:
            raise ConfigError(_unknown_key(_join(where, str(key)), str(key), fields))
    missing = [name for name, item in fields.items() if name not in data and _has_no_default(item)]
    if missing:
        raise ConfigError(f"{where or 'config'}: got no {', '.join(missing)}; wanted a value for each")
    values = {key: _convert(hints[key], value, _join(where, key)) for key, value in data.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise ConfigError(f"{where or 'config'}: {error}") from error


def to_plain(settings: object) -> Any:
    """Inverse of `fill`: plain data for `run.yaml` and for fingerprints."""
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        return {item.name: to_plain(getattr(settings, item.name)) for item in dataclasses.fields(settings)}
    if isinstance(settings, Mapping):
        return {str(key): to_plain(value) for key, value in settings.items()}
    if isinstance(settings, (list, tuple)):
        return [to_plain(value) for value in settings]
    if isinstance(settings, Fraction):
        return f"{settings.numerator}/{settings.denominator}"
    return settings


def public(plain: Any) -> Any:
    """Plain data as a run may hold it: of each local path only its last part, since the rest may name a user's home."""
    if isinstance(plain, Mapping):
        return {key: public(value) for key, value in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [public(value) for value in plain]
    if isinstance(plain, str) and plain.startswith(_PATH_STARTS) and "\n" not in plain:
        return PurePosixPath(plain).name or "local"
    return plain


def nearest(name: str, known: Iterable[str]) -> str:
    """ ", did you mean 'x'?" or nothing: the tail of a message about an unknown name."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice, of which YAML's own loader silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        arms = [arm for arm in args if arm is not type(None)]
        is_list = isinstance(value, (list, tuple))  # "one or several" is the only choice between two types
        (inner,) = [arm for arm in arms if (typing.get_origin(arm) is tuple) == is_list] or arms
        return _convert(inner, value, where)
    if origin is Literal:
        if value not in args:
            tail = nearest(str(value), map(str, args))
            raise ConfigError(f"{where}: got {_show(value)}, wanted one of {', '.join(map(repr, args))}{tail}")
        return value
    if origin is tuple:
        return _convert_tuple(args, value, where)
    if origin in (dict, Mapping) or origin is typing.get_origin(Mapping[str, Any]):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: got {_show(value)}, wanted a mapping")
        return {str(key): _convert(args[1], item, _join(where, str(key))) for key, item in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return fill(hint, value, where=where)
    return _convert_scalar(hint, value, where)


def _convert_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where}: got {_show(value)}, wanted a list")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_convert(args[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if len(value) != len(args):
        raise ConfigError(f"{where}: got {len(value)} values, wanted {len(args)}")
    pairs = zip(args, value, strict=True)
    return tuple(_convert(kind, item, f"{where}[{index}]") for index, (kind, item) in enumerate(pairs))


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    if hint is Fraction and isinstance(value, (str, int)) and not isinstance(value, bool):
        try:
            return Fraction(value)
        except (ValueError, ZeroDivisionError) as error:
            raise ConfigError(f"{where}: got {_show(value)}, wanted a fraction such as 24000/1001") from error
    if isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    raise ConfigError(f"{where}: got {_show(value)}, wanted {names.get(hint, hint.__name__)}")


def _unknown_key(where: str, key: str, known: Iterable[str]) -> str:
    known = list(known)
    return f"unknown setting {where}{nearest(key, known) or '; known here: ' + ', '.join(known)}"


def _has_no_default(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _show(value: object) -> str:
    return f"{value!r} ({type(value).__name__})"


def _deep_copy(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _deep_copy(value) if isinstance(value, Mapping) else value for key, value in data.items()}
