from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmark.__main__ import main
from benchmark.bench import open_bench
from benchmark.metrics.feature_files import TRUTH, write_features
from benchmark.metrics.table import ScoreRow
from benchmark.report.columns import columns_of
from benchmark.report.facts import METHOD_HEADS, facts_of
from benchmark.report.numbers import number, on_one_line
from benchmark.report.published import published
from benchmark.report.reasons import public_reason
from benchmark.report.scores import read_scores
from benchmark.report.tables import Average, Cell, Table, finished, tables
from benchmark.report.writing import ReportSettings, write_report
from benchmark.results import Outcome, Results
from tests.benchmark.report.conftest import DARKER, REASON, Made, darker, make_results
from tests.report.conftest import HOSTILE
from vpdata import codec
from vpdata.errors import ConfigError, RunError
from vpdata.media.clips import ClipReader
from vpdata.storage import Folder


@pytest.fixture(scope="module")
def report(made: Made, tmp_path_factory: pytest.TempPathFactory):
    output = tmp_path_factory.mktemp("report")
    write_report(open_bench(made.bench), made.results, Folder(output), ReportSettings(reference="truth"))
    return output


def table_of(made: Made, *, reference: str | None = None, average: Average = "pixels", **wanted):
    scores = read_scores(open_bench(made.bench), made.results, "clean")
    found = [one for one in tables(scores, "truth", average) if one.reference == reference]
    (table,) = [one for one in found if all(getattr(one, name) == value for name, value in wanted.items())]
    return table


def cell_of(table, method: str, name: str):
    index = next(index for index, column in enumerate(table.columns) if column.name == name)
    return table.rows[method][index]


def errors(made: Made, case_id: str, method: str):
    """By hand: what the method took from the truth on all frames but the first, in [0, 1], and the hole."""
    bench = open_bench(made.bench)
    sampled = bench.sampled(bench.case(case_id))
    frames = sampled.frames[1:]
    return (frames - darker(frames, DARKER[method]).astype(int)) / 255, sampled.masks[1:]


def test_means_are_of_all_pixels_and_say_over_how_many_cases(made: Made) -> None:
    table = table_of(made, subset="S", place="hole", output="raw")
    for method, cases in (("dark", ("s-0", "s-1", "s-2")), ("darker", ("s-0", "s-1"))):
        inside = np.concatenate([found[hole].ravel() for found, hole in (errors(made, one, method) for one in cases)])
        cell = cell_of(table, method, "MAE")
        assert cell.value == pytest.approx(100 * inside.mean())
        assert cell.low <= cell.value <= cell.high
        assert cell.num_cases == len(cases)
    assert cell_of(table, "dark", "MAE").why is None
    assert cell_of(table, "darker", "MAE").why == f"1 of 3 cases: {REASON}"
    assert table.num_cases == 3


def test_cases_weigh_alike_if_that_is_wanted(made: Made, tmp_path) -> None:
    found = [errors(made, one, "dark") for one in ("s-0", "s-1", "s-2")]
    means = [100 * some[hole].mean() for some, hole in found]
    half = 4.302653 * np.std(means, ddof=1) / 3**0.5  # of Student's t with 2 degrees of freedom
    for reference in (None, "truth"):
        cell = cell_of(
            table_of(made, reference=reference, average="cases", subset="S", place="hole", output="raw"), "dark", "MAE"
        )
        assert (cell.value, cell.low) == (pytest.approx(np.mean(means)), pytest.approx(np.mean(means) - half, rel=1e-5))
    # Holes are of other sizes, so that this is not the mean over pixels.
    pooled = 100 * np.concatenate([some[hole].ravel() for some, hole in found]).mean()
    assert pooled != pytest.approx(np.mean(means), rel=1e-5)
    assert main(["report", "--bench", str(made.bench), "--results", str(made.results.root), "--output", str(tmp_path),
                 "--no-videos", "--average", "cases"]) == 0  # fmt: skip
    assert "### Hole, raw: mean over cases, cases weigh alike" in (tmp_path / "report.md").read_text()
    with pytest.raises(ConfigError, match="published over frames"):
        ReportSettings(protocol="paper", average="cases")


def test_differences_are_paired_over_the_cases_that_both_have(made: Made) -> None:
    table = table_of(made, subset="S", place="hole", output="raw", reference="truth")
    assert set(table.rows) == {"dark", "darker"}
    inside = np.concatenate(
        [found[hole].ravel() for found, hole in (errors(made, one, "darker") for one in ("s-0", "s-1"))]
    )
    cell = cell_of(table, "darker", "MAE")
    assert (cell.value, cell.num_cases) == (pytest.approx(100 * inside.mean()), 2)


def test_cases_of_one_video_have_no_interval(made: Made) -> None:
    scores = read_scores(open_bench(made.bench), made.results, "clean")
    one = replace(scores, cases=tuple(replace(case, video_id="one") for case in scores.cases))
    for reference in (None, "truth"):
        cells = [
            next(cell_of(table, "dark", "MAE") for table in tables(some, "truth") if table.reference == reference)
            for some in (scores, one)
        ]
        assert cells[0].value == cells[1].value
        assert cells[0].low < cells[0].value
        assert cells[1].low is None


def test_only_means_over_all_cases_are_the_best(made: Made) -> None:
    table = table_of(made, subset="S", place="hole", output="raw")
    assert [cell_of(table, method, "PSNR").is_best for method in table.rows] == [False, False, True]
    assert cell_of(table, "truth", "PSNR").value == 100


def test_what_a_blur_that_stands_still_wins_has_no_best(made: Made) -> None:
    table = table_of(made, subset="S", place="frame", output="raw")
    for name in ("Warping error", "Temporal consistency"):
        assert not any(cell_of(table, method, name).is_best for method in table.rows)
    assert any(cell_of(table, method, "Flicker").is_best for method in table.rows)


@pytest.fixture(scope="module")
def mixed(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """`dark` and `darker` were given the true first frame, but of edits; `other` and `truth` were not."""
    root = tmp_path_factory.mktemp("mixed")
    make_results(made.bench, root, ("dark", "darker"), first_frame_given=True, given_version=2)
    return Made(bench=made.bench, results=make_results(made.bench, root, ("other", "truth")))


def test_the_best_is_told_among_methods_that_were_given_as_much(mixed: Made) -> None:
    # As if `darker` had a result on the case that is broken.
    table = table_of(mixed, subset="S", place="known", output="raw")
    whole = {method: tuple(replace(cell, num_cases=3) for cell in cells) for method, cells in table.rows.items()}
    assert best_of(finished(replace(table, rows=whole))) == ["dark", "other", "truth"]
    # `dark` alone is left of those that were given it.
    assert best_of(table) == ["other", "truth"]
    edits = table_of(mixed, subset="edit-S", place="known", output="raw")
    assert best_of(edits) == ["other", "truth"], "an edit's first frame was given to nobody"
    assert not edits.first_frame_given


def best_of(table: Table) -> list[str]:
    return [method for method in table.rows if cell_of(table, method, "PSNR").is_best]


def test_every_format_marks_who_was_given_the_true_first_frame(mixed: Made, report, tmp_path) -> None:
    write_report(
        open_bench(mixed.bench), mixed.results, Folder(tmp_path), ReportSettings(reference="dark", has_videos=False)
    )
    note = "was given the true first frame. The first frame counts for no method, but"
    text = (tmp_path / "report.md").read_text()
    assert f"- † {note}" in text
    assert "difference from dark†, case by case" in text
    assert {line.split(" | ")[0] for line in text.splitlines() if line.startswith(("| dark", "| truth |"))} == {
        "| dark", "| dark†", "| darker", "| darker†", "| truth",
    }  # fmt: skip
    text = (tmp_path / "report.tex").read_text()
    assert rf"{{\footnotesize\noindent \textsuperscript{{\dag}} {note}" in text
    assert r"dark\textsuperscript{\dag} & " in text
    page = json.loads(re.search(r'id="data-bench">(.*?)</script>', (tmp_path / "report.html").read_text())[1])
    assert {row["method"]: row["mark"] for row in page["tables"][0]["rows"]} == {
        "dark": "†", "darker": "†", "other": "", "truth": "",
    }  # fmt: skip
    assert {row["mark"] for table in page["tables"] if table["subset"] == "edit-S" for row in table["rows"]} == {""}
    assert page["tables"][0]["given_note"].startswith(f"† {note}")
    assert not any("†" in (report / name).read_text() for name in ("report.md", "report.tex"))


def table_with(name: str, *values: float | None) -> Table:
    """Of methods "0", "1", ... with these values in one column."""
    columns = columns_of("clean", "hole")
    rows = {
        str(number): tuple(Cell(value=value if one.name == name else None, num_cases=1) for one in columns)
        for number, value in enumerate(values)
    }
    return finished(Table(subset="S", place="hole", output="raw", dilate_px=0, num_cases=1, columns=columns, rows=rows))


def test_of_numbers_that_are_printed_alike_none_is_better() -> None:
    table = table_with("PSNR", 22.7249, 22.7151, 22.7149, None)
    assert [number(cell_of(table, one, "PSNR").value, table.columns[0]) for one in "012"] == ["22.72", "22.72", "22.71"]
    assert [cell_of(table, one, "PSNR").is_best for one in table.rows] == [True, True, False, False]


@pytest.mark.parametrize(
    ("values", "printed"),
    [
        ((0.0312, 0.5), ["0.031", "0.500"]),
        ((0.00523, 0.5), ["0.0052", "0.5000"]),
        ((3.21, 0.0, None), ["3.21", "0.00"]),
        ((0.0000004, 0.52), ["0.00", "0.52"]),
    ],
)
def test_the_least_number_of_a_column_has_two_digits_that_tell(values, printed) -> None:
    table = table_with("MSE", *values)
    (column,) = [one for one in table.columns if one.name == "MSE"]
    cells = [cell_of(table, one, "MSE") for one in table.rows]
    assert [number(cell.value, column) for cell in cells if cell.value is not None] == printed


def test_latex_has_the_intervals_of_markdown_if_they_are_wanted(made: Made, report, tmp_path) -> None:
    settings = ReportSettings(reference="truth", has_videos=False, has_latex_intervals=True)
    write_report(open_bench(made.bench), made.results, Folder(tmp_path), settings)
    text = (tmp_path / "report.tex").read_text()
    found = re.findall(r"\\scriptsize (\[\S+ \S+\])\}", text)
    shown = (tmp_path / "report.md").read_text().replace("\\", "")
    assert len(found) > 20
    assert all(one in shown for one in found)
    assert r"\noindent Brackets hold 95 \% intervals over videos, by Student's t.\par" in text
    assert r"\scriptsize" not in (report / "report.tex").read_text()


def test_lines_of_a_reason_stay_apart_on_one_line() -> None:
    assert on_one_line("fetch them:\n  fetch a\n  export A=b") == "fetch them: fetch a; export A=b"


def test_exact_copies_in_a_mean_of_psnr_are_told(made: Made) -> None:
    table = table_of(made, subset="S", place="hole", output="raw")
    why = "values are of exact copies, or nearly exact ones, and count as 100 dB"
    assert cell_of(table, "truth", "PSNR").why == f"3 of 3 {why}"
    assert cell_of(table, "dark", "PSNR").why is None
    assert cell_of(table, "truth", "SSIM").why is None
    known = table_of(made, subset="S", place="known", output="composited")
    assert cell_of(known, "darker", "PSNR").why == f"1 of 3 cases: {REASON}; 2 of 2 {why}"
    less = table_of(made, subset="S", place="hole", output="raw", reference="truth")
    assert cell_of(less, "dark", "PSNR").why == f"3 of 3 {why}"


def test_what_cannot_be_measured_says_how_to(made: Made) -> None:
    cell = cell_of(table_of(made, subset="S", place="frame", output="raw"), "dark", "FVID")
    assert cell.value is None
    assert "vpdata models fetch" in cell.why
    edit = table_of(made, subset="edit-S", place="hole", output="raw")
    assert "no truth inside its hole" in cell_of(edit, "dark", "PSNR").why


def test_quoted_rows_have_the_columns_of_the_tables() -> None:
    heads = [column.head for column in columns_of("clean", "frame") if column.is_published]
    assert heads == [
        "PSNR ↑",
        "SSIM ↑",
        "LPIPS x100 ↓",
        "MSE x100 ↓",
        "MAE x100 ↓",
        "CLIP Sim ↑",
        "CLIP Sim (M) ↑",
        "FVID ↓",
    ]
    assert {subset: len(published().of(subset)) for subset in ("S", "L", "davis", "edit-S", "edit-L")} == dict.fromkeys(
        ("S", "L", "davis", "edit-S", "edit-L"), 4
    )
    # PSNR and MSE of one set of frames belong together within what averaging in dB can do.
    assert all(-10 * np.log10(row.values[3] / 100) <= row.values[0] + 1 for row in published().rows)


def test_markdown_states_the_setting_and_escapes_what_others_wrote(report) -> None:
    text = (report / "report.md").read_text()
    assert "Protocol clean" in text
    assert "6 frames a case" in text
    assert "hole grown by 3 px, first frame not given" in text
    assert "| 3 of 4 |" in text
    assert "*VideoPainter, quoted: table 2* | 23.32 | 0.89 |" in text
    assert "(2 of 3)" in text
    assert "vpdata models fetch" in text
    assert r"\<script\>" in text
    assert "<script>" not in text
    widths = {}
    for line in text.splitlines():
        if line.startswith("|"):
            widths.setdefault(len(re.findall(r"(?<!\\)\|", line)), line)
    assert 1 < len(widths) < 8


def test_latex_has_balanced_rows(report) -> None:
    text = (report / "report.tex").read_text()
    assert text.count(r"\begin{tabular}{lrrrrrrrr}") == text.count(r"\end{tabular}") == 2 * 3 * 2
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert all(len(re.findall(r"(?<!\\)&", row)) == 8 for row in rows)
    assert r"VideoPainter (quoted, Table 2) & 23.32 & 0.89 & 6.85" in text
    assert r"\noindent VPBench-S, inpainting; hole, raw: mean over cases; 3 cases\par" in text
    assert "% dark: hole grown by 3 px, first frame not given" in text


def test_videos_hold_every_output_in_its_tile(report, made: Made) -> None:
    bench = open_bench(made.bench)
    truth = bench.sampled(bench.case("s-0"))
    data = json.loads(re.search(r'id="data-bench">(.*?)</script>', (report / "report.html").read_text())[1])
    (one,) = [one for one in data["cases"] if one["id"] == "s-0"]
    media = one["media"]
    width, height = media["size"]
    assert (width, height, media["num_frames"], media["fps"]) == (64, 48, 6, 12)
    frames = ClipReader((report / "report/s-0.mp4").read_bytes()).read()
    hole = truth.masks[..., None]
    wanted = {
        "truth": truth.frames,
        "raw/dark": darker(truth.frames, 25),
        "raw/darker": darker(truth.frames, 51),
        "composited/darker": np.where(hole, darker(truth.frames, 51), truth.frames),
    }
    for name, video in wanted.items():
        x, y = media["tiles"][name]
        tile = frames[:, y * height : (y + 1) * height, x * width : (x + 1) * width]
        assert np.abs(tile.astype(int) - video).mean() < 5, name
    x, y = media["tiles"]["hole"]
    tile = frames[:, y * height : (y + 1) * height, x * width : (x + 1) * width]
    changed = np.abs(tile.astype(int) - truth.frames).sum(axis=-1)
    assert changed[truth.masks].mean() > 4 * changed[~truth.masks].mean()
    poster = cv2.imdecode(np.frombuffer((report / "report/s-0.jpg").read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert poster.shape == (48, 64, 3)
    (broken,) = [one for one in data["cases"] if one["id"] == "s-2"]
    assert "raw/darker" not in broken["media"]["tiles"]
    assert broken["methods"]["darker"]["failed"] == REASON


def test_equal_input_gives_equal_bytes_and_leaves_nothing_old(report, made: Made, tmp_path) -> None:
    Folder(tmp_path).write("report/old.mp4", b"of an older report")
    bench = open_bench(made.bench)
    write_report(bench, made.results, Folder(tmp_path), ReportSettings(reference="truth"))
    files = [
        {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.*")} for root in (report, tmp_path)
    ]
    assert files[0] == files[1]


def test_scores_of_an_older_version_of_the_metrics_are_refused(made: Made, tmp_path) -> None:
    results = make_results(made.bench, tmp_path, ("dark",))
    table = pq.read_table(path := results.root / "scores.parquet")
    state = json.loads(table.schema.metadata[b"scored"]) | {"version of the metrics": "1"}
    metadata = {**table.schema.metadata, b"scored": json.dumps(state).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    with pytest.raises(RunError, match="not of what is there now: version of the metrics differ; run `python -m"):
        read_scores(open_bench(made.bench), results, "clean")


def test_scores_of_something_else_are_refused(made: Made, tmp_path) -> None:
    results = make_results(made.bench, tmp_path, ("dark",))
    bench, again = open_bench(made.bench), r"differ; run `python -m benchmark score --protocol clean` on"
    assert read_scores(bench, results, "clean").methods == ("dark",)
    frames = results.frames("dark", "s-1")
    results.keep("dark", "s-1", 255 - frames, Outcome(status="ok", seconds=2.0), fps=Fraction(12))
    with pytest.raises(RunError, match=rf"not of what is there now: results of dark {again}"):
        read_scores(bench, results, "clean")
    results.keep("dark", "s-1", frames, Outcome(status="ok", seconds=2.0), fps=Fraction(12))
    changed = replace(bench, cases=(replace(bench.cases[0], mask_sha256="0" * 64), *bench.cases[1:]))
    with pytest.raises(RunError, match=rf"not of what is there now: benchmark {again}"):
        read_scores(changed, results, "clean")
    (tmp_path / "dark").rename(tmp_path / "other")
    with pytest.raises(RunError, match=rf"not of what is there now: results of dark, results of other {again}"):
        read_scores(bench, results, "clean")
    table = pq.read_table(tmp_path / "scores.parquet")
    (tmp_path / "other").rename(tmp_path / "dark")
    pq.write_table(table.slice(1), tmp_path / "scores.parquet")
    with pytest.raises(RunError, match="damaged: it lacks rows"):
        read_scores(bench, results, "clean")
    (tmp_path / "scores.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(RunError, match="damaged"):
        read_scores(open_bench(made.bench), results, "clean")
    with pytest.raises(RunError, match=r"scores-paper\.parquet does not exist"):
        read_scores(open_bench(made.bench), results, "paper")


def test_what_cannot_be_used_is_told_and_does_not_spoil_the_rest(made: Made, tmp_path) -> None:
    root, bench = tmp_path / "results", tmp_path / "bench"
    shutil.copytree(made.bench, bench)
    shutil.copytree(made.results.root, root)
    for name in ("aaa", "Bad Name"):
        shutil.copytree(root / "dark", root / name)
    (root / "aaa/method.yaml").unlink()
    (bench / "videos/s-1.mp4").unlink()
    where = ["--bench", str(bench), "--results", str(root)]
    assert main(["score", *where]) == 0
    facts = write_report(open_bench(bench), Results(root), Folder(tmp_path / "report"), ReportSettings(side_px=32))
    problems = {method.name: method.problem for method in facts.methods}
    assert "got the name 'Bad Name'" in problems.pop("Bad Name")
    assert "aaa/method.yaml is missing" in problems.pop("aaa")
    assert problems == {"dark": None, "darker": None, "truth": None}
    assert [(one.seconds, one.peak_memory_mb, one.num_ok) for one in facts.methods[:2]] == [(None, None, 0)] * 2
    text = (tmp_path / "report/report.md").read_text()
    assert "difference from dark, case by case" in text
    assert "| aaa | s-0 | aaa/method.yaml is missing" in text
    assert str(tmp_path) not in text
    assert str(tmp_path) not in (tmp_path / "report/report.html").read_text()
    assert sorted(path.name for path in (tmp_path / "report/report").glob("*.mp4")) == [
        "edit-s-0.mp4", "s-0.mp4", "s-2.mp4",
    ]  # fmt: skip


def test_time_and_memory_say_what_they_are_of(made: Made, tmp_path) -> None:
    root = tmp_path / "results"
    shutil.copytree(made.results.root, root)
    results, bench = Results(root), open_bench(made.bench)
    peaks = {"dark": ("command", None), "darker": ("vpdata", 7000.0), "truth": ("folder", None)}
    for name, (kind, on_gpu) in peaks.items():
        facts = root / name / "method.yaml"
        facts.write_text(facts.read_text().replace("kind: folder", f"kind: {kind}"))
        for seconds, case_id in enumerate(("s-0", "s-1")):
            used = {"seconds": 2.0 + seconds, "peak_memory_mb": 300.0 + seconds, "peak_gpu_memory_mb": on_gpu}
            results.keep_outcome(name, case_id, replace(results.outcome(name, case_id), **used, machine="a machine"))
        for case_id in ("s-2", "edit-s-0"):
            results.keep_failure(name, case_id, Outcome(status="failed", reason="lost"))
    methods = facts_of(bench, results, read_scores(bench, made.results, "clean")).methods
    columns = [METHOD_HEADS.index(head) for head in ("s a case", "peak MB, host", "peak MB, GPU", "machine")]
    assert {one.name: [one.cells[column] for column in columns] for one in methods} == {
        "dark": ["2.50 with start and load", "301", "n/a", "a machine"],
        "darker": ["2.50", "301", "7000", "a machine"],
        "truth": ["n/a"] * 4,
    }


def test_a_method_that_is_called_like_the_folder_of_videos_is_kept(made: Made, tmp_path) -> None:
    results = make_results(made.bench, tmp_path, ("report",))
    with pytest.raises(ConfigError, match="give the method another name"):
        write_report(open_bench(made.bench), results, Folder(tmp_path), ReportSettings())
    assert results.outcome("report", "s-0").status == "ok"


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("/home/ann/results/dark/method.yaml is missing", "dark/method.yaml is missing"),
        ("no weights in /home/ann/vpdata/mine; see https://a.org/b/c", "no weights in mine; see https://a.org/b/c"),
        ('File "/opt/x/run.py", line 3: 30000/1001 fps, timm/vit', 'File "run.py", line 3: 30000/1001 fps, timm/vit'),
        ("open('~/models/a.pt'), s3://bucket/a/b, masks/s-0.json", "open('a.pt'), s3://bucket/a/b, masks/s-0.json"),
    ],
)
def test_reasons_hold_no_folders_of_the_machine(reason, shown) -> None:
    assert public_reason(reason, Path("/home/ann/results")) == shown


def test_command_writes_all_and_names_what_is_not_in_it(made: Made, tmp_path, capsys) -> None:
    options = [
        "--bench",
        str(made.bench),
        "--results",
        str(made.results.root),
        "--output",
        str(tmp_path),
        "--no-videos",
    ]
    assert main(["report", *options]) == 0
    said = capsys.readouterr().out
    assert f"failed: darker on s-2: {REASON}" in said
    assert "n/a: fvid" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.md", "report.tex"]
    assert main(["report", *options, "--reference", "darkk"]) == 1
    assert "did you mean" in capsys.readouterr().err


def test_a_side_that_shows_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 16"):
        ReportSettings(side_px=8)


def test_text_of_others_ends_no_element(report) -> None:
    assert HOSTILE not in (report / "report.html").read_text()


def test_fvid_is_the_distance_of_the_features_of_the_same_cases(made: Made, tmp_path) -> None:
    shutil.copytree(made.results.root, tmp_path / "results")
    results = Results(tmp_path / "results")
    table = pq.read_table(results.root / "scores.parquet")
    rows = table.to_pylist()
    for row in rows:
        if row["metric"] == "fvid" and row["status"] == "n/a" and row["subset"] == "S":
            row |= {"status": "ok", "reason": None, "count": 1, "model": "r3d_18: weights@1"}
    changed = codec.to_table(rows, ScoreRow).replace_schema_metadata(table.schema.metadata)
    pq.write_table(changed, results.root / "scores.parquet")
    folder = Folder(results.root).child("features").child("r3d_18")
    truth = {"s-0": 0.0, "s-1": 2.0, "s-2": 4.0}
    write_features(folder, TRUTH, {TRUTH: vectors(truth)})
    write_features(folder, "dark", {"raw": vectors({"s-0": 1.0, "s-1": 5.0, "s-2": 9.0})})
    write_features(folder, "darker", {"raw": vectors({"s-0": 1.0, "s-1": 5.0})})
    write_features(folder, "truth", {"raw": vectors({"s-0": 0.0, "s-1": 3.0, "s-2": 3.0})})
    table = table_of(Made(bench=made.bench, results=results), subset="S", place="frame", output="raw")
    # One feature: squared difference of the means plus that of the deviations, by hand.
    assert cell_of(table, "dark", "FVID").value == pytest.approx((5 - 2) ** 2 + (4 - 2) ** 2)
    darker_cell = cell_of(table, "darker", "FVID")
    assert darker_cell.value == pytest.approx((3 - 1) ** 2 + (8**0.5 - 2**0.5) ** 2)
    assert darker_cell.num_cases == 2
    assert darker_cell.low is None
    assert [cell_of(table, one, "FVID").is_best for one in ("truth", "dark", "darker")] == [True, False, False]
    # As distances of edits from what they are edits of: nearest is what changes nothing.
    edits = finished(replace(table, subset="edit-S"))
    assert not any(cell_of(edits, one, "FVID").is_best for one in edits.rows)
    assert any(cell_of(edits, one, "PSNR").is_best for one in edits.rows)


def vectors(values: dict[str, float]) -> dict[str, np.ndarray]:
    return {case: np.array([value], dtype=np.float32) for case, value in values.items()}
