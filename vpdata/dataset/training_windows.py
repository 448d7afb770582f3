"""Which windows of a clip are trained on: explicit spans at a frame rate of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, takewhile

from vpdata.dataset.latents import WindowName


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """Size, rate and length of the windows."""

    height_px: int = 480
    width_px: int = 720
    fps: Fraction = Fraction(8)
    num_frames: int = 49
    """Of the first and the last window of a clip."""
    pairs: tuple[tuple[int, int, int], ...] = ((49, 13, 29), (25, 21, 21))
    """ID pairs: frames of the target, and the least and the most of the source before it; a clip gives the first of
    them that it is long enough for, with the longest source."""

    def __post_init__(self) -> None:
        for name in ("height_px", "width_px", "fps", "num_frames"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted more than 0")
        for pair in self.pairs:
            target, least, most = pair
            if not (target > 0 and 0 < least <= most):
                raise ValueError(f"pairs: got {list(pair)}, wanted [frames of the target, least of the source, most]")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingWindow:
    """One window of a clip. Its step k shows the time `(start_step + k) / fps` of the clip."""

    name: WindowName
    start_step: int
    num_frames: int
    fps: Fraction

    def frames(self, clip_fps: Fraction) -> tuple[int, ...]:
        """Indices of the clip's frames that are nearest in time to the steps; half way, the later one."""
        return tuple(_nearest(self.start_step + step, self.fps, clip_fps) for step in range(self.num_frames))


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPlan:
    """The windows of one clip."""

    windows: tuple[TrainingWindow, ...]
    missing: tuple[str, ...]
    """A sentence for each thing that the clip is too short for."""


def plan_windows(num_frames: int, clip_fps: Fraction, settings: WindowSettings, *, stride_t: int) -> WindowPlan:
    """The first and the last window, one only where they are the same, and the ID pair.

    The target is the end of the clip, and the source is what lies directly before it, with no frame of the target's.
    At inference a window's objects come from the window before, which shares frames with it: of 49 frames with 9 in
    common it lies at latent frames -10 to 2 of the target (`stride_t` 4), a source here at -8 to -1 at most. Lengths of
    sources are `stride_t` k + 1.
    """
    if clip_fps < settings.fps:
        why = f"a clip of {float(clip_fps):g} frames a second cannot be shown at {float(settings.fps):g}"
        return WindowPlan(windows=(), missing=(why,))
    num_steps = _num_steps(num_frames, clip_fps, settings.fps)
    windows, missing = [], []

    def add(name: WindowName, start_step: int, length: int) -> None:
        windows.append(TrainingWindow(name=name, start_step=start_step, num_frames=length, fps=settings.fps))

    last = num_steps - settings.num_frames
    if last < 0:
        missing.append(f"{num_steps} steps at {float(settings.fps):g} fps are less than {settings.num_frames}")
    else:
        add("first", 0, settings.num_frames)
    if last > 0:
        add("last", last, settings.num_frames)
    pair = _pair(num_steps, settings, stride_t)
    if pair is not None:
        target, source = pair
        add("target", num_steps - target, target)
        add("source", num_steps - target - source, source)
    elif settings.pairs:
        wanted = " or ".join(f"{target} + {least}" for target, least, _ in settings.pairs)
        missing.append(f"{num_steps} steps at {float(settings.fps):g} fps hold no ID pair of {wanted}")
    return WindowPlan(windows=tuple(windows), missing=tuple(missing))


def _pair(num_steps: int, settings: WindowSettings, stride_t: int) -> tuple[int, int] | None:
    """Frames of the target and of the source."""
    for target, least, most in settings.pairs:
        room = min(most, num_steps - target)
        source = (room - 1) // stride_t * stride_t + 1
        if room >= 1 and source >= least:
            return target, source
    return None


def _num_steps(num_frames: int, clip_fps: Fraction, fps: Fraction) -> int:
    """Steps from the start of a clip on whose nearest frame exists."""
    return sum(1 for _ in takewhile(lambda step: _nearest(step, fps, clip_fps) < num_frames, count()))


def _nearest(step: int, fps: Fraction, clip_fps: Fraction) -> int:
    return math.floor(step / fps * clip_fps + Fraction(1, 2))
