"""Files that appear whole or not at all, on a local disk and on an S3 store."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import pickle
import resource
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.s3_server import (  # noqa: F401  fixtures
    bucket,
    bucket_of_a_dead_store,
    bucket_of_a_store_that_hangs_up,
    s3_endpoint,
)
from vpdata.errors import ConfigError, StorageError
from vpdata.storage import Folder


@pytest.fixture(params=["local", "s3"])
def folder(request, tmp_path) -> Folder:
    """An empty folder of each kind."""
    if request.param == "local":
        return Folder(tmp_path / "run")
    return Folder(request.getfixturevalue("bucket") + "/run")


def test_what_is_written_is_read_whole_and_by_range(folder):
    folder.write("a/b.bin", b"0123456789")
    assert folder.read("a/b.bin") == b"0123456789"
    assert folder.read_range("a/b.bin", 2, 3) == b"234"
    assert folder.size("a/b.bin") == 10
    assert folder.exists("a/b.bin")
    assert folder.child("a").read("b.bin") == b"0123456789"


def test_a_range_past_the_end_is_an_error_not_a_short_answer(folder):
    folder.write("a.bin", b"0123456789")
    with pytest.raises(StorageError, match=r"a\.bin.*wanted"):
        folder.read_range("a.bin", 8, 3)


def test_a_name_is_replaced_by_its_newer_content(folder):
    folder.write("a.txt", b"a long first text")
    folder.write("a.txt", b"short")
    assert folder.read("a.txt") == b"short"


def test_a_block_that_fails_leaves_the_older_file_and_nothing_else(folder):
    folder.write("a.txt", b"old")
    with pytest.raises(KeyError):
        _write_half(folder, "a.txt")
    assert folder.read("a.txt") == b"old"
    assert folder.names() == ["a.txt"]


def _write_half(folder: Folder, name: str) -> None:
    with folder.writing(name) as path:
        path.write_bytes(b"half")
        raise KeyError("the writer's own error")


def test_an_unfinished_file_is_not_shown(folder):
    with folder.writing("a.txt") as path:
        path.write_bytes(b"half")
        assert folder.names() == []
        assert not folder.exists("a.txt")
    assert folder.names() == ["a.txt"]


def test_a_local_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    seen, fsync = [], os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        seen.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size, (tmp_path / "a.txt").exists()))

    monkeypatch.setattr(os, "fsync", note)
    Folder(tmp_path).write("a.txt", b"0123")
    assert seen == [((tmp_path / "a.txt").stat().st_ino, 4, False)]


def test_names_are_sorted_and_filtered_by_suffix(folder):
    for name in ("b.tar", "a.tar", "a.parquet", "sub/c.tar"):
        folder.write(name, b"x")
    assert folder.names(".tar") == ["a.tar", "b.tar"]
    assert folder.names() == ["a.parquet", "a.tar", "b.tar", "sub"]
    assert Folder(f"{folder.uri}/nothing").names() == []


def test_a_bucket_is_listed_once(bucket, caplog):  # noqa: F811  the fixture's name
    """A run of 100,000 parts takes 100 requests to list, 0.1 s each."""
    folder = Folder(f"{bucket}/run")
    folder.write("a.txt", b"")
    with caplog.at_level(logging.INFO, "werkzeug"):
        assert folder.names() == ["a.txt"]
    assert sum("list-type" in message for message in caplog.messages) == 1
    assert Folder(f"{bucket}/none").names() == []
    assert folder.child("a.txt").names() == []


def test_a_reader_sees_what_another_worker_wrote_after_its_listing(folder):
    # Stores keep listings in memory unless told not to; another process is another file system object.
    folder.write("a.txt", b"x")
    assert folder.names() == ["a.txt"]
    assert not folder.exists("b.txt")
    writer = multiprocessing.get_context("spawn").Process(target=_write, args=(folder, "b.txt"))
    writer.start()
    writer.join(30)
    assert folder.exists("b.txt")
    assert folder.names() == ["a.txt", "b.txt"]


def _write(folder: Folder, name: str) -> None:
    folder.write(name, b"x")


def test_removing_twice_is_no_error(folder):
    folder.write("a.txt", b"x")
    folder.remove("a.txt")
    folder.remove("a.txt")
    assert folder.names() == []


def test_a_folder_is_removed_with_all_that_is_in_it(folder):
    folder.write("a/b.txt", b"x")
    folder.child("a").remove_all()
    folder.child("a").remove_all()
    assert not folder.exists("a/b.txt")


def test_a_missing_file_is_a_storage_error_that_names_it(folder):
    for read in (folder.read, folder.size, lambda name: folder.read_range(name, 0, 1)):
        with pytest.raises(StorageError, match=r"none\.txt"):
            read("none.txt")


def test_a_store_that_hangs_up_in_the_middle_is_a_storage_error(bucket_of_a_store_that_hangs_up):  # noqa: F811
    folder = Folder(bucket_of_a_store_that_hangs_up)
    with pytest.raises(StorageError, match=r"cannot read s3://.*/a\.mp4: .*received 100 of 1000"):
        folder.read_range("a.mp4", 0, 1000)


def test_create_writes_once_and_never_replaces(folder):
    assert folder.create("deep/lease.json", b"first") is True
    assert folder.create("deep/lease.json", b"second") is False
    assert folder.read("deep/lease.json") == b"first"


def test_one_of_many_creators_wins_and_its_content_stays(folder):
    barrier = threading.Barrier(8)

    def create(number: int) -> bool:
        barrier.wait()
        return folder.create("lease.json", b"%d" % number)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert won.count(True) == 1
    assert folder.read("lease.json") == b"%d" % won.index(True)


def test_disk_without_hard_links_creates_once_too(tmp_path, monkeypatch):
    def no_links(source, target):
        raise OSError(errno.EPERM, "Operation not permitted", source, None, target)

    monkeypatch.setattr(os, "link", no_links)
    folder = Folder(tmp_path)
    assert [folder.create("deep/lease.json", data) for data in (b"first", b"second")] == [True, False]
    assert folder.read("deep/lease.json") == b"first"
    assert os.listdir(tmp_path / "deep") == ["lease.json"]


def test_one_of_many_processes_wins(tmp_path):
    folder = Folder(tmp_path)
    context = multiprocessing.get_context("spawn")
    start, won = context.Event(), context.Queue()
    creators = [context.Process(target=_create, args=(folder, n, start, won)) for n in range(3)]
    for creator in creators:
        creator.start()
    start.set()
    results = dict(won.get(timeout=60) for _ in creators)
    for creator in creators:
        creator.join()
    (winner,) = [number for number, has_won in results.items() if has_won]
    assert folder.read("lease.json") == b"%d" % winner
    assert os.listdir(tmp_path) == ["lease.json"]


def _create(folder, number, start, won) -> None:
    start.wait()
    won.put((number, folder.create("lease.json", b"%d" % number)))


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "a\0b", "..\\a", ".."])
def test_a_name_that_leaves_the_folder_is_refused(folder, name):
    for use in (folder.read, folder.exists, folder.remove, folder.child, lambda name: folder.write(name, b"")):
        with pytest.raises(ValueError, match="stays inside"):
            use(name)


def test_a_folder_pickles_and_opens_again(folder):
    folder.write("a.txt", b"x")
    assert pickle.loads(pickle.dumps(folder)).read("a.txt") == b"x"


def test_a_local_folder_has_paths_and_a_store_has_none(tmp_path, bucket):  # noqa: F811  the fixture's name
    assert Folder(tmp_path).path("a.txt") == tmp_path / "a.txt"
    with pytest.raises(ValueError, match="not on a local disk"):
        Folder(bucket).path("a.txt")


@pytest.mark.parametrize(("uri", "kept"), [("/a/b/", "/a/b"), ("file:///a/b", "/a/b"), ("/", "/"), ("file:///", "/")])
def test_a_local_uri_is_its_path(uri, kept):
    assert Folder(uri).uri == kept
    assert Folder(uri).is_local


@pytest.mark.parametrize("uri", ["http://h/a", "ftp://h/a", "s3://", "s3:///", "simplecache::s3://b/a"])
def test_another_scheme_or_a_missing_bucket_is_a_config_error(uri):
    with pytest.raises(ConfigError, match="wanted"):
        Folder(uri)


def test_an_output_below_a_file_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    folder = Folder(tmp_path / "file" / "run")
    with pytest.raises(StorageError, match="cannot write"):
        folder.write("a.txt", b"x")
    with pytest.raises(StorageError, match="cannot write"):
        folder.create("lease.json", b"x")
    with pytest.raises(StorageError, match="cannot write"):
        Folder(tmp_path).child("file").write("a.txt", b"x")


def test_a_full_disk_keeps_the_older_file_and_says_what_to_do(tmp_path):
    folder = Folder(tmp_path)
    folder.write("a.bin", b"old")
    with pytest.raises(StorageError, match=r"cannot write .*a\.bin.*free some space"):
        _write_until_full(folder, "a.bin")
    assert folder.read("a.bin") == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def _write_until_full(folder: Folder, name: str) -> None:
    with folder.writing(name) as path, open("/dev/full", "wb", buffering=0) as full:
        path.write_bytes(b"half")
        full.write(b"x")


def test_a_file_over_the_quota_is_not_published(tmp_path):
    folder = Folder(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match=os.strerror(errno.EFBIG)):
            folder.write("a.bin", bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


def test_what_a_killed_writer_left_is_hidden_and_swept(tmp_path):
    folder = Folder(tmp_path / "run")
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=_die_while_writing, args=(folder,))
    writer.start()
    writer.join(60)
    assert writer.exitcode == 9
    assert folder.names() == []
    assert len(os.listdir(tmp_path / "run")) == 1
    folder.sweep()
    assert os.listdir(tmp_path / "run") == []


def _die_while_writing(folder: Folder) -> None:
    with folder.writing("a.bin") as path:
        Path(path).write_bytes(b"half")
        os._exit(9)


def test_a_store_that_is_down_is_a_storage_error(bucket_of_a_dead_store):  # noqa: F811  the fixture's name
    folder = Folder(f"{bucket_of_a_dead_store}/run")
    for use in (folder.read, folder.exists, lambda name: folder.write(name, b"x")):
        with pytest.raises(StorageError, match=r"a\.txt"):
            use("a.txt")


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=r"pip install -c constraints\.txt -e '\.\[cloud\]'"):
        Folder("gs://bucket/run").read("a.txt")


@pytest.mark.parametrize("place", ["local", "memory"])
def test_reading_into_a_buffer_fills_it_or_says_what_is_missing(tmp_path: Path, place: str) -> None:
    folder = Folder(tmp_path if place == "local" else "memory://read-into/x")
    folder.write("a", bytes(range(100)))
    buffer = bytearray(10)
    folder.read_into("a", 20, memoryview(buffer))
    assert buffer == bytes(range(20, 30))
    with pytest.raises(StorageError, match="got 5 bytes at 95, wanted 10: the file is cut short"):
        folder.read_into("a", 95, memoryview(buffer))
