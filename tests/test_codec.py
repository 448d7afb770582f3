"""Records to JSON and Arrow and back."""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum
from fractions import Fraction

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.records import make_record
from vpdata import codec
from vpdata.errors import Reason
from vpdata.records import Detection, Record, Reject, Source, Verdict, Video

VIDEO = Video(
    id="v",
    uri='ü "x".mp4',
    size_bytes=5_000_000_000,
    width_px=1280,
    height_px=720,
    fps=Fraction(24000, 1001),
    num_frames=240,
    duration_s=10.01,
    codec="h264",
    content_hash="00",
)


def values_of(hint) -> st.SearchStrategy:
    """Any value of a field's type, drawn from its annotation alone."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(st.none() if arm is type(None) else values_of(arm) for arm in args))
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin is tuple and args[-1] is Ellipsis:
        return st.lists(values_of(args[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values_of, args))
    if dataclasses.is_dataclass(hint):
        return st.builds(hint, **{name: values_of(kind) for name, kind in typing.get_type_hints(hint).items()})
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    plain = {
        str: st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        Fraction: st.fractions(),
    }
    return plain[hint]


def round_trips(rows, kind) -> None:
    assert [codec.from_json(codec.to_json(row), kind) for row in rows] == rows
    sink = pa.BufferOutputStream()
    pq.write_table(codec.to_table(rows, kind), sink)
    assert list(codec.from_table(pq.read_table(sink.getvalue()), kind)) == rows


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(values_of(Record), max_size=2))
def test_every_record_comes_back_from_json_and_parquet_as_it_was(records):
    round_trips(records, Record)


@settings(max_examples=40, deadline=None)
@given(st.lists(values_of(Reject), max_size=3), st.lists(values_of(Source), max_size=3))
def test_every_reject_and_source_comes_back_as_it_was(rejects, sources):
    round_trips(rejects, Reject)
    round_trips(sources, Source)


def test_the_json_has_the_fields_in_their_order_and_fractions_as_text():
    assert codec.to_json(VIDEO).decode() == (
        '{"id":"v","uri":"ü \\"x\\".mp4","size_bytes":5000000000,"width_px":1280,"height_px":720,"fps":"24000/1001",'
        '"num_frames":240,"duration_s":10.01,"codec":"h264","content_hash":"00","licence":null,"attribution":null,'
        '"caption":null}'
    )
    assert (
        codec.to_json(Verdict(keep=False, reason=Reason.HDR)) == b'{"keep":false,"reason":"hdr","got":"","wanted":""}'
    )


def test_the_arrow_schema_has_the_same_names_and_says_what_may_be_missing():
    schema = codec.schema_of(Video)
    assert schema.names[:3] == ["id", "uri", "size_bytes"]
    assert schema.field("size_bytes") == pa.field("size_bytes", pa.int64(), nullable=False)
    assert schema.field("fps") == pa.field("fps", pa.string(), nullable=False)
    assert schema.field("licence") == pa.field("licence", pa.string(), nullable=True)
    box = pa.list_(pa.field("item", pa.float64(), nullable=False), 4)
    assert codec.schema_of(Detection).field("box") == pa.field("box", box, nullable=False)
    assert codec.schema_of(Record).field("detections").nullable


def test_not_run_and_found_nothing_stay_apart():
    not_run = dataclasses.replace(make_record(), detections=None, tracks=None, captions=None)
    found_nothing = dataclasses.replace(make_record(), detections=(), tracks=(), captions=())
    rows = list(codec.from_table(codec.to_table([not_run, found_nothing], Record), Record))
    assert [row.tracks for row in rows] == [None, ()]
    assert codec.to_table([], Record).schema == codec.schema_of(Record)


def test_many_rows_come_back_in_order():
    rows = [Source(id=f"s{number}", uri=f"{number}.mp4") for number in range(1000)]
    assert list(codec.from_table(codec.to_table(rows, Source), Source)) == rows


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("fps", '"1/0"'),
        ("fps", '"fast"'),
        ("fps", "24"),
        ("num_frames", '"240"'),
        ("num_frames", "null"),
        ("uri", "5"),
    ],
)
def test_json_that_does_not_fit_is_refused(field, text):
    data = msgspec.json.decode(codec.to_json(VIDEO)) | {field: msgspec.json.decode(text)}
    with pytest.raises(msgspec.ValidationError, match=field):
        codec.from_json(msgspec.json.encode(data), Video)


def test_a_type_without_an_arrow_form_is_refused():
    @dataclasses.dataclass
    class Odd:
        value: complex

    with pytest.raises(TypeError, match="complex"):
        codec.schema_of(Odd)
