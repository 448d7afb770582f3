"""The one codec of records: to and from JSON and Arrow.

Both forms have the same field names and nesting. A `Fraction` is the string "24000/1001"; an enum is its value.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Iterator
from enum import Enum
from fractions import Fraction
from functools import cache
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

T = TypeVar("T")


def to_json(value: object) -> bytes:
    """UTF-8 JSON in field order: equal values give equal bytes."""
    return msgspec.json.encode(value, enc_hook=_encode_extra)


def from_json(data: bytes, kind: type[T]) -> T:
    """Inverse of `to_json`; raises msgspec.ValidationError where the data does not fit `kind`."""
    return msgspec.json.decode(data, type=kind, dec_hook=_decode_extra)


def to_builtins(value: object) -> Any:
    """Dicts, lists, strings and numbers of the same shape as the JSON."""
    return msgspec.to_builtins(value, enc_hook=_encode_extra)


def from_builtins(value: object, kind: type[T]) -> T:
    """Inverse of `to_builtins`."""
    return msgspec.convert(value, type=kind, dec_hook=_decode_extra)


def to_table(rows: Iterable[object], kind: type) -> pa.Table:
    """An Arrow table with one row per dataclass instance of `kind`."""
    return pa.Table.from_pylist([to_builtins(row) for row in rows], schema=schema_of(kind))


def from_table(table: pa.Table, kind: type[T]) -> Iterator[T]:
    """Inverse of `to_table`; converts batch by batch, so a large table is never a list of dicts at once."""
    for batch in table.to_batches(max_chunksize=256):
        for row in batch.to_pylist():
            yield from_builtins(row, kind)


@cache
def schema_of(kind: type) -> pa.Schema:
    """The Arrow schema of a dataclass; a field that is not `X | None` is not nullable."""
    return pa.schema(_fields_of(kind))


def _fields_of(kind: type) -> list[pa.Field]:
    hints = typing.get_type_hints(kind)
    return [_field(field.name, hints[field.name]) for field in dataclasses.fields(kind)]


def _field(name: str, hint: Any) -> pa.Field:
    inner = _without_none(hint)
    return pa.field(name, _arrow_type(inner), nullable=inner is not hint)


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        others = [arm for arm in typing.get_args(hint) if arm is not type(None)]
        assert len(others) == 1, f"a record field is one type or None, got {hint}"
        return others[0]
    return hint


def _arrow_type(hint: Any) -> pa.DataType:
    simple = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_(), Fraction: pa.string()}
    if hint in simple:
        return simple[hint]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal or (isinstance(hint, type) and issubclass(hint, Enum)):
        return pa.string()
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return pa.list_(_field("item", args[0]))
    if origin is tuple and len(set(args)) == 1:
        return pa.list_(_field("item", args[0]), len(args))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return pa.struct(_fields_of(hint))
    raise TypeError(f"no Arrow type for {hint!r}")


def _encode_extra(value: object) -> object:
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, np.number):
        # What models give is often of numpy.
        return value.item()
    raise TypeError(f"cannot encode {type(value).__name__}")


def _decode_extra(kind: type, value: object) -> object:
    if kind is Fraction and isinstance(value, str):
        try:
            return Fraction(value)
        except ZeroDivisionError as error:
            raise ValueError(f"got the fraction {value}, wanted one with another denominator than 0") from error
    raise TypeError(f"cannot decode {kind.__name__}")
