from __future__ import annotations

import re
import shutil
from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmark.__main__ import main
from benchmark.metrics.feature_files import TRUTH, fvid, read_features
from benchmark.metrics.frechet import frechet_distance
from benchmark.results import MethodRecord, Outcome, Results
from benchmark.running import fingerprint
from tests.benchmark.benches import make_bench
from tests.benchmark.metrics.networks import save_head, save_trunk, save_video_network
from tests.models.tiny_clip import save_tiny_clip
from vpdata.models.weights import WEIGHTS_VARIABLE
from vpdata.storage import Folder

OK = Outcome(status="ok", seconds=1.0, peak_memory_mb=1.0)
PIXELS = ("psnr", "ssim", "mse", "mae")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three short cases and an edit."""
    return make_bench(tmp_path_factory.mktemp("bench"), num_short=3, num_long=0, num_edits=1, num_frames=6)


@pytest.fixture
def results(made, tmp_path, monkeypatch):
    """Of `copy`, which gives the truth back, and of `darker`, which is 51 grey levels darker where it can be."""
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    results = Results(tmp_path / "results")
    for method, is_given in (("copy", True), ("darker", False)):
        begin(results, method, made.bench, first_frame_given=is_given, given_version=2)
        for case in made.bench.cases:
            keep(results, method, case.id, output_of(method, made.bench.sampled(case).frames))
    return results


def begin(results, method, bench, **facts):
    results.begin(MethodRecord(name=method, kind="folder", settings={}, bench=fingerprint(bench), **facts))


def keep(results, method, case_id, frames):
    results.keep(method, case_id, frames, OK, fps=Fraction(12))


def output_of(method, truth):
    return truth.copy() if method == "copy" else truth - np.minimum(truth, 51)


def score(made, results, *options):
    assert main(["score", "--bench", str(made.folder), "--results", str(results.root), *options]) == 0


def rows_of(results, table="scores.parquet", **wanted):
    rows = pq.read_table(results.root / table).to_pylist()
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def row_of(results, table="scores.parquet", **wanted):
    (row,) = rows_of(results, table, **wanted)
    return row


def mean_of(results, table="scores.parquet", **wanted):
    row = row_of(results, table, **wanted)
    assert row["status"] == "ok", row["reason"]
    return row["sum"] / row["count"]


def darker_errors(made, case_id, where):
    """By hand: what is left of 51 grey levels, in [0, 1], on the pixels of a boolean array, which lacks frame 0."""
    case = made.bench.case(case_id)
    truth = made.bench.sampled(case).frames
    return np.minimum(truth[1:], 51)[where] / 255


def test_rows_are_what_their_pixels_say(made, results):
    score(made, results)
    case = made.bench.case("s-1")
    masks = made.bench.sampled(case).masks[1:]
    for region, where in (("frame", np.ones_like(masks)), ("known", ~masks), ("hole", masks)):
        errors = darker_errors(made, "s-1", where)
        raw = {"method": "darker", "case": "s-1", "region": region, "output": "raw"}
        assert mean_of(results, metric="mae", **raw) == pytest.approx(errors.mean())
        assert mean_of(results, metric="mse", **raw) == pytest.approx(np.square(errors).mean())
        assert mean_of(results, metric="psnr", **raw) == pytest.approx(-10 * np.log10(np.square(errors).mean()))
        assert row_of(results, metric="mse", **raw)["count"] == errors.size
    composited = {"method": "darker", "case": "s-1", "output": "composited"}
    assert mean_of(results, metric="mae", region="known", **composited) == 0
    inside = darker_errors(made, "s-1", masks).sum() / masks.size / 3
    assert mean_of(results, metric="mae", region="frame", **composited) == pytest.approx(inside)


def test_a_true_first_frame_makes_a_method_no_better(made, results):
    cases = [case for case in made.bench.cases if case.subset == "S"]
    for case in cases:
        truth = made.bench.sampled(case).frames
        keep(results, "copy", case.id, np.concatenate([truth[:1], output_of("darker", truth)[1:]]))
    score(made, results)
    for case in cases:
        given, own = ([row["sum"] for row in rows_of(results, method=one, case=case.id)] for one in ("copy", "darker"))
        assert given == own
        assert len([one for one in own if one]) > 20
    # As published, it counts as if it had been filled.
    score(made, results, "--protocol", "paper")
    row = {"table": "scores-paper.parquet", "case": "s-0", "metric": "mae", "region": "frame", "output": "raw"}
    assert mean_of(results, method="copy", **row) < mean_of(results, method="darker", **row)


def test_of_a_single_frame_there_is_nothing_to_measure(tmp_path):
    made, results = make_bench(tmp_path / "bench", num_long=0, num_edits=0, num_frames=1), Results(tmp_path / "results")
    begin(results, "copy", made.bench)
    for case in made.bench.cases:
        keep(results, "copy", case.id, made.bench.sampled(case).frames)
    score(made, results)
    assert {(row["status"], row["reason"]) for row in rows_of(results, metric="mse")} == {
        ("n/a", "the case has one frame alone, the first, which is not measured")
    }


def test_a_perfect_copy_has_no_error_and_every_row_says_what_it_is_of(made, results):
    score(made, results)
    for metric in ("mse", "mae", "flicker", "seam"):
        assert all(row["sum"] == 0 for row in rows_of(results, method="copy", metric=metric, status="ok"))
    row = row_of(results, method="copy", case="s-0", metric="psnr", region="hole", output="raw")
    assert (row["sum"], row["count"], row["unit"], row["status"], row["reason"]) == (100, 1, "dB", "ok", None)
    assert (row["num_frames"], row["height_px"], row["width_px"]) == (6, 48, 64)
    assert (row["protocol"], row["subset"], row["dilate_px"], row["model"]) == ("clean", "S", 0, None)
    assert row["first_frame_given"]
    assert not row_of(results, method="darker", case="s-0", metric="psnr", region="hole", output="raw")[
        "first_frame_given"
    ]
    edit = row_of(results, method="copy", case="edit-s-0", metric="psnr", region="known", output="raw")
    assert not edit["first_frame_given"], "an edit has none"
    flow = row_of(results, method="copy", case="s-0", metric="warping_error", region="frame", output="raw")
    assert "DIS" in flow["model"]
    metadata = pq.read_schema(results.root / "scores.parquet").metadata
    assert metadata[b"range of mse"] == b"pixels in [0, 1]; value in [0, 1]"


def test_every_method_and_case_has_the_same_rows_whatever_became_of_it(made, results):
    results.video("darker", "s-0").write_bytes(b"")
    score(made, results)
    keys = ("metric", "region", "output", "dilate_px")
    of_copy = [tuple(row[key] for key in keys) for row in rows_of(results, method="copy", case="s-1")]
    assert len(set(of_copy)) == len(of_copy) > 40
    for method in ("copy", "darker"):
        for case in made.bench.cases:
            assert [tuple(row[key] for key in keys) for row in rows_of(results, method=method, case=case.id)] == of_copy


def test_without_weights_a_metric_is_not_there_and_the_command_is(made, results, capsys):
    score(made, results)
    commands = {
        "lpips": "vpdata models fetch squeezenet1_1 lpips-squeeze --to",
        "clip_similarity": "vpdata models fetch timm/vit_large_patch14_clip_224.openai --to",
        "temporal_consistency": "vpdata models fetch timm/vit_large_patch14_clip_224.openai --to",
        "fvid": "vpdata models fetch i3d-rgb-imagenet --to",
    }
    printed = capsys.readouterr().out
    for metric, command in commands.items():
        rows = rows_of(results, metric=metric)
        assert rows
        for row in rows:
            assert (row["status"], row["sum"], row["count"]) == ("n/a", None, 0)
            assert command in row["reason"]
        assert f"n/a: {metric}: " in printed
    assert not (results.root / "features").exists()


@pytest.fixture
def weights(tmp_path):
    """Of LPIPS and CLIP, random and small where there is a choice."""
    root = tmp_path / "weights"
    save_trunk(root, "squeeze")
    save_head(root, "squeeze")
    (root / "clip").mkdir()
    save_tiny_clip(root / "clip")
    return ["--weights", str(root), "--set", f"clip.weights={root / 'clip'}", "--set", "device=cpu"]


def test_with_weights_all_metrics_are_measured(made, results, weights):
    score(made, results, *weights)
    assert {row["metric"] for row in rows_of(results, subset="S") if row["status"] != "ok"} == {"fvid"}
    copy = {"method": "copy", "case": "s-0", "output": "raw"}
    assert mean_of(results, metric="lpips", region="hole", **copy) == 0
    assert mean_of(results, metric="lpips", region="hole", **{**copy, "method": "darker"}) > 0
    assert row_of(results, metric="lpips", region="hole", **copy)["model"] == (
        "squeezenet1_1@0123456789ab, lpips-squeeze@0123456789ab"
    )
    similarity = row_of(results, metric="clip_similarity", region="frame", **copy)
    assert similarity["count"] == 5
    assert re.fullmatch("clip@[0-9a-f]{12}", similarity["model"])
    assert row_of(results, metric="temporal_consistency", region="frame", **copy)["count"] == 4


@pytest.mark.slow
def test_features_are_kept_and_give_the_distance(made, results, weights, tmp_path):
    save_video_network(tmp_path / "weights", "r3d_18")
    score(made, results, *weights, "--set", "fvid.network=r3d_18", "--set", "fvid.weights=r3d_18")
    row = row_of(results, metric="fvid", method="copy", case="s-0", output="raw")
    assert (row["sum"], row["count"], row["model"]) == (None, 1, "r3d_18: r3d_18@0123456789ab")
    folder = Folder(results.root / "features/r3d_18")
    truth = read_features(folder, TRUTH, TRUTH)
    ids = [case.id for case in made.bench.cases]
    assert list(truth) == ids
    assert fvid(folder, "copy", "raw", 0, ids).value == pytest.approx(0, abs=1e-3)
    darker = read_features(folder, "darker", "composited-0")
    found = fvid(folder, "darker", "composited", 0, ids[:3])
    by_hand = frechet_distance(*(np.stack([some[name] for name in ids[:3]]) for some in (truth, darker)))
    assert found == by_hand
    assert found.num_videos == (3, 3)
    assert "3 videos for 512 features" in found.warning
    assert fvid(folder, "darker", "composited", 0, ids[:1]).value is None
    assert fvid(folder, "nobody", "raw", 0, ids).num_videos == (0, 0)


def test_a_result_that_cannot_be_used_is_rows_with_the_reason_and_no_other_is_touched(made, results):
    cases = {case.id: made.bench.sampled(case).frames for case in made.bench.cases}
    keep(results, "darker", "s-0", cases["s-0"][:-1])
    keep(results, "darker", "s-1", cases["s-1"][:, :-2])
    results.video("darker", "s-2").write_bytes(results.video("darker", "s-2").read_bytes()[:-100])
    results.keep_failure("darker", "edit-s-0", Outcome(status="failed", reason="got NaN in frame 3"))
    begin(results, "unfinished", made.bench)
    keep(results, "unfinished", "s-0", cases["s-0"])
    score(made, results)
    reasons = {
        ("darker", "s-0"): "got 5 frames of 64 x 48 px, wanted 6 frames",
        ("darker", "s-1"): "got 6 frames of 64 x 46 px",
        ("darker", "s-2"): "has other bytes than were written",
        ("darker", "edit-s-0"): "got NaN in frame 3",
        ("unfinished", "s-1"): "not run on this case",
    }
    for (method, case), reason in reasons.items():
        rows = rows_of(results, method=method, case=case)
        assert {(row["status"], row["sum"], row["count"]) for row in rows} == {("failed", None, 0)}
        assert all(reason in row["reason"] for row in rows)
    assert {row["status"] for row in rows_of(results, method="unfinished", case="s-0")} == {"ok", "n/a"}
    assert not rows_of(results, method="copy", status="failed")


def test_two_methods_with_one_name_and_results_on_another_benchmark_are_told(made, results, tmp_path):
    (results.root / "darker").rename(results.root / "brighter")
    other = make_bench(tmp_path / "other", num_short=1, num_long=0, num_edits=0, num_frames=4)
    begin(results, "elsewhere", other.bench)
    score(made, results)
    for method, reason in (("brighter", "is of the method 'darker'"), ("elsewhere", "results on another benchmark")):
        rows = rows_of(results, method=method)
        assert rows
        assert {row["status"] for row in rows} == {"failed"}
        assert all(reason in row["reason"] for row in rows)
    assert mean_of(results, method="copy", case="s-0", metric="mse", region="hole", output="raw") == 0


def test_results_without_a_record_or_a_proper_name_are_rows_with_the_reason(made, results):
    (results.root / "darker/method.yaml").unlink()
    (results.root / "copy").rename(results.root / "My Method")
    score(made, results)
    for method, reason in (("darker", "darker/method.yaml is missing"), ("My Method", "got the name 'My Method'")):
        rows = rows_of(results, method=method)
        assert {row["case"] for row in rows} == {case.id for case in made.bench.cases}
        assert {row["status"] for row in rows} == {"failed"}
        assert all(reason in row["reason"] for row in rows)


@pytest.mark.parametrize("name", ["videos/s-0.mp4", "masks/s-0.json"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_case_that_cannot_be_read_costs_no_other(made, results, tmp_path, name, is_there, capsys):
    folder = tmp_path / "bench"
    shutil.copytree(made.folder, folder)
    if is_there:
        (folder / name).write_bytes((folder / name).read_bytes()[:-5])
    else:
        (folder / name).unlink()
    assert main(["score", "--bench", str(folder), "--results", str(results.root)]) == 0
    assert "2 have no usable frames" in capsys.readouterr().out
    for method in ("copy", "darker"):
        rows = rows_of(results, method=method, case="s-0")
        assert {(row["status"], row["num_frames"], row["height_px"]) for row in rows} == {("failed", 6, 48)}
        assert all(row["reason"].startswith("the case itself cannot be read: ") for row in rows)
        assert name in rows[0]["reason"]
        assert mean_of(results, method=method, case="s-1", metric="mse", region="hole", output="raw") >= 0


def test_only_what_is_missing_or_changed_is_measured(made, results, capsys):
    score(made, results)
    first = (results.root / "scores.parquet").read_bytes()
    assert "8 results measured, 0 as measured before" in capsys.readouterr().out
    score(made, results)
    assert "0 results measured, 8 as measured before" in capsys.readouterr().out
    assert (results.root / "scores.parquet").read_bytes() == first
    keep(results, "darker", "s-1", made.bench.sampled(made.bench.case("s-1")).frames)
    score(made, results)
    assert "1 results measured, 7 as measured before" in capsys.readouterr().out
    assert mean_of(results, method="darker", case="s-1", metric="mse", region="hole", output="raw") == 0
    damaged = results.root / "scored/clean/copy/s-0.json"
    damaged.write_bytes(damaged.read_bytes()[:50])
    score(made, results)
    assert "1 results measured, 7 as measured before" in capsys.readouterr().out
    score(made, results, "--dilate", "2")
    assert "8 results measured, 0 as measured before" in capsys.readouterr().out


def test_an_edit_has_known_pixels_to_compare_and_no_true_hole(made, results):
    score(made, results)
    edit = {"method": "darker", "case": "edit-s-0", "output": "raw"}
    for metric in (*PIXELS, "warping_error", "flicker"):
        for region in ("frame", "hole"):
            row = row_of(results, metric=metric, region=region, **edit)
            assert (row["status"], row["sum"]) == ("n/a", None)
            assert row["reason"] == "an edit has no truth inside its hole"
        assert row_of(results, metric=metric, region="known", **edit)["status"] == "ok"


def test_holes_grow_before_they_are_measured(made, results):
    score(made, results, "--dilate", "0,3")
    masks = made.bench.sampled(made.bench.case("s-0")).masks[1:]
    rows = rows_of(results, method="darker", case="s-0", metric="mse", region="hole", output="composited")
    counts = {row["dilate_px"]: row["count"] for row in rows}
    assert counts[0] == 3 * masks.sum()
    near = np.zeros_like(masks)
    for index, y, x in zip(*np.nonzero(masks), strict=True):
        for down in range(-3, 4):
            for right in range(-3, 4):
                if down**2 + right**2 <= 9 and 0 <= y + down < 48 and 0 <= x + right < 64:
                    near[index, y + down, x + right] = True
    assert counts[3] == 3 * near.sum()
    whole = {"method": "darker", "case": "s-0", "metric": "mae", "region": "frame", "output": "composited"}
    assert mean_of(results, dilate_px=3, **whole) > mean_of(results, dilate_px=0, **whole)


def test_the_papers_protocol_is_its_code_and_says_so(made, results, capsys):
    score(made, results, "--protocol", "paper")
    assert "VideoPainter's published definitions, their one-sided mask included" in capsys.readouterr().out
    table = "scores-paper.parquet"
    sampled = made.bench.sampled(made.bench.case("s-0"))
    output = output_of("darker", sampled.frames)
    one_sided = np.where(sampled.masks[..., None], 0, output)
    for place, frames in (("frame", output), ("one_sided", one_sided)):
        squared = np.square(frames / 255 - sampled.frames / 255).mean(axis=(1, 2, 3))
        row = {"method": "darker", "case": "s-0", "region": place, "output": "raw"}
        # Per frame, and over frames then.
        assert row_of(results, table, metric="psnr", **row)["count"] == 6
        assert mean_of(results, table, metric="psnr", **row) == pytest.approx(np.mean(-10 * np.log10(squared)))
        assert mean_of(results, table, metric="mse", **row) == pytest.approx(squared.mean())
    # The defect: even the truth itself has an error, its own hole.
    hole = np.square(np.where(sampled.masks[..., None], sampled.frames, 0) / 255).mean()
    copy = {"method": "copy", "case": "s-0", "region": "one_sided", "output": "raw", "metric": "mse"}
    assert mean_of(results, table, **copy) == pytest.approx(hole)
    assert hole > 0.001
    assert {row["protocol"] for row in rows_of(results, table)} == {"paper"}
    assert {row["region"] for row in rows_of(results, table, metric="ssim")} == {"frame", "one_sided"}
    assert not (results.root / "scores.parquet").exists()
    # Published tables hold edits too, compared with the video before the edit.
    assert (
        row_of(results, table, method="copy", case="edit-s-0", metric="psnr", region="frame", output="raw")["sum"]
        == 600
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dilate", "0,-2"], "wanted different numbers from 0 on"),
        (["--dilate", "x"], "dilate_px"),
        (["--set", "lpips.trunk=vgg"], "wanted one of 'squeeze', 'alex'"),
        (["--set", "fvid.netwerk=i3d"], "did you mean 'network'"),
    ],
)
def test_bad_settings_are_named(made, results, capsys, options, message):
    assert main(["score", "--bench", str(made.folder), "--results", str(results.root), *options]) != 0
    assert message in capsys.readouterr().err
