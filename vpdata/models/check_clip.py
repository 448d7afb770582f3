"""A clip made on the spot, what a model of each role is asked about it, and what a right answer is like."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.errors import RejectItem
from vpdata.media.clips import ClipReader, ClipWriter
from vpdata.media.masks import decode_masks, encode_mask
from vpdata.media.track_measures import measured_track
from vpdata.models import Role
from vpdata.models.embedded.tags import FixedTags
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
    unheard,
)
from vpdata.models.prompts import read_prompt
from vpdata.records import Clip, Record, ScoreName, Track, Video, clip_id, video_id

_FPS, _NUM_FRAMES, _WIDTH_PX, _HEIGHT_PX, _RADIUS_PX = 12, 24, 480, 320, 40
_LABELS = ("ball", "moving object")
"""What an open-vocabulary detector may find, and what the embedded one does."""
_TEXT, _OTHER_TEXT = "A red ball rolls over rough ground.", "A page of printed text."
_KEY_FRAMES = (0, 8, 15, 23)
_NAMES = re.compile(r"\b(red|round|circle|circular|disc|disk|dot|sphere|orb)\b|ball", re.IGNORECASE)
"""Words for what is seen, such as `beachball` too."""
_MIN_IOU = 0.5
"""With the ball; right boxes and masks of so plain a thing are above 0.7, those of random weights near 0."""
_MAX_COSINE = 0.85
"""With another picture: CLIP has unrelated ones near 0.5, random weights all above 0.9."""
_MIN_ALIGNMENT = 0.15
"""As CLIP has captions of other clips."""
_MOTION = 0.0095
"""True frame diagonals per second, the mean over all pixels: 13.9 px a frame on 3.3 % of a frame of 577 px."""
_SCORES: Mapping[ScoreName, tuple[float, float]] = {
    "motion": (_MOTION / 4, _MOTION * 4),
    "camera_motion": (0.0, _MOTION * 4),
    "object_motion": (0.0, _MOTION * 4),
    "aesthetic": (0.0, 10.0),
    "unsafe": (0.0, 0.5),
    "text_overlay_frac": (0.0, 0.02),
}
"""Lowest and highest that is right for the clip; of all other scores 0 and 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model says of the clip, in a few words."""

    text: str
    doubt: str = ""
    """What a right answer would be like; "" where this is one."""


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
    boxes: list[BoxXyxy] = []
    masks: list[NDArray[np.bool_]] = []
    for x in np.linspace(80, _WIDTH_PX - 80, _NUM_FRAMES).round().astype(int):
        frame, mask = ground.copy(), np.zeros(ground.shape[:2], np.uint8)
        cv2.circle(mask, (int(x), _HEIGHT_PX // 2), _RADIUS_PX, 1, thickness=-1)
        frame[mask > 0] = (200, 40, 30)
        writer.write(frame)
        y, r = _HEIGHT_PX // 2, _RADIUS_PX
        boxes.append((float(x - r), float(y - r), float(x + r + 1), float(y + r + 1)))
        masks.append(mask > 0)
    size = {"height_px": _HEIGHT_PX, "width_px": _WIDTH_PX}
    ball = measured_track([encode_mask(mask) for mask in masks], id=1, label=_LABELS[0], score=1.0, **size)
    return FilmedBall(record=_record(ball), media=writer.finish(), boxes=tuple(boxes), masks=np.stack(masks))


def _find_shots(model: ShotDetector, clip: FilmedBall) -> Answer:
    size = model.frame_size(_WIDTH_PX, _HEIGHT_PX)
    film = [*clip.frames(), *[_ground(seed=1)[::-1, :, ::-1]] * _NUM_FRAMES]
    starts = list(model.shot_starts((cv2.resize(frame, size)[..., ::-1] for frame in film), Fraction(_FPS)))
    is_right = sum(starts) == 2 and any(starts[_NUM_FRAMES - 1 : _NUM_FRAMES + 2])
    doubt = "" if is_right else f"wanted 2, the second from frame {_NUM_FRAMES}"
    return Answer(text=f"{sum(starts)} shots in two scenes", doubt=doubt)


def _tag(model: Tagger, clip: FilmedBall) -> Answer:
    (tags,) = model.tags([clip.frames()[list(_KEY_FRAMES)]])
    if isinstance(tags, RejectItem):
        return Answer(text=f"{tags}, got {tags.got}", doubt="wanted labels")
    # A fixed list says nothing of the clip.
    is_right = isinstance(model, FixedTags) or any(map(_NAMES.search, tags))
    text = f"{len(tags)} tags" + (f": {', '.join(tags[:5])}" if tags else "")
    return Answer(text=text, doubt="" if is_right else "wanted one that names a ball")


def _detect(model: Detector, clip: FilmedBall) -> Answer:
    frame, frames = _NUM_FRAMES // 2, clip.frames()
    around = [min(max(frame + round(offset_s * _FPS), 0), _NUM_FRAMES - 1) for offset_s in model.context_s]
    key_frame = KeyFrame(image=frames[frame], context=frames[around], labels=_LABELS)
    (boxes,) = model.detect([key_frame])
    if not boxes:
        return Answer(text="0 boxes", doubt="wanted one of the ball")
    iou = _box_iou(boxes[0].box, clip.boxes[frame])
    best = f"the best a {boxes[0].label} at {boxes[0].score:.2f}, IoU {iou:.2f} with the ball"
    return Answer(text=f"{len(boxes)} boxes, {best}", doubt=_too_low(iou, _MIN_IOU))


def _track(model: MaskTracker, clip: FilmedBall) -> Answer:
    prompt = BoxPrompt(frame=0, box=clip.boxes[0], label=_LABELS[0])
    size = {"height_px": _HEIGHT_PX, "width_px": _WIDTH_PX}
    (track,) = model.track(clip.frames(model.max_short_side_px), [prompt], **size, seed=0)
    found = decode_masks(track.counts, **size)
    iou = float((found & clip.masks).sum() / (found | clip.masks).sum())
    return Answer(text=f"IoU {iou:.2f} with the ball", doubt=_too_low(iou, _MIN_IOU))


def _caption(model: Captioner, clip: FilmedBall) -> Answer:
    request = CaptionRequest(
        record=clip.record,
        track=None,
        frames=_KEY_FRAMES,
        images=clip.frames()[list(_KEY_FRAMES)],
        masks=None,
        prompt_name="dense_clip",
        prompt=read_prompt("dense_clip").format(num_frames=len(_KEY_FRAMES), duration_s="2.0", label=""),
    )
    (text,) = model.caption([request], alive=unheard)
    doubt = "" if _NAMES.search(text) else "wanted a text that names the ball"
    return Answer(text=f"{len(text.split())} words: {text[:60]!a}", doubt=doubt)


def _score(model: Scorer, clip: FilmedBall) -> Answer:
    step = max(1, round(_FPS / model.sample_fps))
    scores = model.score(clip.frames(model.max_short_side_px)[::step], fps=_FPS / step)
    doubts = []
    for name, value in scores.items():
        lowest, highest = _SCORES.get(name, (0.0, 1.0))
        if value is None or not lowest <= value <= highest:
            doubts.append(f"{name} from {lowest:.3g} to {highest:.3g}")
    return Answer(text=_shown(scores), doubt=f"wanted {', '.join(doubts)}" if doubts else "")


def _score_text(model: TextScorer, clip: FilmedBall) -> Answer:
    frames = clip.frames(model.max_short_side_px)[list(_KEY_FRAMES)]
    scores, others = model.score(frames, _TEXT), model.score(frames, _OTHER_TEXT)
    text = f"{_shown(scores)}; of another text {_shown(others)}"
    (value,), (other,) = scores.values(), others.values()
    is_right = value is not None and other is not None and value >= max(_MIN_ALIGNMENT, other)
    doubt = "" if is_right else f"wanted {_MIN_ALIGNMENT} or more, and more than of another text"
    return Answer(text=text, doubt=doubt)


def _embed(model: Embedder, clip: FilmedBall) -> Answer:
    of_clip = model.embed(clip.frames(model.max_short_side_px)[list(_KEY_FRAMES)])
    cosine = float(of_clip @ model.embed(_page()[None]))
    doubt = "" if cosine <= _MAX_COSINE else f"wanted {_MAX_COSINE} or less"
    return Answer(text=f"{len(of_clip)} numbers, cosine {cosine:.2f} with a page of text", doubt=doubt)


ASK: Mapping[Role, Callable[[Any, FilmedBall], Answer]] = {
    "shot_detector": _find_shots,
    "tagger": _tag,
    "detector": _detect,
    "mask_tracker": _track,
    "captioner": _caption,
    "scorer": _score,
    "text_scorer": _score_text,
    "embedder": _embed,
}
"""For each role a call of the model and a judgement of what it answers."""


def _shown(scores: Mapping[Any, float | None]) -> str:
    return ", ".join(f"{name} {'none' if value is None else f'{value:.3g}'}" for name, value in scores.items())


def _too_low(got: float, wanted: float) -> str:
    return "" if got >= wanted else f"wanted {wanted} or more"


def _box_iou(a: BoxXyxy, b: BoxXyxy) -> float:
    """Intersection over union in [0, 1]."""
    width, height = (max(0.0, min(a[axis + 2], b[axis + 2]) - max(a[axis], b[axis])) for axis in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def _page() -> NDArray[np.uint8]:
    """Lines of black text on white."""
    page = np.full((_HEIGHT_PX, _WIDTH_PX, 3), 255, dtype=np.uint8)
    for y in range(30, _HEIGHT_PX, 30):
        cv2.putText(page, "A page of printed text.", (20, y), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 2)
    return page


def _ground(*, seed: int) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(60, 200, (16, 24, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (_WIDTH_PX, _HEIGHT_PX), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _record(ball: Track) -> Record:
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
    return Record(id=clip.id, clip=clip, detections=(), tracks=(ball,))
