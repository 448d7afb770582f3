"""What a method is given, and what becomes of its answer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmark.bench import Case, video_file
from benchmark.methods.command import Command, CommandSettings
from benchmark.methods.port import Prompts
from benchmark.methods.settings import MethodSettings
from benchmark.methods.worker import GREY, Job, given, prompts_of
from benchmark.results import Frames, MethodRecord, Outcome, Results
from tests.benchmark.benches import MadeBench, make_bench
from vpdata.errors import BackendError
from vpdata.inpaint.any_length import Masks


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeBench:
    return make_bench(tmp_path_factory.mktemp("bench"), num_short=1, num_long=0)


class Answering:
    """A `Method` that keeps what it was given."""

    def __init__(self, answer: Callable[[Frames, Masks], Any]) -> None:
        self._answer = answer

    def inpaint(self, frames: Frames, masks: Masks, prompts: Prompts) -> Any:
        self.frames, self.masks, self.prompts = frames.copy(), masks.copy(), prompts
        return self._answer(frames, masks)


def job_for(made: MadeBench, output: Path, **settings: Any) -> tuple[Job, Results]:
    results = Results(output)
    results.begin(MethodRecord(name="answering", kind="copy", settings={}, bench="0"))
    job = Job(name="answering", settings=MethodSettings(kind="copy", **settings), bench=made.bench, results=output)
    return job, results


def test_an_answer_is_kept_with_its_time_and_memory(made: MadeBench, tmp_path: Path) -> None:
    job, results = job_for(made, tmp_path)
    case = made.bench.case("s-0")
    method = Answering(lambda frames, masks: 255 - frames)
    outcome = kept(job, results, method, case)
    assert outcome.status == "ok"
    assert results.outcome("answering", "s-0").status == "ok"
    assert outcome.seconds is not None
    assert 0 <= outcome.seconds < 60
    assert (outcome.peak_memory_mb or 0) > 50
    assert outcome.machine
    np.testing.assert_array_equal(results.frames("answering", "s-0", shape=(9, 48, 64)), 255 - method.frames)


def test_the_peak_is_that_of_the_case(made: MadeBench, tmp_path: Path) -> None:
    job, _ = job_for(made, tmp_path)
    case = made.bench.case("s-0")

    def hungry(frames: Frames, masks: Masks) -> Frames:
        return frames + np.uint8(np.ones(400_000_000, np.uint8).max() - 1)

    peaks = [job.run(Answering(answer), case).peak_memory_mb or 0 for answer in (hungry, lambda frames, _: frames)]
    assert peaks[0] > peaks[1] + 300


def test_the_peak_is_that_of_the_programs_of_the_case(made: MadeBench, tmp_path: Path) -> None:
    job, _ = job_for(made, tmp_path)
    case = made.bench.case("s-0")
    own = job.run(Answering(lambda frames, _: frames), case).peak_memory_mb or 0

    def peak_with_a_program_of(num_mb: float) -> float:
        code = "import sys; sys.exit(len(b'1' * int(sys.argv[1])) == 0)"
        arguments = (code, str(int(num_mb * 1e6)), "{frames}", "{masks}", "{output}")
        command = Command(CommandSettings(command=(sys.executable, "-c", *arguments)))
        return job.run(command, case).peak_memory_mb or 0

    large, small = peak_with_a_program_of(own + 400), peak_with_a_program_of(1)
    assert large > own + 300
    assert small < own + 200


def test_looking_up_what_was_made_elsewhere_is_no_time_or_memory_of_the_method(made: MadeBench, tmp_path: Path) -> None:
    settings = MethodSettings(kind="folder", options={"folder": str(tmp_path)})
    job = Job(name="answering", settings=settings, bench=made.bench, results=tmp_path)
    outcome = job.run(Answering(lambda frames, _: frames), made.bench.case("s-0"))
    assert outcome.status == "ok"
    assert (outcome.seconds, outcome.peak_memory_mb, outcome.peak_gpu_memory_mb, outcome.machine) == (None,) * 4


def test_nobody_sees_what_is_to_be_filled(made: MadeBench, tmp_path: Path) -> None:
    method = Answering(lambda frames, masks: frames)
    job_for(made, tmp_path)[0].run(method, made.bench.case("s-0"))
    np.testing.assert_array_equal(method.masks, made.masks["s-0"])
    assert np.all(method.frames[method.masks] == GREY)
    known = ~method.masks
    difference = method.frames[known].astype(int) - made.frames["s-0"][known]
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("dilate_px", [5, -3])
def test_the_hole_is_grown_or_shrunk_before_a_method_gets_it(made: MadeBench, dilate_px: int) -> None:
    sampled = made.bench.sampled(made.bench.case("s-0"))
    _, masks = given(sampled, MethodSettings(kind="copy", dilate_px=dilate_px), is_edit=False)
    radius = abs(dilate_px)
    offsets = np.arange(-radius, radius + 1)
    disc = (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.uint8)
    change = cv2.dilate if dilate_px > 0 else cv2.erode
    wanted = [change(mask.astype(np.uint8), disc) > 0 for mask in made.masks["s-0"]]
    np.testing.assert_array_equal(masks, np.stack(wanted))


def test_a_given_first_frame_is_the_true_one_and_has_no_hole(made: MadeBench) -> None:
    sampled = made.bench.sampled(made.bench.case("s-0"))
    frames, masks = given(sampled, MethodSettings(kind="copy", give_first_frame=True), is_edit=False)
    np.testing.assert_array_equal(frames[0], sampled.frames[0])
    assert not masks[0].any()
    np.testing.assert_array_equal(masks[1:], sampled.masks[1:])
    assert sampled.masks[0].any()


def test_the_first_frame_of_an_edit_keeps_its_hole(made: MadeBench, tmp_path: Path) -> None:
    job, _ = job_for(made, tmp_path, give_first_frame=True)
    method = Answering(lambda frames, masks: frames)
    assert job.run(method, made.bench.case("edit-s-0")).status == "ok"
    assert made.masks["edit-s-0"][0].any()
    np.testing.assert_array_equal(method.masks, made.masks["edit-s-0"])
    assert np.all(method.frames[method.masks] == GREY)


def test_an_edit_is_described_as_it_should_be(made: MadeBench) -> None:
    edit = made.bench.case("edit-s-0")
    assert prompts_of(edit) == Prompts(case_id="edit-s-0", video="A green ball moves.", region="a green ball")
    plain = made.bench.case("s-0")
    assert prompts_of(plain) == Prompts(case_id="s-0", video=plain.caption, region=plain.object_caption)
    background = replace(plain, object_caption="")
    assert prompts_of(background) == Prompts(case_id="s-0", video=plain.caption, region=plain.caption)


def kept(job: Job, results: Results, method: Answering, case: Case) -> Outcome:
    """As the crew does."""
    outcome = job.run(method, case)
    keep = results.keep_outcome if outcome.status == "ok" else results.keep_failure
    keep(job.name, case.id, outcome)
    return outcome


def _raise(error: Exception) -> Any:
    raise error


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda frames, masks: frames[:-1], r"uint8 \[8, 48, 64, 3\], wanted uint8 \[9, 48, 64, 3\]"),
        (lambda frames, masks: frames[:, :, 1:], r"uint8 \[9, 48, 63, 3\], wanted"),
        (lambda frames, masks: frames[..., :1], r"uint8 \[9, 48, 64, 1\], wanted"),
        (lambda frames, masks: frames / 255, r"float64 \[9, 48, 64, 3\], wanted uint8"),
        (lambda frames, masks: np.full(frames.shape, np.nan), "82944 values of 82944 that are NaN"),
        (lambda frames, masks: None, "gave a NoneType, wanted an array"),
        (lambda frames, masks: list(frames), "gave a list, wanted an array"),
        (lambda frames, masks: _raise(ValueError("bad luck")), "^ValueError: bad luck$"),
        (lambda frames, masks: _raise(MemoryError()), "^MemoryError: "),
        (lambda frames, masks: _raise(BackendError("the model is tired")), "^the model is tired$"),
        (lambda frames, masks: _raise(RuntimeError("x" * 10_000)), "^RuntimeError: x{900}"),
    ],
)
def test_a_wrong_answer_is_a_failure_with_the_reason(
    made: MadeBench, tmp_path: Path, answer: Callable[[Frames, Masks], Any], reason: str
) -> None:
    job, results = job_for(made, tmp_path)
    case = made.bench.case("s-0")
    kept(job, results, Answering(lambda frames, masks: frames), case)
    outcome = kept(job, results, Answering(answer), case)
    assert outcome.status == "failed"
    assert outcome == results.outcome("answering", "s-0")
    assert len(outcome.reason or "") <= 1000
    with pytest.raises(Exception, match=reason):
        results.frames("answering", "s-0")
    assert not results.video("answering", "s-0").exists()


def test_a_case_that_cannot_be_read_is_a_failure_too(tmp_path: Path) -> None:
    made = make_bench(tmp_path / "bench", num_short=1, num_long=0, num_edits=0)
    tmp_path.joinpath("bench", video_file("s-0")).write_bytes(b"no video")
    job, results = job_for(made, tmp_path / "results")
    kept(job, results, Answering(lambda frames, masks: frames), made.bench.case("s-0"))
    assert "the case itself cannot be read" in (results.outcome("answering", "s-0").reason or "")


def test_a_case_is_not_finished_before_its_outcome_is_kept(made: MadeBench, tmp_path: Path) -> None:
    job, results = job_for(made, tmp_path)
    job.run(Answering(lambda frames, masks: frames), made.bench.case("s-0"))
    assert not results.has_outcome("answering", "s-0")


def test_a_method_cannot_change_the_benchmark_in_memory(made: MadeBench) -> None:
    sampled = made.bench.sampled(made.bench.case("s-0"))
    frames, masks = given(sampled, MethodSettings(kind="copy"), is_edit=False)
    assert not np.shares_memory(frames, sampled.frames)
    assert not np.shares_memory(masks, sampled.masks)
