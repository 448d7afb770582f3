"""Writes one dense caption of the clip and one description of every tracked object."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata import models
from vpdata.config import ModelChoice, to_plain
from vpdata.errors import ConfigError, Reason, RejectItem
from vpdata.media.clips import ClipReader
from vpdata.media.masks import decode_mask
from vpdata.models.openai_server import ServerSettings
from vpdata.models.ports import Captioner, CaptionRequest, Frames, ModelCard, TextScorer, unheard
from vpdata.models.prompts import prompt_name, read_prompt
from vpdata.records import Caption as Text
from vpdata.records import Record, Score, ScoreName, Track
from vpdata.stages.base import Rejected, Resources, Result, rejected
from vpdata.stages.batches import Again, ask_in_batches
from vpdata.stages.caption_checks import CaptionChecks, Problem
from vpdata.stages.caption_measures import caption_measures
from vpdata.stages.caption_prompts import CAPTIONER_PROMPTS, REWRITER_PROMPTS, read_prompts
from vpdata.stages.caption_writing import Question, Written, ask, label_of, write
from vpdata.stages.scoring import scaled

_ASK_AGAIN = "ask_again"
_MEASURER = ModelChoice(name="embedded")
"""The captioner that states measured facts for the rewriter."""
TEXT_MEASURES = "caption-measures 1"
"""What measured the scores of a text, with its version."""
TEXT_SCORES: tuple[ScoreName, ...] = ("caption_words", "caption_repetition_frac")
"""What the stage measures of every clip's caption without a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionSettings:
    """Settings of the stage `caption`."""

    captioner: ModelChoice = field(default_factory=lambda: ModelChoice(name="embedded"))
    rewriter: ModelChoice | None = None
    """A second captioner, which says each text anew from it and the measured facts; it is shown no pictures."""
    text_scorer: ModelChoice | None = None
    """Measures how well the clip's caption fits its key frames; None: nothing does."""
    clip_prompt: str = "dense_clip"
    track_prompt: str = "masked_object"
    rewrite_clip_prompt: str = "rewrite_clip"
    rewrite_track_prompt: str = "rewrite_object"
    """Each the name of a file in `vpdata/models/prompts/`, or the path or uri of one of your own, which ends in `.txt`
    and is read once, where the build is started. `docs/models.md` says what is filled in."""
    checks: CaptionChecks | None = None
    """What texts of both models must be like, or they are asked for once more, then rejected; `{}` has the defaults,
    None takes all but empty ones, as is right for a captioner that only states what it measured."""
    num_key_frames: int = 8
    """Frames shown for the caption of the clip, spread evenly from the first to the last."""
    num_track_key_frames: int = 6
    """Frames shown for one object: of as many equal groups of the frames that hold it, the one where it is largest."""
    max_short_side_px: int = 480
    """Frames are shown scaled down to this short side."""
    batch_size: int = 4
    """Texts per call of the captioner, over the borders of clips; for a server, a few times its `concurrency`."""
    resources: Resources = field(default_factory=lambda: Resources(memory_gb=5.0))
    """Room for a part of 256 clips with 8 objects each: 3.9 GB with the embedded captioner, and some to spare."""

    def __post_init__(self) -> None:
        for name in ("num_key_frames", "num_track_key_frames", "max_short_side_px", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted at least 1")
        if self.rewriter is not None and self.rewriter.name == "embedded":
            raise ValueError("rewriter: got 'embedded', which reads no text; wanted a model that does, such as vlm")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionInputs:
    """What the captioner is asked about a clip."""

    record: Record
    requests: tuple[CaptionRequest, ...]
    """First of the clip, then of each of its tracks."""

    @property
    def item_id(self) -> str:
        return self.record.id

    @property
    def num_bytes(self) -> int:
        return sum(one.images.nbytes + (0 if one.masks is None else one.masks.nbytes) for one in self.requests)


class Caption:
    """Fills `Record.captions` and measures the clip's caption.

    A clip without a usable caption is rejected as `caption_failed`, a track without a usable description is dropped as
    that, with its mask: what is kept is described. A clip that loses all its tracks so is rejected as `no_tracks`.
    """

    name: ClassVar[str] = "caption"
    needs_media: ClassVar[bool] = True

    def __init__(
        self,
        settings: CaptionSettings,
        *,
        captioner: Callable[[], Captioner] | None = None,
        rewriter: Callable[[], Captioner] | None = None,
    ) -> None:
        """ConfigError for a server that may be waited for longer than the engine waits for a stage."""
        for choice in filter(None, (settings.captioner, settings.rewriter)):
            server = models.settings_of("captioner", choice)
            if isinstance(server, ServerSettings) and server.longest_silence_s >= settings.resources.timeout_s:
                raise ConfigError(
                    f"caption: {choice.name!r}: got a server that may be waited for {server.longest_silence_s:g} s "
                    "(wait_for_s and three attempts of request_timeout_s), wanted less than resources.timeout_s "
                    f"({settings.resources.timeout_s:g}), after which the engine takes waiting for a hang"
                )
        self._make_captioner = captioner or models.maker("captioner", settings.captioner)
        self._make_rewriter = rewriter or (settings.rewriter and models.maker("captioner", settings.rewriter))
        self._make_text_scorer = settings.text_scorer and models.maker("text_scorer", settings.text_scorer)
        sources = {name: getattr(settings, name) for name in (*CAPTIONER_PROMPTS, *REWRITER_PROMPTS)}
        used = sources if self._make_rewriter else {name: sources[name] for name in CAPTIONER_PROMPTS}
        # Texts, not paths, go to the workers with the stage, so that no other node needs the files.
        self._prompts = read_prompts(used)
        if settings.checks is not None:
            self._prompts[_ASK_AGAIN] = read_prompt(_ASK_AGAIN)
        names = {name: prompt_name(source) for name, source in sources.items()}
        self._settings = dataclasses.replace(settings, **names)
        choices = (settings.captioner, _MEASURER, settings.rewriter) if settings.rewriter else (settings.captioner,)
        self.models: tuple[ModelCard, ...] = tuple(models.describe("captioner", choice) for choice in choices)
        # First and last: the one in the middle states facts only.
        writers = (self.models[0], self.models[-1]) if settings.rewriter else self.models
        self._by = ", rewritten by ".join(f"{card.name} {card.revision}" for card in writers)
        if settings.text_scorer:
            self.models += (models.describe("text_scorer", settings.text_scorer),)
        self.resources = settings.resources
        self.alive: Callable[[], None] = unheard
        """Set by the engine: called whenever some texts have come, which may be long before their clip is done."""

    @property
    def identity(self) -> Mapping[str, Any]:
        settings = to_plain(self._settings)
        # The cards of the models say what of their options can change a text; the address of a server cannot.
        for name in ("resources", "captioner", "rewriter", "text_scorer"):
            del settings[name]
        return {"settings": settings, "prompts": self._prompts, "version": 4}

    def setup(self) -> None:
        self._captioner = self._make_captioner()
        self._rewriter = self._make_rewriter() if self._make_rewriter else None
        self._text_scorer: TextScorer | None = self._make_text_scorer() if self._make_text_scorer else None
        self._measurer: Captioner = models.maker("captioner", _MEASURER)()

    def prepare(self, item: Record, media: bytes) -> CaptionInputs:
        reader = ClipReader(media, sha256=item.clip.sha256)
        settings = self._settings
        views: list[tuple[Track | None, tuple[int, ...]]] = [
            (None, spread(range(reader.num_frames), num=settings.num_key_frames)),
            *((track, largest_views(track, num=settings.num_track_key_frames)) for track in item.tracks or ()),
        ]
        wanted = sorted({frame for _, frames in views for frame in frames})
        images = reader.read(wanted, max_short_side_px=settings.max_short_side_px)
        requests = (
            self._request(item, track, frames, images[[wanted.index(frame) for frame in frames]])
            for track, frames in views
        )
        return CaptionInputs(record=item, requests=tuple(requests))

    def process_many(self, inputs: Iterator[CaptionInputs]) -> Iterator[Result | Rejected]:
        answered = ask_in_batches(
            inputs,
            requests_of=lambda one: [Question(request) for request in one.requests],
            ask=self._write,
            batch_size=self._settings.batch_size,
        )
        for one, written in answered:
            try:
                if isinstance(written, RejectItem):
                    raise written
                yield from self._outcomes(one, written)
            except RejectItem as rejection:
                yield rejected(one.record, rejection, stage=self.name)

    def _write(self, questions: Sequence[Question]) -> list[Written | Again[Question]]:
        """What is asked again joins the next call: a few texts alone would cost a GPU as much as a full batch."""
        settings = self._settings
        how: dict[str, Any] = {
            "checks": settings.checks,
            "ask_again": self._prompts.get(_ASK_AGAIN, ""),
            "alive": self.alive,
        }
        outcomes = ask(self._captioner, questions, **how)
        if self._rewriter is None:
            return outcomes
        good = {row: one for row, one in enumerate(outcomes) if isinstance(one, Written) and one.problem is None}
        requests = [questions[row].request for row in good]
        facts = self._measurer.caption(requests)
        asked = [
            self._to_rewrite(request, one, fact)
            for request, one, fact in zip(requests, good.values(), facts, strict=True)
        ]
        for row, one in zip(good, write(self._rewriter, asked, **how), strict=True):
            outcomes[row] = one
        return outcomes

    def _to_rewrite(self, request: CaptionRequest, written: Written, facts: str) -> Question:
        is_clip = request.track is None
        name = self._settings.rewrite_clip_prompt if is_clip else self._settings.rewrite_track_prompt
        prompt = self._prompts[name].format(
            caption=written.text, facts=facts or "nothing", label=label_of(request) or "the clip"
        )
        no_images = request.images[:0]
        rewriting = dataclasses.replace(
            request, frames=(), images=no_images, masks=None, prompt_name=name, prompt=prompt
        )
        return Question(rewriting, shown=request)

    def _request(self, record: Record, track: Track | None, frames: tuple[int, ...], images: Frames) -> CaptionRequest:
        name = self._settings.track_prompt if track else self._settings.clip_prompt
        return CaptionRequest(
            record=record,
            track=track.id if track else None,
            frames=frames,
            images=images,
            masks=_masks(record, track, frames, images.shape[1:3]) if track else None,
            prompt_name=name,
            prompt=self._prompts[name].format(
                num_frames=len(frames),
                duration_s=f"{record.clip.duration_s:.1f}",
                label=track.label if track else "",
            ),
        )

    def _outcomes(self, one: CaptionInputs, written: Sequence[Written]) -> Iterator[Result | Rejected]:
        """A reject for each track without a usable description, then the record without them; RejectItem for none."""
        record, (clip, *of_tracks) = one.record, written
        if clip.problem is not None:
            raise _failed("the clip", clip.problem)
        captions = [self._caption(clip, scope=None)]
        kept = []
        for track, answer in zip(record.tracks or (), of_tracks, strict=True):
            if answer.problem is None:
                kept.append(track)
                captions.append(self._caption(answer, scope=track.id))
            else:
                why = rejected(record, _failed(f"track {track.id} ({track.label})", answer.problem), stage=self.name)
                yield dataclasses.replace(why, reject=dataclasses.replace(why.reject, track=track.id))
        if of_tracks and not kept:
            got = f"0 of {len(of_tracks)} tracks have one"
            raise RejectItem(Reason.NO_TRACKS, "no track has a usable description", got=got, wanted="at least 1")
        if record.clip.video.caption:
            captions.append(Text(text=record.clip.video.caption, scope=None, model="source", prompt=""))
        measured = zip(TEXT_SCORES, caption_measures(captions[0].text), strict=True)
        scores = (
            *(Score(name=name, value=float(value), model=TEXT_MEASURES) for name, value in measured),
            *self._text_scores(one, captions[0].text),
        )
        changes = {"tracks": record.tracks and tuple(kept), "captions": tuple(captions)}
        yield Result(
            item_id=one.item_id, record=dataclasses.replace(record, scores=(*record.scores, *scores), **changes)
        )

    def _text_scores(self, one: CaptionInputs, text: str) -> Iterator[Score]:
        """Of the clip's caption with the frames that it was written from."""
        if self._text_scorer is not None:
            frames = scaled(list(one.requests[0].images), self._text_scorer.max_short_side_px)
            card = self.models[-1]
            for name, value in self._text_scorer.score(frames, text).items():
                yield Score(name=name, value=value, model=f"{card.name} {card.revision}")

    def _caption(self, written: Written, *, scope: int | None) -> Text:
        settings = self._settings
        prompts = [settings.clip_prompt if scope is None else settings.track_prompt]
        if self._rewriter is not None:
            prompts.append(settings.rewrite_clip_prompt if scope is None else settings.rewrite_track_prompt)
        return Text(text=" ".join(written.text.split()), scope=scope, model=self._by, prompt=", ".join(prompts))


def _masks(record: Record, track: Track, frames: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """bool [N, H, W] at the (height, width) of the pictures; by area and above zero, so that nothing thin vanishes."""
    clip, (height, width) = record.clip, size
    full = (decode_mask(track.masks[frame], height_px=clip.height_px, width_px=clip.width_px) for frame in frames)
    scaled_masks = [cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) for mask in full]
    return np.stack(scaled_masks) > 0


def _failed(subject: str, problem: Problem) -> RejectItem:
    detail = f"no usable text for {subject}: it failed the check {problem.check!r}"
    return RejectItem(Reason.CAPTION_FAILED, detail, got=problem.got, wanted=problem.wanted)


def spread(frames: Sequence[int], *, num: int) -> tuple[int, ...]:
    """At most `num` of the frames, evenly from the first to the last."""
    rows = np.linspace(0, len(frames) - 1, min(num, len(frames))).round().astype(int)
    return tuple(frames[row] for row in rows)


def largest_views(track: Track, *, num: int) -> tuple[int, ...]:
    """Of at most `num` equal groups of the frames that hold the object, each group's frame where it is largest."""
    held = [frame for frame, counts in enumerate(track.masks) if counts is not None]
    groups = np.array_split(np.array(held), min(num, len(held)))
    return tuple(int(max(group, key=lambda frame: track.area_frac[frame])) for group in groups)
