"""`docs/format.md` against what is written: every column is explained, every command runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vpdata.dataset.card import write_card
from vpdata.dataset.index import SCHEMA
from vpdata.records import SCHEMA_VERSION, Record, Reject

PAGE = (Path(__file__).parents[2] / "docs/format.md").read_text(encoding="utf-8")


def table_keys(heading: str) -> set[str]:
    """Everything in backticks in the first cells of the tables under a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    return {key for cell in cells for key in re.findall(r"`([^`]+)`", cell)}


def test_every_column_of_the_index_is_explained_and_no_other():
    assert table_keys("Index") == set(SCHEMA.names)


def test_every_field_of_a_track_is_explained():
    (cell,) = re.findall(r"^\| `tracks` \| list of (.*) \|$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`([^`]+)`", cell)) == {field.name for field in SCHEMA.field("tracks").type.value_type}


def test_every_key_of_a_record_and_of_a_reject_is_named():
    assert set(Record.__dataclass_fields__) <= table_keys("Shards")
    parts = PAGE.split("## Parts\n")[1]
    assert all(f"`{name}`" in parts for name in Reject.__dataclass_fields__)


def test_page_is_of_the_version_that_is_written():
    assert PAGE.startswith(f"# The data format, version {SCHEMA_VERSION}\n")


@pytest.mark.parametrize(("language", "program"), [("python", [sys.executable, "-c"]), ("bash", ["bash", "-euc"])])
def test_every_command_runs_in_the_folder_of_a_run(run, language, program):
    write_card(run)
    commands = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert commands
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    for command in commands:
        command = command.replace("/tmp/clip.mp4", "clip.mp4")
        done = subprocess.run([*program, command], cwd=run.folder.uri, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    if language == "bash":
        first = next(run.folder.path("shards").glob("*0.tar")).read_bytes()
        clip = run.folder.read("clip.mp4")
        assert clip[4:8] == b"ftyp"
        assert clip in first
