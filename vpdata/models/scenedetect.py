"""Shot detection by PySceneDetect's detectors."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import scenedetect
from numpy.typing import NDArray
from scenedetect import FrameTimecode
from scenedetect.detector import SceneDetector
from scenedetect.detectors import (
    AdaptiveDetector,
    ContentDetector,
    HashDetector,
    HistogramDetector,
    ThresholdDetector,
)
from scenedetect.scene_manager import compute_downscale_factor

from vpdata.models.ports import ModelCard

_DETECTORS: Mapping[str, type[SceneDetector]] = {
    "adaptive": AdaptiveDetector,
    "content": ContentDetector,
    "hash": HashDetector,
    "histogram": HistogramDetector,
    "threshold": ThresholdDetector,
}
# A cut inside a fade or at its start is known only when the fade is over, however long that takes.
_FIXED_OPTIONS: Mapping[str, Mapping[str, Any]] = {"threshold": {"fade_bias": 1.0, "add_final_scene": False}}


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneDetectSettings:
    """Which detector, and how it is set."""

    detector: Literal["adaptive", "content", "hash", "histogram", "threshold"] = "adaptive"
    min_shot_s: float = 0.6
    """Cuts that follow each other faster are taken as one."""
    options: Mapping[str, float] = field(default_factory=dict)
    """Numeric keyword arguments of the detector's class, such as `adaptive_threshold`."""

    def __post_init__(self) -> None:
        if self.min_shot_s < 0:
            raise ValueError(f"got min_shot_s {self.min_shot_s}, wanted 0 or more")
        kind = _DETECTORS[self.detector]
        defaults = {name: item.default for name, item in inspect.signature(kind).parameters.items()}
        known = [
            name
            for name, default in defaults.items()
            if isinstance(default, (int, float))
            and name not in {"min_scene_len", *_FIXED_OPTIONS.get(self.detector, {})}
        ]
        for name in self.options:
            if name not in known:
                raise ValueError(f"got the option {name!r} for {self.detector!r}, wanted one of {', '.join(known)}")

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        return ModelCard(
            role=role,
            name=f"scenedetect-{self.detector}",
            revision=scenedetect.__version__,
            licence="BSD-3-Clause",
            source=f"scenedetect-headless {scenedetect.__version__}",
            options={"min_shot_s": self.min_shot_s, **self.options},
        )


class SceneDetectShots:
    """A ShotDetector over PySceneDetect (https://www.scenedetect.com); cuts are the same as its own `detect`."""

    def __init__(self, settings: SceneDetectSettings) -> None:
        self._settings = settings

    def frame_size(self, width_px: int, height_px: int) -> tuple[int, int]:
        """The size to which PySceneDetect itself would scale frames: the long side at most 256 px."""
        factor = compute_downscale_factor(max(width_px, height_px))
        return max(1, round(width_px / factor)), max(1, round(height_px / factor))

    def shot_starts(self, frames: Iterator[NDArray[np.uint8]], fps: Fraction) -> Iterator[bool]:
        """For each uint8 [H, W, 3] BGR frame whether a shot starts there, with a bounded lag."""
        min_frames = math.ceil(Fraction(str(self._settings.min_shot_s)) * fps)
        detector = self._detector(min_frames)
        lag = self._lag(detector, min_frames)
        cuts = {0}
        num_frames = 0
        for frame, image in enumerate(frames):
            cuts.update(cut.frame_num for cut in detector.process_frame(FrameTimecode(frame, fps), image))
            num_frames += 1
            if frame >= lag:
                yield frame - lag in cuts
                cuts.discard(frame - lag)
        for frame in range(max(0, num_frames - lag), num_frames):
            yield frame in cuts

    def _detector(self, min_frames: int) -> SceneDetector:
        name = self._settings.detector
        options = {**self._settings.options, **_FIXED_OPTIONS.get(name, {})}
        return _DETECTORS[name](min_scene_len=min_frames, **options)  # pyright: ignore[reportCallIssue]

    def _lag(self, detector: SceneDetector, min_frames: int) -> int:
        """How many frames back a cut may still be reported."""
        if isinstance(detector, AdaptiveDetector):
            return detector.window_width
        # ContentDetector merges cuts that are too close and reports the last of them.
        return min_frames if isinstance(detector, ContentDetector) else 0
