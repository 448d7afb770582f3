from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from benchmark.bench import Sampling
from benchmark.metrics.paper_setting import unlike_published
from tests.benchmark.benches import make_bench

PUBLISHED = Sampling(fps=Fraction(8), height_px=480, width_px=720, num_frames=49)


def test_the_published_setting_has_no_difference(tmp_path):
    bench = make_bench(tmp_path, num_short=1, num_long=1, num_edits=0, num_frames=74).bench
    assert unlike_published(replace(bench, sampling=PUBLISHED)) is None


def test_each_difference_is_told_with_its_cases(tmp_path):
    bench = make_bench(tmp_path, num_short=2, num_long=1, num_edits=0, num_frames=74).bench
    assert unlike_published(bench) == (
        "not the published setting: 64x48 px instead of 720x480 px on 3 of 3 cases, 12 fps instead of 8 fps on 3 of 3 "
        "cases"
    )
    short = replace(PUBLISHED, num_frames=20)
    assert unlike_published(replace(bench, sampling=short)) == (
        "not the published setting: 20 frames instead of 49 frames on 2 of 3 cases"
    )
    one = replace(bench.cases[-1], num_frames=30)
    assert unlike_published(replace(bench, cases=(*bench.cases[:-1], one), sampling=PUBLISHED)) == (
        "not the published setting: 20 frames instead of 49 frames on 1 of 3 cases"
    )
