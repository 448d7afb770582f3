"""CSV and Parquet source lists."""

from __future__ import annotations

import datetime
import io
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vpdata.errors import ConfigError
from vpdata.records import clip_id, is_valid_id
from vpdata.sources import lists
from vpdata.sources.lists import ListRow


def read_list(data: bytes, *, name: str) -> list[ListRow]:
    return list(lists.read_list(io.BytesIO(data), name=name))


def parquet(**columns) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def test_a_csv_list_gives_its_rows_in_order_with_empty_cells_as_none():
    text = '\ufeffid,uri, licence ,caption\r\na-1,"x, y.mp4",CC0,"He said ""hi"".\nTwice."\r\n\r\n,z.mp4,,\r\n'
    assert read_list(text.encode(), name="list.csv") == [
        ListRow(number=1, uri="x, y.mp4", id="a-1", licence="CC0", caption='He said "hi".\nTwice.'),
        ListRow(number=2, uri="z.mp4"),
    ]


def test_a_parquet_list_gives_the_same_rows_as_a_csv_list():
    as_parquet = read_list(parquet(uri=["a.mp4", "b.mp4"], id=[17, None], attribution=["Ann", "Bob"]), name="l.parquet")
    as_csv = read_list(b"uri,id,attribution\na.mp4,17,Ann\nb.mp4,,Bob\n", name="l.csv")
    assert as_parquet == as_csv
    assert as_parquet[0].id == "17"


def test_the_longest_id_of_a_list_leaves_room_for_the_longest_span():
    (row,) = read_list(b"uri,id\na.mp4," + b"a" * 103 + b"\n", name="l.csv")
    assert row.id is not None
    assert is_valid_id(f"edit-s-{clip_id(row.id, 99_990.0, 99_999.999)}")


def test_the_published_pexels_csv_is_read_as_it_is():
    data = b"link,videoId\nhttps://videos.pexels.com/video-files/3129671/a.mp4,3129671\n"
    assert read_list(data, name="pexels.csv") == [
        ListRow(number=1, uri="https://videos.pexels.com/video-files/3129671/a.mp4", id="3129671")
    ]


def test_columns_that_are_not_read_are_named_with_what_they_may_mean(caplog):
    read_list(b"uri,license,fps\na.mp4,CC0,30\n", name="list.csv")
    assert "license, did you mean 'licence'?; fps" in caplog.text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"path,id\na.mp4,1\n", "path, id"),
        (b"uri,link\na,b\n", "exactly one"),
        (b"uri,id\na.mp4,1\nb.mp4,A_B\n", r"row 2: got the id 'A_B'"),
        (b"uri,id\na.mp4,a.b\n", r"row 1: got the id 'a\.b'"),
        (b"uri,id\na.mp4," + b"a" * 104 + b"\n", "row 1: got the id 'a{104}', wanted .* at most 103 of them"),
        (b"uri,id\na.mp4,1\nb.mp4,2,3\n", "row 2: got 3 values, wanted 2"),
        (b"uri,id\n,1\n", "row 1: got no uri"),
        (b"uri\na\0.mp4\n", "list.csv"),
        (b"uri\n\xff\xfe.mp4\n", "UTF-8"),
        (b'uri\n"a.mp4\n', "line 2: not CSV: .*; wanted quotes in pairs"),
        (b"uri,caption\na.mp4," + b"x" * 131_073, "line 2: not CSV: .* values of at most 131072 characters"),
        (b"uri;id\na.mp4;1\n", "got the header 'uri;id', wanted commas"),
        (b"uri\tid\na.mp4\t1\n", "wanted commas"),
    ],
)
def test_a_malformed_csv_list_is_refused_with_the_row(data, message):
    with pytest.raises(ConfigError, match=message):
        read_list(data, name="list.csv")


def test_a_parquet_list_of_bytes_and_of_pandas_numbers_is_read_as_text():
    table = {
        "uri": [b"a.mp4", "ü.mp4".encode()],
        "id": [17.0, math.nan],
        "licence": [math.nan, math.nan],
        "caption": pa.array(["A dog.", None]).dictionary_encode(),
        "embedding": [[0.5], [0.25]],
    }
    assert read_list(parquet(**table), name="l.parquet") == [
        ListRow(number=1, uri="a.mp4", id="17", caption="A dog."),
        ListRow(number=2, uri="ü.mp4"),
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"\xff.mp4", "column licence: got bytes that are no text in UTF-8"),
        (0.5, r"column licence: got 0\.5 \(float\), wanted text or a whole number"),
        (True, r"column licence: got True \(bool\)"),
        (["CC0"], r"column licence: got \['CC0'\] \(list\)"),
        (datetime.date(2024, 1, 1), "column licence: got .* \\(date\\)"),
    ],
)
def test_a_value_of_a_parquet_list_that_is_no_text_is_refused_with_its_row(value, message):
    with pytest.raises(ConfigError, match=rf"list\.parquet, row 2, {message}"):
        read_list(parquet(uri=["a.mp4", "b.mp4"], licence=[None, value]), name="list.parquet")


def test_what_is_no_parquet_file_is_refused():
    with pytest.raises(ConfigError, match=r"list\.parquet is not a Parquet file"):
        read_list(b"PAR1 not really", name="list.parquet")


def test_a_parquet_list_with_no_uri_in_a_row_is_refused():
    with pytest.raises(ConfigError, match="row 2: got no uri"):
        read_list(parquet(uri=["a.mp4", None]), name="list.parquet")
