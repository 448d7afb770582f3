"""Why a number is missing, or is not of all cases, in the formats that are read on paper."""

from __future__ import annotations

import re

import pytest

from benchmark.bench import open_bench
from benchmark.report.writing import ReportSettings, write_report
from tests.benchmark.report.conftest import Made
from vpdata.storage import Folder


@pytest.fixture(scope="module")
def report(made: Made, tmp_path_factory: pytest.TempPathFactory):
    output = tmp_path_factory.mktemp("report")
    write_report(
        open_bench(made.bench), made.results, Folder(output), ReportSettings(reference="truth", has_videos=False)
    )
    return output


def notes_of(text: str, definition: str, mark: str) -> dict[str, str]:
    """Number to text: each reason once, numbered from 1, and none that no table refers to."""
    notes = dict(re.findall(definition, text, re.MULTILINE))
    assert list(notes) == [str(number) for number in range(1, len(notes) + 1)]
    assert len(set(notes.values())) == len(notes)
    tables = re.sub(definition, "", text, flags=re.MULTILINE)
    assert set(re.findall(mark, tables)) == notes.keys()
    return notes


def test_markdown(report) -> None:
    text = (report / "report.md").read_text()
    notes = notes_of(text, r"^\[\^(\d+)\]: (.+)$", r"\[\^(\d+)\]")
    holes = [part for part in text.split("\n### ") if part.startswith("Hole, raw: mean over cases")]
    (table,) = [part for part in holes if "(2 of 3)" in part]
    (row,) = re.findall(r"^\| darker \|.*$", table, re.MULTILINE)
    (number,) = set(re.findall(r"\(2 of 3\)\[\^(\d+)\]", row))
    assert notes[number].startswith("1 of 3 cases: it ran out of memory")
    lpips = row.split(" | ")[3]
    assert "vpdata models fetch squeezenet1" in notes[re.fullmatch(r"n/a\[\^(\d+)\]", lpips)[1]]
    (full,) = re.findall(r"^\| dark \|.*$", table, re.MULTILINE)
    assert "[^" not in full.split(" | ")[1]


def test_latex(report) -> None:
    text = (report / "report.tex").read_text()
    mark = r"\\textsuperscript\{(\d+)\}"
    notes = notes_of(text, rf"^\{{\\footnotesize\\noindent {mark} (.+)\\par\}}$", mark)
    # The same, and with exact copies too.
    fewer = {notes[number] for number in re.findall(rf"\(2/3\){mark}", text)}
    assert len(fewer) == 2
    assert all(note.startswith("1 of 3 cases: it ran out of memory") for note in fewer)
    assert all(r"\textless{}script\textgreater{}" in note for note in fewer)
    assert any(
        note.endswith("; 2 of 2 values are of exact copies, or nearly exact ones, and count as 100 dB")
        for note in fewer
    )
    assert any("no truth inside its hole" in note for note in notes.values())
