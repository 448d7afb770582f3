"""The work behind the page: a video taken in, an object masked, its hole filled; one job at a time on loaded models."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from vpdata.app.limits import LimitSettings, check_upload
from vpdata.app.session import Session
from vpdata.errors import ConfigError
from vpdata.inpaint.any_length import Frames, Masks
from vpdata.inpaint.edit import PromptWriter
from vpdata.inpaint.first_frame import check_aspect, read_image
from vpdata.inpaint.fit import Size, scale_frames
from vpdata.inpaint.inpainter import Inpainter
from vpdata.inpaint.input_mask import open_mask
from vpdata.inpaint.input_video import VideoInput, open_video
from vpdata.inpaint.objects import ObjectFinder
from vpdata.inpaint.options import Wanted, Words
from vpdata.inpaint.output_video import check_output
from vpdata.inpaint.run import inpaint_file
from vpdata.inpaint.settings import InpaintSettings
from vpdata.inpaint.windows import Window
from vpdata.media.clips import ClipReader, ClipSettings, ClipWriter, scaled_size
from vpdata.media.masks import encode_mask

Tell = Callable[[float, str], object]
"""Told how much of a job is done, in [0, 1], and what it is at."""

_PREVIEW = ClipSettings(short_side_px=480, crf=20)
_TINT = np.array((255, 60, 120))
_TINT_FRAC = 0.5


class Studio:
    """Loads its models once. Each job holds them alone, and looks after every frame or step whether it was stopped."""

    def __init__(self, settings: InpaintSettings, limits: LimitSettings) -> None:
        """BackendError and ConfigError for weights that cannot be used."""
        self._settings = settings
        self._limits = limits
        self._inpainter = Inpainter(settings)
        self._finder = ObjectFinder(settings.objects)
        self._writer = PromptWriter(settings.captioner)
        self._models = threading.Lock()

    @property
    def wants_first_frame(self) -> bool:
        """Whether the user must give the first frame filled."""
        return self._inpainter.spec.takes_first_frame and self._settings.first_frame is None

    def take_in(self, session: Session, tell: Tell) -> VideoInput | None:
        """Begin anew with the upload that the session has claimed; None where another job has taken that.

        ConfigError for one that is not accepted.
        """
        with session.job():
            path = session.take_claimed()
            if path is None:
                return None
            session.video = session.preview = session.mask = session.first_frame = None
            session.forget_clicks()
            check_upload(path, self._limits)
            video = open_video(path)
            session.preview = _preview(session, "before", video.frames(), video, tell)
            session.video = video
        return video

    def picture(self, session: Session, frame: int) -> Frames:
        """uint8 `[h, w, 3]` RGB of a frame, as large as the preview."""
        assert session.preview is not None, "a video was taken in"
        return ClipReader(session.preview.read_bytes()).read([frame])[0]

    def find(self, session: Session, wanted: Wanted, tell: Tell) -> tuple[Path, int]:
        """Track what is wanted; the video with it tinted, and on how many frames it is. ConfigError where it is not."""
        video = _video_of(session)
        with session.job(), self._models:
            session.mask = None
            size = [video.size.height_px, video.size.width_px]
            masks = []
            for mask in self._finder.masks(video.frames(), wanted, fps=float(video.average_fps)):
                session.check()
                tell(0.7 * len(masks) / video.num_frames, "Tracking the object")
                counts = encode_mask(mask)
                masks.append(None if counts is None else {"size": size, "counts": counts})
            path = session.new_file("mask", ".json")
            path.write_text(json.dumps({"tracks": [{"masks": masks}]}))
            hole = open_mask(path, video, self._settings.mask)
            overlay = _preview(session, "overlay", _tinted(video.frames(), hole.frames()), video, tell, begin=0.7)
            session.mask = path
        return overlay, hole.num_holes

    def take_first_frame(self, session: Session, uploaded: Path) -> Path:
        """The session's own copy of the first frame with its hole filled. ConfigError where it is no picture."""
        session.first_frame = None
        image = read_image(uploaded)
        path = session.new_file("first-frame", ".png")
        path.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
        session.first_frame = path
        return path

    def make(self, session: Session, words: Words, tell: Tell) -> tuple[Path, Path]:
        """Fill the hole; the finished file, and its preview. ConfigError for words or a frame that cannot be used."""
        video = _video_of(session)
        if session.mask is None:
            raise ConfigError("There is no mask yet: click or name the object, then press Find.")
        first_frame = None if session.first_frame is None else read_image(session.first_frame)
        if first_frame is not None:
            check_aspect(first_frame, video.shown_size, video.size)
        with session.job(), self._models:
            mask = open_mask(session.mask, video, self._settings.mask)
            prompts = self._writer.prompts(words, video.frames(), mask.frames(), num_frames=video.num_frames)
            windows = self._inpainter.windows(video.num_frames)
            num_steps = self._settings.sampling.num_steps

            def on_step(window: Window, step: int) -> None:
                session.check()
                done = (window.index + step / num_steps) / len(windows)
                tell(0.9 * done, f"Part {window.index + 1} of {len(windows)}, step {step} of {num_steps}")

            output = _output_of(session, video)
            with _no_leftovers(output):
                inpaint_file(
                    self._inpainter.window_model(prompts, first_frame=first_frame, on_step=on_step),
                    video,
                    mask,
                    output,
                    size=self._inpainter.model_size(video.shown_size),
                    windows=windows,
                    made_by={},
                    settings=self._settings.output,
                    redo=True,
                )
            after = _preview(session, "after", open_video(output).frames(), video, tell, begin=0.9)
        return output, after


def _video_of(session: Session) -> VideoInput:
    if session.video is None:
        raise ConfigError("There is no video yet: upload one first.")
    return session.video


def _output_of(session: Session, video: VideoInput) -> Path:
    """An .mp4, or where that cannot hold the video's sound an .mkv."""
    output = session.new_file("inpainted", ".mp4")
    try:
        check_output(output, video)
    except ConfigError:
        return output.with_suffix(".mkv")
    return output


@contextmanager
def _no_leftovers(output: Path) -> Iterator[None]:
    """A stopped run cannot be gone on with from the page."""
    try:
        yield
    finally:
        shutil.rmtree(output.with_name(f".{output.name}.work"), ignore_errors=True)


def _preview(
    session: Session, kind: str, frames: Iterable[Frames], video: VideoInput, tell: Tell, *, begin: float = 0.0
) -> Path:
    """Frames at an even rate and a size that every browser plays; `begin` is the part of the job that is done."""
    shown = video.shown_size
    width, height = scaled_size(shown.width_px, shown.height_px, _PREVIEW.short_side_px)
    size = Size(height_px=max(2, height // 2 * 2), width_px=max(2, width // 2 * 2))
    fps = Fraction(video.average_fps).limit_denominator(1001)
    writer = ClipWriter(width_px=size.width_px, height_px=size.height_px, fps=fps, settings=_PREVIEW)
    try:
        for index, frame in enumerate(frames):
            session.check()
            tell(begin + (1 - begin) * index / video.num_frames, "Preparing the picture")
            writer.write(scale_frames(frame[None], size)[0])
        path = session.new_file(kind, ".mp4")
        path.write_bytes(writer.finish())
    finally:
        writer.discard()
    return path


def _tinted(frames: Iterable[Frames], masks: Iterable[Masks]) -> Iterator[Frames]:
    """With the hole in colour and a line around it."""
    for frame, mask in zip(frames, masks, strict=True):
        shown = frame.copy()
        shown[mask] = (shown[mask] * (1 - _TINT_FRAC) + _TINT * _TINT_FRAC).astype(np.uint8)
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(shown, contours, -1, (255, 255, 255), thickness=max(1, min(frame.shape[:2]) // 240))
        yield shown
