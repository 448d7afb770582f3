"""Measures a clip, then finds objects on key frames: a tagger names what to look for, a detector finds it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any, ClassVar

from vpdata import models
from vpdata.config import ModelChoice, to_plain
from vpdata.errors import Reason, RejectItem
from vpdata.media.clips import ClipReader
from vpdata.models.own import is_own
from vpdata.models.ports import Box, Detector, Frames, KeyFrame, ModelCard, Tagger
from vpdata.records import Detection, Record
from vpdata.stages.base import Rejected, Resources, Result, rejected
from vpdata.stages.batches import ask_in_batches
from vpdata.stages.rules import FilterSettings, judge
from vpdata.stages.scoring import Scoring, key_frames

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectSettings:
    """Settings of the stage `detect`."""

    tagger: ModelChoice = field(default_factory=lambda: ModelChoice(name="fixed"))
    detector: ModelChoice = field(default_factory=lambda: ModelChoice(name="embedded"))
    scorers: tuple[ModelChoice, ...] = ()
    """What is measured before anything is looked for, so that early rules spare tagger and detector. No two may measure
    the same score; what `cut` has measured is measured anew."""
    embedder: ModelChoice | None = None
    """None: clips get no embedding, and near-duplicates are told by looks alone."""
    interval_s: float = 1.0
    """Seconds between key frames; a shorter clip has one."""
    min_score: float = 0.4
    """Detections below this confidence are dropped; in [0, 1]."""
    max_detections_per_frame: int = 20
    """The best are kept."""
    tagger_batch_size: int = 4
    """Clips per call of the tagger."""
    detector_batch_size: int = 8
    """Key frames per call of the detector, over the borders of clips."""
    resources: Resources = field(default_factory=lambda: Resources(memory_gb=2.0))

    def __post_init__(self) -> None:
        if self.interval_s <= 0:
            raise ValueError(f"interval_s: got {self.interval_s}, wanted more than 0")
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score: got {self.min_score}, wanted a number from 0 to 1")
        for name in ("max_detections_per_frame", "tagger_batch_size", "detector_batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted at least 1")
        models.check_name("tagger", self.tagger)
        models.check_name("detector", self.detector)
        names_nothing = self.tagger.name == "fixed" and not self.tagger.options.get("labels")
        # Whether one of the user's own has labels of its own shows when it is loaded.
        if names_nothing and self.detector.name != "embedded" and not is_own(self.detector.name):
            raise ValueError(
                f"tagger: got 'fixed' without labels, and the detector {self.detector.name!r} knows none of its own: "
                "give tagger.options.labels, or name a tagger that looks"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectInputs:
    """A clip's key frames and what surrounds them."""

    record: Record
    frames: tuple[int, ...]
    """Indices of the key frames in the clip."""
    images: Frames
    """uint8 [K, H, W, 3] RGB, the key frames."""
    contexts: tuple[Frames, ...]
    """Per key frame the frames at the detector's `context_s`."""
    dropped: Rejected | None = None
    """Why nothing need be looked for."""

    @property
    def item_id(self) -> str:
        return self.record.id

    @property
    def num_bytes(self) -> int:
        return sum(frames.nbytes for frames in (self.images, *self.contexts))


class Detect:
    """Fills `Record.tags` and `Record.detections`, and scores and embedding where it has models for them.

    A clip without detections is rejected as `no_detections`; one for which nothing can be looked for, since it has no
    tags and the detector no labels of its own, as `no_tags`.
    """

    name: ClassVar[str] = "detect"
    needs_media: ClassVar[bool] = True

    def __init__(
        self,
        settings: DetectSettings,
        *,
        tagger: Callable[[], Tagger] | None = None,
        detector: Callable[[], Detector] | None = None,
    ) -> None:
        self._settings = settings
        self._make_tagger = tagger or models.maker("tagger", settings.tagger)
        self._make_detector = detector or models.maker("detector", settings.detector)
        self._scoring = Scoring(settings.scorers, settings.embedder)
        self.resources = settings.resources
        self.early_rules: FilterSettings | None = None
        """Set by the engine: what these drop after scoring costs neither tagger nor detector."""

    @property
    def identity(self) -> Mapping[str, Any]:
        settings = to_plain(self._settings)
        # The cards of the models say what of their options can change a result; where a cache lies cannot.
        for name in ("resources", "tagger", "detector", "scorers", "embedder"):
            del settings[name]
        return {"settings": settings, "version": 3}

    @property
    def models(self) -> tuple[ModelCard, ...]:
        settings = self._settings
        finders = models.describe("tagger", settings.tagger), models.describe("detector", settings.detector)
        return *finders, *self._scoring.models

    def setup(self) -> None:
        self._tagger = self._make_tagger()
        self._detector = self._make_detector()
        self._scoring.setup()

    def prepare(self, item: Record, media: bytes) -> DetectInputs:
        """Scores the clip too: reading text takes a second of a core, and would keep the GPU waiting elsewhere."""
        reader = ClipReader(media, sha256=item.clip.sha256)
        frames = key_frames(reader.num_frames, fps=float(reader.fps), interval_s=self._settings.interval_s)
        steps = [round(offset_s * float(reader.fps)) for offset_s in self._detector.context_s]
        around = [[min(max(frame + step, 0), reader.num_frames - 1) for step in steps] for frame in frames]
        sampled = self._scoring.frames(reader.num_frames, fps=float(reader.fps))
        # One pass in order of time: seeking back costs a decode from the last key frame of the stream.
        wanted = sorted({*frames, *(frame for group in (*around, *sampled) for frame in group)})
        row_of = {frame: row for row, frame in enumerate(wanted)}
        images = reader.read(wanted)
        samples = self._scoring.samples(dict(zip(wanted, images, strict=True)), sampled)
        record = self._scoring.measured(item, samples)
        return DetectInputs(
            record=record,
            frames=frames,
            images=images[[row_of[frame] for frame in frames]],
            contexts=tuple(images[[row_of[frame] for frame in context]] for context in around),
            dropped=self._dropped(record),
        )

    def process_many(self, inputs: Iterator[DetectInputs]) -> Iterator[Result | Rejected]:
        tagged = ask_in_batches(
            inputs,
            requests_of=lambda one: [] if one.dropped else [one.images],
            ask=self._labels,
            batch_size=self._settings.tagger_batch_size,
        )
        answered = ask_in_batches(
            tagged,
            requests_of=_requests,
            ask=self._detector.detect,
            batch_size=self._settings.detector_batch_size,
        )
        for (one, tags), boxes in answered:
            yield one.dropped or self._outcome(one, tags, boxes)

    def _labels(self, clips: Sequence[Frames]) -> list[tuple[str, ...] | RejectItem]:
        nothing = RejectItem(
            Reason.NO_TAGS,
            f"the tagger {self._settings.tagger.name!r} named nothing, and the detector "
            f"{self._settings.detector.name!r} looks only for what is named",
            got="0 tags",
            wanted="at least 1",
        )
        is_lost = not self._detector.has_own_labels
        return [nothing if is_lost and answer == () else answer for answer in self._tagger.tags(clips)]

    def _outcome(
        self, one: DetectInputs, tags: list[tuple[str, ...]] | RejectItem, boxes: list[list[Box]] | RejectItem
    ) -> Result | Rejected:
        if isinstance(tags, RejectItem):
            return rejected(one.record, tags, stage=self.name)
        if isinstance(boxes, RejectItem):
            return rejected(one.record, boxes, stage=self.name)
        (labels,) = tags
        if detections := self._detections(one, boxes):
            record = dataclasses.replace(one.record, tags=labels, detections=detections)
            return Result(item_id=one.item_id, record=record)
        sought = shorten(", ".join(labels) or "everything the detector knows", width=200)
        nothing = RejectItem(
            Reason.NO_DETECTIONS,
            f"nothing was found on {len(one.frames)} key frames; looked for {sought}",
            got="0 detections",
            wanted=f"at least one with a score of {self._settings.min_score} or more",
        )
        return rejected(one.record, nothing, stage=self.name)

    def _dropped(self, record: Record) -> Rejected | None:
        """Why the rules drop a clip for its scores."""
        if self.early_rules is None:
            return None
        judged = judge(record, self.early_rules, after=self.name)
        return Rejected(item_id=record.id, reject=judged.rejects[-1]) if judged.record is None else None

    def _detections(self, one: DetectInputs, boxes_of: Sequence[Sequence[Box]]) -> tuple[Detection, ...]:
        most = self._settings.max_detections_per_frame
        detections, num_most, num_empty = [], 0, 0
        for frame, boxes in zip(one.frames, boxes_of, strict=True):
            good = [box for box in boxes if box.score >= self._settings.min_score]
            objects = [box for box in good if _has_area(box)]
            num_most, num_empty = max(num_most, len(objects)), num_empty + len(good) - len(objects)
            for box in objects[:most]:
                detections.append(Detection(frame=frame, box=box.box, label=box.label, score=box.score))
        if num_most > most:
            _log.warning("%s: up to %d objects on a key frame; the best %d are kept", one.item_id, num_most, most)
        if num_empty:
            _log.warning("%s: left out %d boxes without area", one.item_id, num_empty)
        return tuple(detections)


def _has_area(box: Box) -> bool:
    x0, y0, x1, y1 = box.box
    return x1 > x0 and y1 > y0


def _requests(tagged: tuple[DetectInputs, list[tuple[str, ...]] | RejectItem]) -> list[KeyFrame]:
    one, tags = tagged
    if one.dropped or isinstance(tags, RejectItem):
        return []
    return [
        KeyFrame(image=image, context=context, labels=tags[0])
        for image, context in zip(one.images, one.contexts, strict=True)
    ]
