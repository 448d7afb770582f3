"""A clip made on the spot, and what a model of each role is asked about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.errors import RejectItem
from vpdata.media.clips import ClipReader, ClipWriter
from vpdata.media.masks import decode_masks
from vpdata.models import Role
from vpdata.models.ports import (
    BoxPrompt,
    BoxXyxy,
    Captioner,
    CaptionRequest,
    Detector,
    Embedder,
    Frames,
    KeyFrame,
    MaskTracker,
    Scorer,
    ShotDetector,
    Tagger,
    TextScorer,
)
from vpdata.models.prompts import read_prompt
from vpdata.records import Clip, Record, Video, clip_id, video_id

_FPS, _NUM_FRAMES, _WIDTH_PX, _HEIGHT_PX, _RADIUS_PX = 12, 24, 480, 320, 40
_LABELS = ("ball", "moving object")
"""What an open-vocabulary detector may find, and what the embedded one does."""
_TEXT = "A red ball rolls over rough ground."
_KEY_FRAMES = (0, 8, 15, 23)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmedBall:
    """Two seconds of a red ball that rolls over rough ground."""

    record: Record
    media: bytes
    """The clip file."""
    boxes: tuple[BoxXyxy, ...]
    """Where the ball is on each frame."""
    masks: NDArray[np.bool_]
    """bool [T, H, W]: its pixels."""

    def frames(self, max_short_side_px: int | None = None) -> Frames:
        """uint8 [T, H, W, 3] RGB, read as the stages read a clip."""
        return ClipReader(self.media).read(max_short_side_px=max_short_side_px)


def make_clip() -> FilmedBall:
    """Draw and encode it."""
    ground = _ground(seed=0)
    writer = ClipWriter(width_px=_WIDTH_PX, height_px=_HEIGHT_PX, fps=Fraction(_FPS))
    boxes, masks = [], []
    for x in np.linspace(80, _WIDTH_PX - 80, _NUM_FRAMES).round().astype(int):
        frame, mask = ground.copy(), np.zeros(ground.shape[:2], np.uint8)
        cv2.circle(mask, (int(x), _HEIGHT_PX // 2), _RADIUS_PX, 1, thickness=-1)
        frame[mask > 0] = (200, 40, 30)
        writer.write(frame)
        y, r = _HEIGHT_PX // 2, _RADIUS_PX
        boxes.append((float(x - r), float(y - r), float(x + r + 1), float(y + r + 1)))
        masks.append(mask > 0)
    return FilmedBall(record=_record(), media=writer.finish(), boxes=tuple(boxes), masks=np.stack(masks))


def _find_shots(model: ShotDetector, clip: FilmedBall) -> str:
    size = model.frame_size(_WIDTH_PX, _HEIGHT_PX)
    film = [*clip.frames(), *[_ground(seed=1)[::-1, :, ::-1]] * _NUM_FRAMES]
    starts = list(model.shot_starts((cv2.resize(frame, size)[..., ::-1] for frame in film), Fraction(_FPS)))
    return f"{sum(starts)} shots in two scenes"


def _tag(model: Tagger, clip: FilmedBall) -> str:
    (tags,) = model.tags([clip.frames()[list(_KEY_FRAMES)]])
    if isinstance(tags, RejectItem):
        raise tags
    return f"{len(tags)} tags: {', '.join(tags[:5])}"


def _detect(model: Detector, clip: FilmedBall) -> str:
    frame, frames = _NUM_FRAMES // 2, clip.frames()
    around = [min(max(frame + round(offset_s * _FPS), 0), _NUM_FRAMES - 1) for offset_s in model.context_s]
    key_frame = KeyFrame(image=frames[frame], context=frames[around], labels=_LABELS)
    (boxes,) = model.detect([key_frame])
    best = f", the best a {boxes[0].label} at {boxes[0].score:.2f}" if boxes else ""
    return f"{len(boxes)} boxes{best}"


def _track(model: MaskTracker, clip: FilmedBall) -> str:
    prompt = BoxPrompt(frame=0, box=clip.boxes[0], label=_LABELS[0])
    size = {"height_px": _HEIGHT_PX, "width_px": _WIDTH_PX}
    (track,) = model.track(clip.frames(model.max_short_side_px), [prompt], **size, seed=0)
    found = decode_masks(track.counts, **size)
    return f"IoU {(found & clip.masks).sum() / (found | clip.masks).sum():.2f} with the ball"


def _caption(model: Captioner, clip: FilmedBall) -> str:
    request = CaptionRequest(
        record=clip.record,
        track=None,
        frames=_KEY_FRAMES,
        images=clip.frames()[list(_KEY_FRAMES)],
        masks=None,
        prompt_name="dense_clip",
        prompt=read_prompt("dense_clip").format(num_frames=len(_KEY_FRAMES), duration_s="2.0", label=""),
    )
    (text,) = model.caption([request])
    return f"{len(text.split())} words: {text[:60]}"


def _score(model: Scorer, clip: FilmedBall) -> str:
    step = max(1, round(_FPS / model.sample_fps))
    return _shown(model.score(clip.frames(model.max_short_side_px)[::step], fps=_FPS / step))


def _score_text(model: TextScorer, clip: FilmedBall) -> str:
    return _shown(model.score(clip.frames(model.max_short_side_px)[list(_KEY_FRAMES)], _TEXT))


def _embed(model: Embedder, clip: FilmedBall) -> str:
    return f"{len(model.embed(clip.frames(model.max_short_side_px)[list(_KEY_FRAMES)]))} numbers"


ASK: Mapping[Role, Callable[[Any, FilmedBall], str]] = {
    "shot_detector": _find_shots,
    "tagger": _tag,
    "detector": _detect,
    "mask_tracker": _track,
    "captioner": _caption,
    "scorer": _score,
    "text_scorer": _score_text,
    "embedder": _embed,
}
"""For each role a call of the model, which says in a few words what it answered."""


def _shown(scores: Mapping[Any, float | None]) -> str:
    return ", ".join(f"{name} {'none' if value is None else f'{value:.3g}'}" for name, value in scores.items())


def _ground(*, seed: int) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(60, 200, (16, 24, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (_WIDTH_PX, _HEIGHT_PX), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _record() -> Record:
    duration_s = _NUM_FRAMES / _FPS
    size = {"width_px": _WIDTH_PX, "height_px": _HEIGHT_PX, "fps": Fraction(_FPS), "num_frames": _NUM_FRAMES}
    unhashed = "0" * 64
    id_ = video_id("check.mp4")
    video = Video(
        id=id_, uri="check.mp4", size_bytes=1, duration_s=duration_s, codec="h264", content_hash=unhashed, **size
    )
    clip = Clip(
        id=clip_id(id_, 0, duration_s),
        video=video,
        shot=0,
        shot_start_s=0.0,
        shot_stop_s=duration_s,
        start_s=0.0,
        stop_s=duration_s,
        sha256=unhashed,
        phash="0" * 16,
        **size,
    )
    return Record(id=clip.id, clip=clip, detections=(), tracks=())
