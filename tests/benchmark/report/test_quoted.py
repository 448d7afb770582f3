from __future__ import annotations

from benchmark.metrics.settings import Protocol
from benchmark.metrics.table import Place
from benchmark.report.columns import columns_of
from benchmark.report.markdown import markdown_table
from benchmark.report.page_data import table_data
from benchmark.report.tables import Table, finished


def quoted(subset: str, *, protocol: Protocol = "clean", place: Place = "frame") -> Table:
    columns = columns_of(protocol, place)
    return finished(Table(subset=subset, place=place, output="raw", dilate_px=0, num_cases=1, columns=columns, rows={}))


def test_rows_under_masks_that_may_not_be_ours_say_so() -> None:
    assert "*VideoPainter, quoted: table 2, under VPBench's own masks* | 25.27 |" in markdown_table(quoted("davis"), ())
    assert {row["table"] for row in table_data(quoted("davis"))["quoted"]} == {"2, under VPBench's own masks"}
    assert "*VideoPainter, quoted: table 2* | 23.32 |" in markdown_table(quoted("S"), ())


def test_what_a_reader_of_quoted_rows_must_know_goes_with_their_table() -> None:
    clean, paper = (quoted("S", protocol=protocol).quoted_note or "" for protocol in ("clean", "paper"))
    for note in (clean, paper):
        assert "arXiv:2503.05639v3" in note
        assert "never saw the true one" in note
    assert "score --protocol paper has theirs" in clean
    assert "definitions" not in paper
    assert table_data(quoted("S"))["quoted_note"] == clean
    # Nothing is quoted beside holes.
    assert quoted("S", place="hole").quoted_note is None
