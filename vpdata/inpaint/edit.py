"""The prompt for a removal, a replacement or an edit: by a model that sees the video, or by what the user has said."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from vpdata import models
from vpdata.config import ModelChoice
from vpdata.errors import BackendError, ConfigError
from vpdata.inpaint.any_length import Frames, Masks
from vpdata.inpaint.fit import Size, scale_frames, scale_masks
from vpdata.inpaint.options import Words
from vpdata.media.clips import scaled_size
from vpdata.models.ports import Captioner, CaptionRequest
from vpdata.models.prompts import read_prompt
from vpdata.records import Clip, Record, Video
from vpdata.stages.caption_checks import CaptionChecks
from vpdata.stages.caption_writing import Question, write

_log = logging.getLogger(__name__)

NEUTRAL = "The empty place, without any object: the background goes on evenly, in the same light and colours."
"""Of a removal where nobody describes the surroundings."""
_NUM_KEY_FRAMES = 8
_SHORT_SIDE_PX = 480
_GREY = 128
_CHECKS = CaptionChecks(clip_words=(5, 200), mentions_label=False)


class PromptWriter:
    """Words to prompts; loads its captioner when it is first needed."""

    def __init__(self, choice: ModelChoice | None, *, captioner: Captioner | None = None) -> None:
        """`captioner` is used instead of the one that is chosen."""
        self._choice = choice
        self._captioner = captioner

    def prompts(
        self, words: Words, frames: Iterable[Frames], masks: Iterable[Masks], *, num_frames: int
    ) -> dict[int, str]:
        """The prompt from each of some frames on.

        `frames` and `masks` are those of the video and its hole, one at a time. BackendError where the captioner's
        answer is of no use; ConfigError as from `check_words`.
        """
        own = dict(words.prompts)
        if not words.are_written:
            return own
        if self._captioner is None:
            check_words(words, self._choice)
        if self._choice is None and self._captioner is None:
            return self._as_said(words, own)
        images, shown = _key_frames(frames, masks, num_frames=num_frames)
        if words.remove:
            images = np.where(shown[..., None], np.uint8(_GREY), images)
            return {0: self._asked("inpaint_remove", images, None)}
        if words.replace:
            return {0: self._asked("inpaint_replace", images, shown, instruction=words.replace)}
        return {
            frame: self._asked("inpaint_edit", images, shown, instruction=words.edit or "", caption=caption)
            for frame, caption in (own or {0: "(no description)"}).items()
        }

    def _as_said(self, words: Words, own: dict[int, str]) -> dict[int, str]:
        if words.remove:
            return {0: NEUTRAL}
        if words.replace:
            return {0: words.replace}
        _log.warning("the config names no captioner: the prompt is used as it is, and --edit is not")
        return own

    def _asked(self, name: str, images: Frames, masks: Masks | None, **fields: str) -> str:
        if self._captioner is None:
            assert self._choice is not None, "prompts() has looked"
            self._captioner = models.maker("captioner", self._choice)()
        prompt = read_prompt(name).format(num_frames=len(images), **fields)
        request = CaptionRequest(
            record=_record(images),
            track=None,
            frames=tuple(range(len(images))),
            images=images,
            masks=masks,
            prompt_name=name,
            prompt=prompt,
        )
        (written,) = write(self._captioner, [Question(request)], checks=_CHECKS, ask_again=read_prompt("ask_again"))
        if written.problem is not None:
            raise BackendError(
                f"the captioner's answer is no prompt: got {written.problem.got}, wanted {written.problem.wanted}; "
                "give --prompt instead, or name another captioner"
            )
        text = " ".join(written.text.split())
        _log.info("prompt: %s", text)
        return text


def check_words(words: Words, captioner: ModelChoice | None) -> None:
    """ConfigError for words that a prompt cannot be written by: no captioner for an edit, or one that is of no use."""
    if not words.are_written:
        return
    if captioner is None:
        if words.edit and not words.prompts:
            raise ConfigError(
                "--edit without a --prompt needs a model that writes one: name a captioner in the config, such as "
                "captioner: {name: openai, options: {base_url: ..., model: ...}}, or give the --prompt of the result"
            )
    elif captioner.name == "embedded":
        raise ConfigError(
            "captioner: got 'embedded', which describes what it measures and follows no instruction; wanted openai or "
            "vlm, or none"
        )
    else:
        models.describe("captioner", captioner)


def _key_frames(frames: Iterable[Frames], masks: Iterable[Masks], *, num_frames: int) -> tuple[Frames, Masks]:
    """A few frames spread over the video, made smaller, with their masks."""
    wanted = set(np.linspace(0, num_frames - 1, min(num_frames, _NUM_KEY_FRAMES)).round().astype(int).tolist())
    images, holes = [], []
    for index, (frame, mask) in enumerate(zip(frames, masks, strict=False)):
        if index in wanted:
            width, height = scaled_size(frame.shape[1], frame.shape[0], _SHORT_SIDE_PX)
            size = Size(height_px=height, width_px=width)
            images.append(scale_frames(frame[None], size)[0])
            holes.append(scale_masks(mask[None], size)[0])
    return np.stack(images), np.stack(holes)


def _record(images: Frames) -> Record:
    """What a captioner is told beside the pictures: nothing that is measured."""
    height, width = images.shape[1:3]
    video = Video(
        id="inpaint",
        uri="",
        size_bytes=0,
        width_px=width,
        height_px=height,
        fps=Fraction(1),
        num_frames=len(images),
        duration_s=float(len(images)),
        codec="",
        content_hash="",
    )
    clip = Clip(
        id="inpaint",
        video=video,
        shot=0,
        shot_start_s=0.0,
        shot_stop_s=video.duration_s,
        start_s=0.0,
        stop_s=video.duration_s,
        num_frames=len(images),
        fps=video.fps,
        width_px=width,
        height_px=height,
        sha256="",
        phash="",
    )
    return Record(id=clip.id, clip=clip)
