"""The table of all rules: what each reads, when it can run, and what it lets through by default."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

from vpdata.errors import ConfigError, Reason
from vpdata.records import Record, ScoreName, Track


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a rule lets through, both ends included."""

    min: float | None = None
    """None: no lower bound."""
    max: float | None = None
    """None: no upper bound."""

    @property
    def are_open(self) -> bool:
        """Whether everything passes: the rule is off."""
        return self.min is None and self.max is None

    def hold(self, value: float) -> bool:
        """Whether `value` passes."""
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    def are_looser_than(self, other: Bounds) -> bool:
        """Whether some value passes here and not there."""
        low, high = self._ends()
        other_low, other_high = other._ends()
        return low < other_low or high > other_high

    def __str__(self) -> str:
        if self.min is not None and self.max is not None:
            return f"{self.min:g} to {self.max:g}"
        if self.min is not None:
            return f"at least {self.min:g}"
        return "anything" if self.max is None else f"at most {self.max:g}"

    def _ends(self) -> tuple[float, float]:
        return -math.inf if self.min is None else self.min, math.inf if self.max is None else self.max


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One measure that must lie within bounds, or the clip, or the track, is dropped."""

    name: str
    """Key under `filter.rules`, and the value of the `Reason` that its rejects carry."""
    measure: str
    """`duration_s`, `num_tracks`, the name of a score, or `track.` and a field of `Track`."""
    after: Literal["cut", "detect", "track", "caption"]
    """Stage after which the measure is known."""
    default: Bounds
    why: str
    """Why these default bounds, in one line for people."""

    @property
    def scope(self) -> Literal["clip", "track"]:
        """What the rule drops."""
        return "track" if self.measure.startswith("track.") else "clip"

    @property
    def reason(self) -> Reason:
        """What its rejects say."""
        return Reason(self.name)

    def value(self, subject: Record | Track) -> float | None:
        """The measure of a clip, or of a track where that is the scope; None if it could not be computed.

        ConfigError for a score that no stage has tried to measure.
        """
        if isinstance(subject, Track):
            return getattr(subject, self.measure.removeprefix("track."))
        if self.measure == "duration_s":
            return subject.clip.duration_s
        if self.measure == "num_tracks":
            return len(subject.tracks or ())
        try:
            return subject.score(cast(ScoreName, self.measure))
        except KeyError as error:
            raise ConfigError(f"{subject.id}: {self.unmeasured}") from error

    @property
    def unmeasured(self) -> str:
        """What to say where nothing measures its score."""
        return (
            f"the rule {self.name!r} needs the score {self.measure!r}, which no model measures before it applies; "
            f"choose one that does, or switch the rule off with filter.rules.{self.name}: null"
        )


# A clip meets the rules in this order and the first that fails names the reason: the stages' order, and light before
# what cannot be measured in the dark.
RULES = (
    Rule(
        name="duration",
        measure="duration_s",
        after="cut",
        default=Bounds(max=10.0),
        why="the published length; how short a clip may be is what cut.min_s says",
    ),
    Rule(
        name="exposure",
        measure="exposure",
        after="cut",
        default=Bounds(min=0.05, max=0.95),
        why="beyond lie black and burnt-out clips; night scenes are at about 0.1",
    ),
    Rule(
        name="contrast",
        measure="contrast",
        after="cut",
        default=Bounds(min=0.05),
        why="below lie plain cards and fog; real footage measured 0.3 to 0.6",
    ),
    Rule(
        name="black_borders",
        measure="black_border_frac",
        after="cut",
        default=Bounds(max=0.1),
        why="a model trained on bars paints bars: dark lines at the edge pass, a letterboxed film (0.24) does not",
    ),
    Rule(
        name="sharpness",
        measure="sharpness",
        after="cut",
        default=Bounds(min=0.005),
        why="real footage measured 0.015 to 0.06, and 0.0067 after a blur of 2 px at 360 lines",
    ),
    Rule(
        name="static",
        measure="static_frac",
        after="cut",
        default=Bounds(max=0.5),
        why="a slideshow with a new picture every second is at 0.75, footage from a tripod near 0",
    ),
    Rule(
        name="motion",
        measure="motion",
        after="cut",
        default=Bounds(min=0.0005),
        why="1 % of the frame that moves by a twentieth of the diagonal in a second, before a still camera",
    ),
    Rule(
        name="camera_motion",
        measure="camera_motion",
        after="cut",
        default=Bounds(max=0.5),
        why="half a diagonal in a second is a whip pan; hand-held footage measured 0.01 to 0.12",
    ),
    Rule(
        name="object_motion",
        measure="object_motion",
        after="cut",
        default=Bounds(),
        why="off: nothing is published, and objects at rest are training data too",
    ),
    Rule(
        name="aesthetic",
        measure="aesthetic",
        after="detect",
        default=Bounds(),
        why="off: only some scorers of `detect` measure it; the nightly benchmark of NeMo Curator keeps 3.5 and more",
    ),
    Rule(
        name="unsafe",
        measure="unsafe",
        after="detect",
        default=Bounds(),
        why="off: only some scorers of `detect` measure it, and a bound must be tried on a sample of the footage",
    ),
    Rule(
        name="text_overlay",
        measure="text_overlay_frac",
        after="detect",
        default=Bounds(),
        why="off: only some scorers of `detect` measure it; a line of subtitles covers about 0.03, a logo 0.003",
    ),
    Rule(
        name="track_area",
        measure="track.mean_area_frac",
        after="track",
        default=Bounds(min=0.01, max=0.7),
        why="one reading of the published coverage of 30-70 %, of the frame; 1 % since ordinary objects are small",
    ),
    Rule(
        name="track_coverage",
        measure="track.coverage_frac",
        after="track",
        default=Bounds(min=0.3),
        why="the other reading, of the clip's frames; no upper bound since ordinary objects stay in view",
    ),
    Rule(
        name="track_area_change",
        measure="track.max_area_change_frac",
        after="track",
        default=Bounds(max=0.2),
        why="published, between neighbouring frames; over the mean area, so that an object may come into sight",
    ),
    Rule(
        name="track_stability",
        measure="track.stability",
        after="track",
        default=Bounds(min=0.5),
        why="the outline of a moving body overlaps itself by far more from frame to frame; below, a mask flickers",
    ),
    Rule(
        name="track_border",
        measure="track.border_frac",
        after="track",
        default=Bounds(),
        why="off: much ordinary footage shows people who are cut by the lower edge",
    ),
    Rule(
        name="num_tracks",
        measure="num_tracks",
        after="track",
        default=Bounds(),
        why="off: a clip without tracks is dropped anyway, and track.max_objects limits their number",
    ),
    Rule(
        name="caption_length",
        measure="caption_words",
        after="caption",
        default=Bounds(min=8.0, max=300.0),
        why="VideoPainter trains on captions of over 50 characters, about 8 words; beyond 300 a model rambles",
    ),
    Rule(
        name="caption_repetition",
        measure="caption_repetition_frac",
        after="caption",
        default=Bounds(max=0.5),
        why="plain sentences about four alike objects measured 0.34; a model caught in a loop is near 1",
    ),
    Rule(
        name="text_alignment",
        measure="text_alignment",
        after="caption",
        default=Bounds(),
        why="off: only caption.text_scorer measures it, and a bound must be tried on a sample of the footage",
    ),
)
