"""Frame rates from time stamps, and time stamps to frames of a constant rate."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import av

from vpdata.errors import Reason, RejectItem

MAX_STEP_S = 10
"""A longer step is a jump of the clock, where the clock may jump, or a wild time stamp."""
_MAX_FALL_S = 1
"""Some recordings of under a second would be joined for less; a careless multiplexer steps back by a frame or two."""
_MIN_FPS, _MAX_FPS = 1, 480
_STANDARD_FPS = tuple(
    Fraction(rate) for rate in ("24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "60")
)
_SNAP_FRAC = 0.005
_STEADY_FRAC = 0.9
_HALF = Fraction(1, 2)
_MOST_TICK = Fraction(1, 4)
"""Slots. Of a clock with a tick or two a frame, a whole one would take a lost frame for one that is late."""


class Clock:
    """Gives each frame, in the order of display, its slot on a constant-rate time line that starts at the first one.

    That is the nearest slot, or the one after the last frame's where the stamp is at most half a slot and a tick of the
    container's clock (or a quarter of a slot, if that is less) off. Stamps half way between two slots, as behind one
    frame that came half a frame late, would else round to a slot together and leave the next one empty.
    A frame without a time stamp comes a step after the one before. Where the clock may restart, so does a frame whose
    stamp is over a second earlier, or over `MAX_STEP_S` later. Frames of the recording before, which a decoder may
    still give between the first ones of the next, come a step after the one before too.
    """

    def __init__(self, fps: Fraction, *, may_restart: bool) -> None:
        self._step_s, self._may_restart = 1 / fps, may_restart
        self._last_s = -self._step_s
        self._start_s = Fraction(0)
        """Time stamp of the time line's start."""
        self._begun_s: Fraction | None = None
        """First time stamp of the recording."""
        self._stamp_s = Fraction(0)
        """Last time stamp of the recording."""
        self._stamp_before_s: Fraction | None = None
        """Last time stamp of the recording before."""
        self._last_slot = -1

    def slot(self, frame: av.VideoFrame) -> int:
        now_s, tick_s = self._last_s + self._step_s, Fraction(0)
        if frame.pts is not None and frame.time_base is not None:
            now_s, tick_s = self._placed(frame.pts * frame.time_base, following_s=now_s), frame.time_base
        self._last_s = now_s
        place, next_slot = now_s / self._step_s, self._last_slot + 1
        is_near = abs(place - next_slot) <= _HALF + min(tick_s / self._step_s, _MOST_TICK)
        self._last_slot = next_slot if is_near else math.floor(place + _HALF)
        return self._last_slot

    def _placed(self, stamp_s: Fraction, *, following_s: Fraction) -> Fraction:
        """Seconds on the time line of a stamp; `following_s` is a step after the frame before."""
        if self._is_of_recording_before(stamp_s):
            self._stamp_before_s = stamp_s
            self._start_s -= self._step_s
            return following_s
        if self._begun_s is None or self._restarts(stamp_s - self._start_s):
            self._stamp_before_s = None if self._begun_s is None else self._stamp_s
            self._begun_s, self._start_s = stamp_s, stamp_s - following_s
        self._stamp_s = stamp_s
        return stamp_s - self._start_s

    def _is_of_recording_before(self, stamp_s: Fraction) -> bool:
        before_s = self._stamp_before_s
        if self._begun_s is None or before_s is None or self._stamp_s - self._begun_s >= _MAX_FALL_S:
            return False
        return before_s < stamp_s <= before_s + _MAX_FALL_S

    def _restarts(self, now_s: Fraction) -> bool:
        return self._may_restart and not -_MAX_FALL_S <= now_s - self._last_s <= MAX_STEP_S


def average_fps(
    steps: Counter[int], time_base: Fraction, *, header: Fraction | None, guessed: Fraction | None
) -> Fraction:
    """The one of two rates that nearly every step agrees with; else the average, as the header puts it if it does.

    `steps` counts the distances of neighbouring time stamps; `guessed` is libavformat's guess from codec and first
    frames. The header of an MP4 tells the average even where frames were lost. Raises RejectItem.
    """
    total_s = sum(step * count for step, count in steps.items()) * time_base
    fps = header or guessed or Fraction(0)
    if total_s:
        average = steps.total() / total_s
        drifts = {rate: _drift_frac(rate, steps, time_base) for rate in (header, guessed) if rate}
        if drifts and min(drifts.values()) <= _SNAP_FRAC:
            fps = min(drifts, key=lambda rate: drifts[rate])
        elif not header or abs(average / header - 1) > _SNAP_FRAC:
            fps = average.limit_denominator(1001)
    if not _MIN_FPS <= fps <= _MAX_FPS:
        raise RejectItem(
            Reason.BAD_FRAME_RATE,
            "neither the header nor the time stamps give a usable frame rate",
            got=f"{float(fps):g} fps",
            wanted=f"{_MIN_FPS} to {_MAX_FPS} fps",
        )
    return fps


def _drift_frac(fps: Fraction, steps: Counter[int], time_base: Fraction) -> float:
    """By how much the steps of about one frame are off this rate on average; infinite where not nearly all are such.

    So a recording that lost some frames keeps its rate. At most as many may be missing as are there: one wild time
    stamp would ask for hours of repeats.
    """
    tolerance_s = max(time_base, Fraction(1, 1000))
    regular = {step: count for step, count in steps.items() if abs(step * time_base - 1 / fps) <= tolerance_s}
    total_s = sum(step * count for step, count in steps.items()) * time_base
    regular_s = sum(step * count for step, count in regular.items()) * time_base
    num_regular = sum(regular.values())
    if num_regular < _STEADY_FRAC * steps.total() or total_s * fps > 2 * steps.total():
        return math.inf
    return abs(float(regular_s * fps / num_regular) - 1)


def snapped(fps: Fraction) -> Fraction:
    """The standard rate within 0.5 % of a rate, or the rate itself."""
    nearest = min(_STANDARD_FPS, key=lambda standard: abs(standard - fps))
    return nearest if abs(fps / nearest - 1) <= _SNAP_FRAC else fps
