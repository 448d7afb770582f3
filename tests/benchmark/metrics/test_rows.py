from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from benchmark.bench import Case
from benchmark.metrics import clean, paper
from benchmark.metrics.networks import Networks
from benchmark.metrics.rows import RowMaker
from benchmark.metrics.truth import Truth
from tests.benchmark.metrics.real_clip import HEIGHT_PX, WIDTH_PX, real_clip
from tests.models.tiny_clip import save_tiny_clip
from vpdata.models.openclip.loading import load_clip


def case_of(num_frames, **changes):
    facts = {
        "id": "one",
        "subset": "S",
        "category": "object",
        "clip_id": "0-0-1",
        "video_id": "0",
        "num_frames": num_frames,
        "fps": Fraction(8),
        "width_px": WIDTH_PX,
        "height_px": HEIGHT_PX,
        "caption": "A street.",
        "object_caption": "a ball",
    }
    return Case(**{**facts, **changes})


def rows_of(output, frames, masks, *, networks=None, protocol="clean", **changes):
    networks = networks or Networks()
    truth = Truth.of(case_of(len(frames), **changes), frames, masks, dilate_px=(0,))
    measure = {"clean": clean.measure, "paper": paper.measure}[protocol]
    maker = RowMaker(
        method="m",
        first_frame_given=False,
        case=truth.case,
        shape=(len(frames), HEIGHT_PX, WIDTH_PX),
        protocol=protocol,
        dilate_px=(0,),
        networks=networks,
    )
    return maker.measured(measure(output, truth, networks), truth)


def reasons(rows, *metrics, region=None):
    chosen = [row for row in rows if row.metric in metrics and region in (None, row.region)]
    assert chosen
    assert all((row.sum is None) == (row.status == "n/a") == (row.count == 0) for row in chosen)
    return {row.reason for row in chosen}


def test_a_single_frame_has_no_neighbours_and_all_else():
    output, truth, holes = (array[:1] for array in real_clip())
    rows = rows_of(output, truth, holes)
    assert reasons(rows, "warping_error", "flicker") == {"a single frame has no neighbours"}
    assert reasons(rows, "psnr", "ssim", "mse", "mae", "seam") == {None}


@pytest.mark.parametrize(
    ("is_full", "region", "reason"),
    [
        (False, "hole", "the hole is empty on every frame that is measured"),
        (True, "known", "the hole is the whole frame"),
    ],
)
def test_an_empty_or_full_hole_leaves_a_region_out(is_full, region, reason):
    output, truth, holes = real_clip()
    rows = rows_of(output, truth, np.full_like(holes, is_full))
    pixels = ("psnr", "ssim", "mse", "mae", "warping_error", "flicker")
    assert reasons(rows, *pixels, region=region) == {reason}
    assert reasons(rows, *pixels, region="frame") == {None}
    assert reasons(rows, "seam") == {reason}


def test_a_hole_on_some_frames_is_measured_there():
    output, truth, holes = real_clip()
    some = holes.copy()
    some[1::2] = False
    rows = rows_of(output, truth, some)
    assert reasons(rows, "psnr", region="hole") == {None}
    (row,) = [row for row in rows if (row.metric, row.region, row.output) == ("mse", "hole", "raw")]
    assert row.count == 3 * some.sum()
    # No two neighbours have it.
    assert reasons(rows, "flicker", region="hole") == {
        "no pixel of this region is on a frame, or on two neighbours, that can be compared"
    }


def test_a_case_without_words_has_no_similarity(tmp_path):
    model = load_clip(str(save_tiny_clip(tmp_path)), None, device="cpu", dtype="float32")
    output, truth, holes = (array[:2] for array in real_clip())
    for protocol in ("clean", "paper"):
        rows = rows_of(output, truth, holes, networks=Networks(clip=model), protocol=protocol, object_caption=" ")
        assert reasons(rows, "clip_similarity", region="hole") == {"the case has no text for it"}
        assert reasons(rows, "clip_similarity", region="frame") == {None}
        if protocol == "clean":
            assert reasons(rows, "temporal_consistency") == {None}


def test_an_edit_of_a_layout_that_names_no_operation_has_no_true_hole():
    rows = rows_of(*real_clip(), instruction="Turn the ball into a dog.")
    pixels = ("psnr", "ssim", "mse", "mae", "warping_error", "flicker")
    for region in ("frame", "hole"):
        assert reasons(rows, *pixels, region=region) == {"an edit has no truth inside its hole"}
    assert reasons(rows, *pixels, region="known") == {None}


def test_an_edit_is_compared_with_what_it_should_become(tmp_path):
    model = load_clip(str(save_tiny_clip(tmp_path)), None, device="cpu", dtype="float32")
    output, truth, holes = (array[:2] for array in real_clip())
    edit = {"operation": "swap", "instruction": "x", "target_caption": "A dog.", "target_object": "a dog"}
    plain = {"caption": "A dog.", "object_caption": "a dog"}
    for protocol in ("clean", "paper"):
        sums = [
            [row.sum for row in rows if row.metric == "clip_similarity"]
            for rows in (
                rows_of(output, truth, holes, networks=Networks(clip=model), protocol=protocol, **changes)
                for changes in (edit, plain, {})
            )
        ]
        assert sums[0] == sums[1] != sums[2]


def test_clean_scores_see_a_hole_beside_the_middle_square_and_a_wide_one_to_its_ends(tmp_path):
    model = load_clip(str(save_tiny_clip(tmp_path)), None, device="cpu", dtype="float32")
    _, truth, holes = (array[:2] for array in real_clip())
    # 256 x 144 px: the hole is wider than the frame is high, so the view of it is no square.
    holes = np.zeros_like(holes)
    holes[:, 60:80, 10:240] = True
    changed = truth.copy()
    changed[:, 60:80, 10:40] = 255 - changed[:, 60:80, 10:40]
    for protocol, does_see in (("clean", True), ("paper", False)):
        first, second = (
            {
                row.region: row.sum
                for row in rows_of(output, truth, holes, networks=Networks(clip=model), protocol=protocol)
                if row.metric == "clip_similarity" and row.output == "raw"
            }
            for output in (truth, changed)
        )
        assert {place: first[place] != pytest.approx(second[place], abs=1e-3) for place in first} == {
            "frame": does_see,
            "hole": does_see,
        }
