"""Inputs on an S3 store."""

from __future__ import annotations

import pytest

from tests.s3_server import (  # noqa: F401  fixtures
    bucket,
    bucket_of_a_dead_store,
    bucket_of_a_store_that_hangs_up,
    s3_endpoint,
)
from vpdata.errors import ConfigError, Reason, RejectItem, StorageError
from vpdata.records import Source
from vpdata.sources import Input, SourceSettings
from vpdata.storage import filesystem

DEFAULTS = SourceSettings()


@pytest.fixture
def store(bucket):  # noqa: F811  the fixture's name
    """The bucket with a few objects in it."""
    files = filesystem("s3")
    for name in ("v/b.mp4", "v/a/ü x.mkv", "v/notes.txt", "v2/c.mp4", "v/odd?#[1].mp4"):
        files.pipe_file(f"{bucket}/{name}", b"bytes of " + name.encode())
    return bucket


def opened(input_, source) -> bytes:
    with input_.local_file(source) as path:
        return path.read_bytes()


def test_a_folder_gives_its_videos_and_no_neighbours(store, caplog):
    caplog.set_level("INFO")
    folder = Input(f"{store}/v/", DEFAULTS)
    sources = folder.sources()
    assert [source.uri for source in sources] == [
        f"{store}/v/{name}" for name in ("a/ü x.mkv", "b.mp4", "odd?#[1].mp4")
    ]
    assert [opened(folder, source) for source in sources] == [
        "bytes of v/a/ü x.mkv".encode(),
        b"bytes of v/b.mp4",
        b"bytes of v/odd?#[1].mp4",
    ]
    assert "1 .txt" in caplog.text


def test_the_clips_of_a_report_in_the_input_are_no_sources(store, caplog):
    files = filesystem("s3")
    for name in ("run.yaml", "0-source/part-00000.parquet", "report/media/p.mp4"):
        files.pipe_file(f"{store}/v/runs/out/{name}", b"")
    assert [source.uri for source in Input(f"{store}/v", DEFAULTS).sources()] == [
        f"{store}/v/{name}" for name in ("a/ü x.mkv", "b.mp4", "odd?#[1].mp4")
    ]
    assert "passed over 1 folder(s) that hold a run of vpdata, such as 'v/runs/out'" in caplog.text
    (clip,) = Input(f"{store}/v/runs/out", DEFAULTS).sources()
    assert clip.uri.endswith("p.mp4")


def test_a_glob_and_a_single_object_are_inputs(store):
    assert [source.uri for source in Input(f"{store}/v*/*.mp4", DEFAULTS).sources()] == [
        f"{store}/v/b.mp4",
        f"{store}/v/odd?#[1].mp4",
        f"{store}/v2/c.mp4",
    ]
    assert [source.uri for source in Input(f"{store}/v/b.mp4", DEFAULTS).sources()] == [f"{store}/v/b.mp4"]


def test_a_name_that_looks_like_a_pattern_is_an_input(store):
    files = filesystem("s3")
    for name in ("My [HD] clip.mp4", "day [1]/a.mp4", "day 1/b.mp4"):
        files.pipe_file(f"{store}/{name}", b"x")
    for uri, wanted in (
        ("My [HD] clip.mp4", ["My [HD] clip.mp4"]),
        ("day [1]", ["day [1]/a.mp4"]),
        ("day [1]/", ["day [1]/a.mp4"]),
        ("day [1]/*.mp4", ["day 1/b.mp4"]),
    ):
        found = Input(f"{store}/{uri}", DEFAULTS)
        assert [source.uri for source in found.sources()] == [f"{store}/{name}" for name in wanted]
        assert opened(found, found.sources()[0]) == b"x"


def test_a_list_on_the_store_names_objects_relative_to_its_folder(store):
    filesystem("s3").pipe_file(f"{store}/v/list.csv", b"uri,id\nb.mp4,one\n" + f"{store}/v2/c.mp4,two\n".encode())
    csv = Input(f"{store}/v/list.csv", DEFAULTS)
    assert [(source.id, source.uri) for source in csv.sources()] == [
        ("one", f"{store}/v/b.mp4"),
        ("two", f"{store}/v2/c.mp4"),
    ]
    assert opened(csv, csv.sources()[1]) == b"bytes of v2/c.mp4"


@pytest.mark.parametrize("row", ["/etc/passwd", "file:///etc/passwd", "../v2/c.mp4"])
def test_a_list_on_the_store_names_no_local_file_and_nothing_above_it(store, row):
    filesystem("s3").pipe_file(f"{store}/v/list.csv", f"uri\n{row}\n".encode())
    with pytest.raises(ConfigError, match="row 1"):
        Input(f"{store}/v/list.csv", DEFAULTS).sources()


def test_an_object_that_vanishes_is_gone(store):
    folder = Input(f"{store}/v2", DEFAULTS)
    (source,) = folder.sources()
    filesystem("s3").rm_file(f"{store}/v2/c.mp4")
    with pytest.raises(RejectItem) as error, folder.local_file(source):
        pass
    assert error.value.reason is Reason.SOURCE_GONE


def test_an_object_over_the_limit_is_rejected(store):
    folder = Input(f"{store}/v2", SourceSettings(max_bytes=5))
    with pytest.raises(RejectItem) as error, folder.local_file(folder.sources()[0]):
        pass
    assert error.value.reason is Reason.TOO_MANY_BYTES


def test_a_download_past_its_time_limit_ends(store):
    folder = Input(f"{store}/v2", SourceSettings(timeout_s=1e-9))
    with pytest.raises(RejectItem) as error, folder.local_file(folder.sources()[0]):
        pass
    assert error.value.reason is Reason.FETCH_TIMEOUT


def test_an_empty_folder_and_a_missing_list_say_so(store):
    with pytest.raises(ConfigError, match="no video found"):
        Input(f"{store}/nothing", DEFAULTS).sources()
    with pytest.raises(StorageError, match=r"cannot read s3://.*/none\.csv"):
        Input(f"{store}/none.csv", DEFAULTS).sources()


def test_a_store_that_hangs_up_in_the_middle_is_no_sources_fault(bucket_of_a_store_that_hangs_up):  # noqa: F811
    uri = f"{bucket_of_a_store_that_hangs_up}/a.mp4"
    with (
        pytest.raises(StorageError, match=r"cannot read s3://.*a\.mp4: .*received 100 of 1000"),
        Input(uri, DEFAULTS).local_file(Source(id="a", uri=uri)),
    ):
        pass


def test_a_store_that_is_down_is_no_sources_fault(bucket_of_a_dead_store):  # noqa: F811  the fixture's name
    uri = f"{bucket_of_a_dead_store}/v2/c.mp4"
    folder, source = Input(uri, DEFAULTS), Source(id="c", uri=uri)
    with pytest.raises(StorageError, match=r"cannot read s3://.*c\.mp4") as error, folder.local_file(source):
        pass
    assert "planted" not in str(error.value)
