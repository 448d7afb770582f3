"""Writes one dense caption of the clip and one description of every tracked object."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import cv2
import numpy as np

from vpdata import models
from vpdata.config import ModelChoice, to_plain
from vpdata.errors import Reason, RejectItem
from vpdata.media.clips import ClipReader
from vpdata.media.masks import decode_mask
from vpdata.models.ports import Captioner, CaptionRequest, Frames, ModelCard
from vpdata.models.prompts import read_prompt
from vpdata.records import Caption as Text
from vpdata.records import Record, Score, Track
from vpdata.stages.base import Rejected, Resources, Result, rejected
from vpdata.stages.batches import ask_in_batches
from vpdata.stages.text import caption_measures

TEXT_MEASURES = "caption-measures 1"
"""What measured the scores of a text, with its version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionSettings:
    """Settings of the stage `caption`."""

    captioner: ModelChoice = field(default_factory=lambda: ModelChoice(name="embedded"))
    clip_prompt: str = "dense_clip"
    track_prompt: str = "masked_object"
    """Names of files in `vpdata/models/prompts/`."""
    num_key_frames: int = 8
    """Frames shown for the caption of the clip, spread evenly from the first to the last."""
    num_track_key_frames: int = 6
    """Frames shown for one object: of as many equal groups of the frames that hold it, the one where it is largest."""
    max_short_side_px: int = 480
    """Frames are shown scaled down to this short side."""
    batch_size: int = 4
    """Texts per call of the captioner, over the borders of clips."""
    resources: Resources = field(default_factory=lambda: Resources(memory_gb=2.0))

    def __post_init__(self) -> None:
        for name in ("num_key_frames", "num_track_key_frames", "max_short_side_px", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionInputs:
    """A clip's key frames, and which of them show which object."""

    record: Record
    frames: tuple[int, ...]
    """Indices in the clip of `images`."""
    images: Frames
    """uint8 [N, H, W, 3] RGB: every key frame once, in order of time."""
    frames_of: Mapping[int | None, tuple[int, ...]]
    """Track id, or None for the whole clip, to its key frames."""

    @property
    def item_id(self) -> str:
        return self.record.id

    @property
    def num_bytes(self) -> int:
        return self.images.nbytes


class Caption:
    """Fills `Record.captions` and measures the clip's caption; a text that is missing rejects as `caption_failed`."""

    name: ClassVar[str] = "caption"
    reads: ClassVar[tuple[str, ...]] = ("tracks",)
    writes: ClassVar[tuple[str, ...]] = ("captions", "scores")
    needs_media: ClassVar[bool] = True

    def __init__(self, settings: CaptionSettings, *, captioner: Callable[[], Captioner] | None = None) -> None:
        self._settings = settings
        self._make_captioner = captioner or models.maker("captioner", settings.captioner)
        self._prompts = {name: read_prompt(name) for name in (settings.clip_prompt, settings.track_prompt)}
        card = models.describe("captioner", settings.captioner)
        self._model = f"{card.name} {card.revision}"
        self.resources = settings.resources

    @property
    def identity(self) -> Mapping[str, Any]:
        settings = to_plain(self._settings)
        del settings["resources"]
        return {"settings": settings, "prompts": self._prompts, "version": 1}

    @property
    def models(self) -> tuple[ModelCard, ...]:
        return (models.describe("captioner", self._settings.captioner),)

    def setup(self) -> None:
        self._captioner = self._make_captioner()

    def prepare(self, item: Record, media: bytes) -> CaptionInputs:
        reader = ClipReader(media)
        frames_of: dict[int | None, tuple[int, ...]] = {
            None: spread(range(reader.num_frames), num=self._settings.num_key_frames)
        }
        for track in item.tracks or ():
            frames_of[track.id] = largest_views(track, num=self._settings.num_track_key_frames)
        frames = tuple(sorted({frame for frames in frames_of.values() for frame in frames}))
        images = reader.read(frames, max_short_side_px=self._settings.max_short_side_px)
        return CaptionInputs(record=item, frames=frames, images=images, frames_of=frames_of)

    def process_many(self, inputs: Iterator[CaptionInputs]) -> Iterator[Result | Rejected]:
        answered = ask_in_batches(
            inputs, requests_of=self._requests, ask=self._captioner.caption, batch_size=self._settings.batch_size
        )
        for one, texts in answered:
            try:
                if isinstance(texts, RejectItem):
                    raise texts
                yield Result(item_id=one.item_id, record=self._captioned(one, texts))
            except RejectItem as rejection:
                yield rejected(one.record, rejection, stage=self.name)

    def _requests(self, one: CaptionInputs) -> list[CaptionRequest]:
        return [self._request(one, track=None), *(self._request(one, track=track) for track in one.record.tracks or ())]

    def _request(self, one: CaptionInputs, *, track: Track | None) -> CaptionRequest:
        frames = one.frames_of[track.id if track else None]
        images = one.images[[one.frames.index(frame) for frame in frames]]
        name = self._settings.track_prompt if track else self._settings.clip_prompt
        masks = None
        if track:
            clip, (height, width) = one.record.clip, images.shape[1:3]
            full = (decode_mask(track.masks[i], height_px=clip.height_px, width_px=clip.width_px) for i in frames)
            # By area and above zero, so that a thin object does not vanish.
            scaled = [
                cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) for mask in full
            ]
            masks = np.stack(scaled) > 0
        return CaptionRequest(
            record=one.record,
            track=track.id if track else None,
            frames=frames,
            images=images,
            masks=masks,
            prompt_name=name,
            prompt=self._prompts[name].format(
                num_frames=len(frames),
                duration_s=f"{one.record.clip.duration_s:.1f}",
                label=track.label if track else "",
            ),
        )

    def _captioned(self, one: CaptionInputs, texts: Sequence[str]) -> Record:
        record, settings = one.record, self._settings
        captions = []
        scopes = [None, *(track.id for track in record.tracks or ())]
        for scope, text in zip(scopes, texts, strict=True):
            if not text.strip():
                subject = "the clip" if scope is None else f"track {scope}"
                raise RejectItem(
                    Reason.CAPTION_FAILED, f"no text for {subject}", got="an empty answer", wanted="a description"
                )
            prompt = settings.clip_prompt if scope is None else settings.track_prompt
            captions.append(Text(text=text.strip(), scope=scope, model=self._model, prompt=prompt))
        num_words, repetition_frac = caption_measures(captions[0].text)
        if record.clip.video.caption:
            captions.append(Text(text=record.clip.video.caption, scope=None, model="source", prompt=""))
        scores = (
            Score(name="caption_words", value=float(num_words), model=TEXT_MEASURES),
            Score(name="caption_repetition_frac", value=repetition_frac, model=TEXT_MEASURES),
        )
        return dataclasses.replace(record, captions=tuple(captions), scores=(*record.scores, *scores))


def spread(frames: Sequence[int], *, num: int) -> tuple[int, ...]:
    """At most `num` of the frames, evenly from the first to the last."""
    rows = np.linspace(0, len(frames) - 1, min(num, len(frames))).round().astype(int)
    return tuple(frames[row] for row in rows)


def largest_views(track: Track, *, num: int) -> tuple[int, ...]:
    """Of at most `num` equal groups of the frames that hold the object, each group's frame where it is largest."""
    held = [frame for frame, counts in enumerate(track.masks) if counts is not None]
    groups = np.array_split(np.array(held), min(num, len(held)))
    return tuple(int(max(group, key=lambda frame: track.area_frac[frame])) for group in groups)
