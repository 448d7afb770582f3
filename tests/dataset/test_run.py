"""What reading the Parquet files of a run promises beside their rows."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from vpdata.cli import main
from vpdata.dataset.run import parquet_bytes, read_table
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


@pytest.mark.parametrize("content", [b"x: [", b"\xff", b"", b"- 1", b"config: 3"])
def test_damaged_settings_of_a_run_are_one_message(run, content, capsys):
    run.folder.write("run.yaml", content)
    for command in ("stats", "check", "report"):
        assert main([command, run.folder.uri]) == 1
        message = capsys.readouterr().err
        assert message.startswith(f"error: {run.folder.uri}/run.yaml")
        assert "the same `vpdata build` command writes it again" in message
