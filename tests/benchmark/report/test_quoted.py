from __future__ import annotations

from benchmark.report.columns import columns_of
from benchmark.report.markdown import markdown_table
from benchmark.report.page_data import table_data
from benchmark.report.tables import Table, finished


def quoted(subset: str) -> Table:
    columns = columns_of("clean", "frame")
    return finished(
        Table(subset=subset, place="frame", output="raw", dilate_px=0, num_cases=1, columns=columns, rows={})
    )


def test_rows_under_masks_that_may_not_be_ours_say_so() -> None:
    assert "*VideoPainter, quoted: table 2, under VPBench's own masks* | 25.27 |" in markdown_table(quoted("davis"), ())
    assert {row["table"] for row in table_data(quoted("davis"))["quoted"]} == {"2, under VPBench's own masks"}
    assert "*VideoPainter, quoted: table 2* | 23.32 |" in markdown_table(quoted("S"), ())
