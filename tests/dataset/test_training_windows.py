"""Windows of clips, against spans worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from vpdata.dataset.training_windows import TrainingWindow, WindowSettings, plan_windows

NTSC = Fraction(24000, 1001)


def spans(num_frames: int, fps: Fraction = Fraction(24), **settings) -> dict[str, tuple[int, int]]:
    """Name to half-open span in steps."""
    plan = plan_windows(num_frames, fps, WindowSettings(**settings), stride_t=4)
    return {one.name: (one.start_step, one.start_step + one.num_frames) for one in plan.windows}


def test_ten_seconds_give_first_last_and_the_longest_pair() -> None:
    # 240 frames: step 79 is frame 237, step 80 would be frame 240.
    assert spans(240) == {"first": (0, 49), "last": (31, 80), "target": (31, 80), "source": (2, 31)}


def test_clip_of_one_window_gives_it_once_and_the_shorter_pair() -> None:
    assert spans(145) == {"first": (0, 49), "target": (24, 49), "source": (3, 24)}


def test_six_seconds_lack_a_frame_and_say_so() -> None:
    plan = plan_windows(144, Fraction(24), WindowSettings(), stride_t=4)
    assert [one.name for one in plan.windows] == ["target", "source"]
    assert plan.missing == ("48 steps at 8 fps are less than 49",)


@pytest.mark.parametrize(("num_steps", "source"), [(61, None), (62, 13), (65, 13), (66, 17), (78, 29), (100, 29)])
def test_source_is_the_longest_that_is_disjoint_from_the_target(num_steps: int, source: int | None) -> None:
    found = spans(num_steps, Fraction(8), pairs=((49, 13, 29),))
    if source is None:
        assert "target" not in found
    else:
        assert found["target"] == (num_steps - 49, num_steps)
        assert found["source"] == (num_steps - 49 - source, num_steps - 49)


def test_clip_too_short_for_everything_gives_reasons_and_no_window() -> None:
    plan = plan_windows(45, Fraction(8), WindowSettings(), stride_t=4)
    assert plan.windows == ()
    assert plan.missing == (
        "45 steps at 8 fps are less than 49",
        "45 steps at 8 fps hold no ID pair of 49 + 13 or 25 + 21",
    )


def test_clip_slower_than_the_window_is_not_shown_with_repeated_frames() -> None:
    plan = plan_windows(400, Fraction(6), WindowSettings(), stride_t=4)
    assert plan.windows == ()
    assert plan.missing == ("a clip of 6 frames a second cannot be shown at 8",)


def test_frames_are_the_nearest_in_time_for_a_rate_that_does_not_divide() -> None:
    window = TrainingWindow(name="last", start_step=10, num_frames=40, fps=Fraction(8))
    frames = window.frames(NTSC)
    times_s = [(10 + step) / 8 for step in range(40)]
    for frame, time_s in zip(frames, times_s, strict=True):
        errors = [abs(other / float(NTSC) - time_s) for other in (frame - 1, frame, frame + 1)]
        assert min(errors) == errors[1]
    # 24 x 1000/1001 drifts by one frame in 41.7 s: after 6.125 s frame 147 is still the nearest.
    assert (frames[0], frames[-1]) == (30, 147)


def test_frame_half_way_between_two_is_the_later_one() -> None:
    assert TrainingWindow(name="first", start_step=0, num_frames=4, fps=Fraction(8)).frames(Fraction(12)) == (
        0,
        2,
        3,
        5,
    )


def test_no_window_reaches_past_the_clip() -> None:
    for num_frames in range(1, 300, 7):
        for fps in (Fraction(8), Fraction(25), NTSC, Fraction(60)):
            plan = plan_windows(num_frames, fps, WindowSettings(num_frames=9, pairs=((9, 5, 13),)), stride_t=4)
            for window in plan.windows:
                frames = window.frames(fps)
                assert 0 <= frames[0] < frames[-1] < num_frames
                assert len(set(frames)) == window.num_frames


@pytest.mark.parametrize("wrong", [{"fps": Fraction(0)}, {"num_frames": 0}, {"pairs": ((49, 29, 13),)}])
def test_settings_that_mean_nothing_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WindowSettings(**wrong)
