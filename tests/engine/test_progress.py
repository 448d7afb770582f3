"""What a person sees: a live table on a terminal, one plain line per part elsewhere."""

from __future__ import annotations

import io

from vpdata.engine.progress import Progress
from vpdata.engine.work import Counts


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _tell(stream: io.StringIO) -> None:
    with Progress(["cut", "filter"], stream) as progress:
        progress.note("plan: two stages")
        progress.known("cut", num_parts=4, done=1)
        progress.part_done("cut", Counts(name="part-00001", num_items=3, num_records=12, num_rejects=2))


def test_a_pipe_gets_one_plain_line_per_part() -> None:
    stream = io.StringIO()
    _tell(stream)
    assert stream.getvalue() == "plan: two stages\ncut part-00001: 12 records, 2 rejects (2/4 parts)\n"


def test_one_is_told_as_one() -> None:
    stream = io.StringIO()
    with Progress(["cut"], stream) as progress:
        progress.known("cut", num_parts=1, done=0)
        progress.part_done("cut", Counts(name="part-00000", num_items=1, num_records=1, num_rejects=1))
    assert stream.getvalue() == "cut part-00000: 1 record, 1 reject (1/1 parts)\n"


def test_plan_of_the_shards_is_no_shard() -> None:
    stream = io.StringIO()
    with Progress(["pack"], stream) as progress:
        progress.known("pack", num_parts=1, done=0)
        plan = Counts(name="pack-plan.parquet", num_items=9, num_records=0, num_rejects=2, notes=("clips to pack: 7",))
        progress.part_done("pack", plan)
        progress.known("pack", num_parts=2, done=0)
        progress.part_done("pack", Counts(name="vpdata-000000.parquet", num_items=4, num_records=4, num_rejects=0))
    assert stream.getvalue().splitlines() == [
        "pack pack-plan.parquet: clips to pack: 7",
        "pack vpdata-000000.parquet: 4 records, 0 rejects (1/2 parts)",
    ]


def test_what_a_models_cost_is_told_with_its_part() -> None:
    for stream in (io.StringIO(), Terminal()):
        with Progress(["caption"], stream) as progress:
            counts = Counts(name="part-00001", num_items=1, num_records=1, num_rejects=0, notes=("a-vlm: 0.02 USD",))
            progress.part_done("caption", counts)
        assert "caption part-00001: a-vlm: 0.02 USD\n" in stream.getvalue()


def test_a_terminal_gets_one_line_per_stage_with_rate_and_time_left() -> None:
    stream = Terminal()
    _tell(stream)
    (line,) = [line for line in stream.getvalue().splitlines() if line.startswith("cut")][-1:]
    stage, parts, clips, rejects, rate, left = line.split()
    assert (stage, parts, clips, rejects) == ("cut", "2/4", "12", "2")
    assert float(rate) > 0
    assert left.startswith("0:")


def _at_once(stream: io.StringIO) -> None:
    """Two of four parts are cut, of which the first gave two, and one of these is filtered."""
    with Progress(["cut", "filter"], stream) as progress:
        progress.known("cut", num_parts=4, done=0)
        progress.known("filter", num_parts=0, done=0)
        for number, num_parts in enumerate((2, 1)):
            progress.part_done("cut", Counts(name=f"part-{number}", num_items=1, num_records=2, num_rejects=0))
            progress.follow("filter", num_parts)
        progress.part_done("filter", Counts(name="part-0", num_items=2, num_records=2, num_rejects=0))


def test_stage_behind_an_unfinished_one_says_that_there_is_more_to_come() -> None:
    stream = io.StringIO()
    _at_once(stream)
    assert stream.getvalue().splitlines()[-1] == "filter part-0: 2 records, 0 rejects (1/3+ parts)"


def test_time_left_is_not_told_before_all_that_is_left_is_known() -> None:
    stream = Terminal()
    _at_once(stream)
    (line,) = [line for line in stream.getvalue().splitlines() if line.startswith("filter")][-1:]
    assert line.split()[:4] == ["filter", "1/3+", "2", "0"]
    assert ":" not in line
