"""VPBench-L at its published length: shots of over 30 s whose frames and masks are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from benchmark.__main__ import main as benchmark
from benchmark.bench import Case, open_bench
from benchmark.footage import read_video, scene, write_video
from vpdata.cli import main
from vpdata.dataset.split import read_split
from vpdata.records import video_id

pytestmark = pytest.mark.slow

FPS = 6
SIZE = {"height_px": 96, "width_px": 160, "size_frac": 0.4}
NUM_FRAMES = {"two.mp4": 204, "late.mp4": 192, "changed.mp4": 192}
"""34, 32 and 32 s, each one shot: two objects that cross; one, and another in the last quarter; one."""
BUILD = """
cut: {min_s: 2, max_s: 10}
detect: {interval_s: 2, tagger: {name: fixed, options: {labels: [moving object]}}}
"""
"""Looking for people and faces would take half of the time."""
SETTINGS = (
    "num_short=0", "num_long=2", "num_short_edits=0", "num_long_edits=2", "max_held_out_frac=1", "look_alike_frac=0",
    "seed=0",
)  # fmt: skip
"""Lengths of long cases are the defaults. With this seed `late` is drawn for its two objects first."""


def drawn(name: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Frames and masks [K, T, H, W] of a source, played forwards and backwards twice: an object stays in sight."""
    num_frames = NUM_FRAMES[name]
    footage = scene("crossing" if name == "two.mp4" else "plain", seed=len(name), num_frames=num_frames // 4, **SIZE)
    order = np.tile(np.r_[: num_frames // 4, num_frames // 4 - 1 : -1 : -1], 2)
    frames, masks = footage.frames[order], footage.masks[:, order]
    if name == "late.mp4":
        start = num_frames * 3 // 4
        late = scene("plain", seed=4, num_frames=num_frames - start, backdrop=frames[start:], **SIZE)
        frames[start:] = late.frames
        second = np.zeros_like(masks)
        second[0, start:] = late.masks[0]
        masks = np.concatenate([masks & ~second, second])
    return frames, masks


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Folder of sources, and of their run with a benchmark; one source was changed in between."""
    root = tmp_path_factory.mktemp("long")
    sources, run = root / "src", root / "run"
    sources.mkdir()
    for name in NUM_FRAMES:
        write_video(sources / name, drawn(name)[0], fps=FPS)
    (root / "build.yaml").write_text(BUILD)
    command = ["build", "--input", str(sources), "--output", str(run), "--config", str(root / "build.yaml")]
    assert main([*command, "--engine", "local"]) == 0
    write_video(sources / "changed.mp4", read_video(sources / "changed.mp4")[::-1], fps=FPS)
    sets = [part for one in SETTINGS for part in ("--set", one)]
    assert benchmark(["make", "--run", str(run), "--input", str(sources), *sets]) == 0
    return root


def name_of(case: Case) -> str:
    return next(name for name in NUM_FRAMES if video_id(name) == case.video_id)


def iou(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((found & truth).sum() / (found | truth).sum())


def test_long_cases_are_whole_shots_of_the_sources(made):
    bench = open_bench(made / "run/vpbench")
    assert [(case.subset, name_of(case)) for case in bench.cases] == [
        ("edit-L", "late.mp4"), ("edit-L", "two.mp4"), ("L", "late.mp4"), ("L", "two.mp4")
    ]  # fmt: skip
    for case in bench.cases:
        assert case.num_frames == NUM_FRAMES[name_of(case)]
        assert 30 <= case.num_frames / case.fps <= 40
        assert len(bench.sampling.frames_of(case)) == case.num_frames, "the whole length, though short ones have 49"
        source, frames = (
            one.astype(np.int16) for one in (read_video(made / "src" / name_of(case)), bench.frames(case))
        )
        errors = [np.abs(frames - np.roll(source, shift, axis=0)).mean() for shift in (-1, 0, 1)]
        assert errors[1] < 5, "of 255: the loss of one encoding"
        assert errors[1] < 0.9 * min(errors[0], errors[2])


def test_masks_follow_what_is_there_from_the_first_frame_to_the_last(made):
    bench = open_bench(made / "run/vpbench")
    found = {case.category: bench.masks(case) for case in bench.cases if case.subset == "L"}
    masks = drawn("two.mp4")[1]
    both = masks[0] | masks[1]
    assert iou(found["multi"], both) > 0.85
    assert min(map(iou, found["multi"], both)) > 0.6
    first, _ = drawn("late.mp4")[1]
    assert found["landscape"].any(axis=(1, 2)).all()
    assert (found["landscape"] & first).sum() < 0.02 * first.sum(), "cut clear of what was followed"


def test_shot_that_does_not_show_what_it_was_drawn_for_is_listed_and_so_is_a_changed_source(made):
    facts = yaml.safe_load((made / "run/vpbench/bench.yaml").read_text())
    listed = {(one["id"].split("-")[0], one["why"]): one["detail"] for one in facts["unusable"]}
    assert set(listed) == {(video_id("late.mp4"), "mask"), (video_id("changed.mp4"), "source_changed")}
    assert listed[video_id("late.mp4"), "mask"] == (
        "drawn as multi, and followed as a whole it shows object, landscape alone"
    )
    assert facts["sizes"] == {"L": 2, "edit-L": 2}
    assert facts["categories"] == {"landscape": 1, "multi": 1}


def test_sources_are_held_out(made, capsys):
    split = read_split(f"{made}/run/splits/vpbench.parquet")
    assert split.videos == {video_id("two.mp4"), video_id("late.mp4")}
    assert main(["check", str(made / "run")]) == 0
    assert "all is well" in capsys.readouterr().out
