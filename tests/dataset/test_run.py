"""What reading the Parquet files of a run promises beside their rows."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import threading
import weakref

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vpdata.cli import main
from vpdata.dataset.run import parquet_bytes, read_rows, read_table
from vpdata.errors import RunError, StorageError
from vpdata.records import Source
from vpdata.storage import Folder

READ_AND_END = """
import sys
from vpdata.dataset.run import read_table
from vpdata.storage import Folder
read_table(Folder(sys.argv[1]), "rows.parquet")
"""


def write_rows(folder):
    table = pa.table({f"column {number}": list(range(1000)) for number in range(40)})
    Folder(folder).write("rows.parquet", parquet_bytes(table))
    return table


def test_a_process_that_ends_at_once_after_reading_ends_well(tmp_path):
    write_rows(tmp_path)
    # Many at a time, so that threads that outlive the call are late enough to be seen.
    command = (sys.executable, "-c", READ_AND_END, str(tmp_path))
    readers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    answers = [(reader.communicate(timeout=60)[1], reader.returncode) for reader in readers]
    assert answers == [("", 0)] * len(readers)


def test_columns_and_rows_are_chosen(tmp_path):
    table = write_rows(tmp_path)
    found = read_table(Folder(tmp_path), "rows.parquet", columns=["column 3"])
    assert found.column_names == ["column 3"]
    assert found["column 3"].to_pylist() == table["column 3"].to_pylist()


class NotingFolder(Folder):
    """Notes each ranged read: on which thread, and how many bytes."""

    def __init__(self, uri) -> None:
        super().__init__(uri)
        self.reads: list[tuple[int, int]] = []

    def read_range(self, name: str, offset: int, num_bytes: int) -> bytes:
        self.reads.append((threading.get_ident(), num_bytes))
        return super().read_range(name, offset, num_bytes)


def test_a_file_is_read_on_the_callers_thread_and_let_go_when_the_call_ends(tmp_path):
    """What another thread still holds when the process ends, aborts it."""
    write_rows(tmp_path)
    for where in (None, ("column 3", [70, 71])) * 20:
        folder = NotingFolder(tmp_path)
        held = weakref.ref(folder)
        table = read_table(folder, "rows.parquet", where=where)
        assert {thread for thread, _ in folder.reads} == {threading.get_ident()}
        del folder
        assert held() is None
        assert table.num_rows == (1000 if where is None else 2)


def test_only_what_is_asked_for_is_fetched_and_neighbours_at_once(tmp_path):
    write_rows(tmp_path)
    num_bytes = (tmp_path / "rows.parquet").stat().st_size
    whole, some = NotingFolder(tmp_path), NotingFolder(tmp_path)
    read_table(whole, "rows.parquet")
    assert len(whole.reads) <= 3  # the end, the rest of the list of pages, and all pages
    found = read_table(some, "rows.parquet", columns=["column 3", "column 4"], where=("column 3", [999]))
    assert found.to_pylist() == [{"column 3": 999, "column 4": 999}]
    # The end of the file is read 64 kB at a time.
    assert len(some.reads) <= 3
    assert sum(size for _, size in some.reads[2:]) < num_bytes / 100


def test_other_values_are_not_found(tmp_path):
    write_rows(tmp_path)
    assert read_table(Folder(tmp_path), "rows.parquet", where=("column 3", [])).num_rows == 0
    assert read_table(Folder(tmp_path), "rows.parquet", where=("column 3", [-1, 1000])).num_rows == 0


def test_damage_is_named_with_the_file_and_what_to_do(tmp_path):
    write_rows(tmp_path)
    path = tmp_path / "rows.parquet"
    whole = path.read_bytes()
    for damaged in (b"", whole[:300], whole[:200] + bytes(64) + whole[264:], whole + bytes(512)):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"rows\.parquet is damaged: .*; put back a good copy of it, or let --redo"):
            read_table(Folder(tmp_path), "rows.parquet")
    path.write_bytes(whole)
    with pytest.raises(RunError, match=r"rows\.parquet is damaged: it lacks the column fps"):
        read_table(Folder(tmp_path), "rows.parquet", columns=["column 3", "fps"])
    with pytest.raises(RunError, match=r"rows\.parquet is damaged: .*required field"):
        list(read_rows(Folder(tmp_path), "rows.parquet", Source))


def test_one_bit_that_flips_in_a_value_is_found(tmp_path):
    values = np.random.default_rng(0).integers(0, 2**62, 1000)
    data = bytearray(parquet_bytes(pa.table({"a": values}), rows_per_group=1000))
    at = data.index(values[500].tobytes())  # what is random does not get smaller and lies there as it is
    data[at] ^= 1
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(RunError, match=r"a\.parquet is damaged: .*checksum"):
        read_table(Folder(tmp_path), "a.parquet")


def test_a_file_of_another_version_is_not_called_damaged(tmp_path):
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({"vpdata.schema_version": "0"}), tmp_path / "a.parquet")
    with pytest.raises(RunError, match=r"a\.parquet: got schema version 0, wanted 1"):
        read_table(Folder(tmp_path), "a.parquet", columns=["b"])


class VanishingFolder(Folder):
    """Loses a file once it has said how large it is."""

    def size(self, name: str) -> int:
        num_bytes = super().size(name)
        self.remove(name)
        return num_bytes


def test_a_file_that_cannot_be_fetched_is_not_called_damaged(tmp_path):
    write_rows(tmp_path)
    with pytest.raises(StorageError, match=r"cannot read .*rows\.parquet"):
        read_table(VanishingFolder(tmp_path), "rows.parquet")


@pytest.mark.parametrize(
    ("file", "commands"),
    [
        (
            "index/vpdata-000000.parquet",
            ("check", "stats", "report", "inspect", "clean", "export --format hf --output x"),
        ),
        ("pack-plan.parquet", ("check", "stats", "report", "inspect", "clean")),
        ("5-filter/part-00000.parquet", ("stats", "report")),
        ("4-caption/part-00000.parquet", ("stats", "stats --what-if motion.min=0.3")),
        ("5-filter/part-00000.rejects.parquet", ("stats", "report")),
    ],
)
def test_every_command_names_the_file_that_is_damaged(run, file, commands, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run.folder.write(file, run.folder.read(file)[:300])
    for command in commands:
        name, *options = shlex.split(command)
        assert main([name, run.folder.uri, *options]) == 1
        printed = capsys.readouterr()
        assert re.search(f"{re.escape(file)}:? is damaged", printed.out + printed.err)


@pytest.mark.parametrize("content", [b"x: [", b"\xff", b"", b"- 1", b"config: 3"])
def test_damaged_settings_of_a_run_are_one_message(run, content, capsys):
    run.folder.write("run.yaml", content)
    for command in ("stats", "check", "report"):
        assert main([command, run.folder.uri]) == 1
        message = capsys.readouterr().err
        assert message.startswith(f"error: {run.folder.uri}/run.yaml")
        assert "the same `vpdata build` command writes it again" in message
