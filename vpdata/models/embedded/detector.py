"""People, faces and moving objects by OpenCV alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.config import to_plain
from vpdata.errors import BackendError
from vpdata.models.embedded.camera import Gray, affine_of_flow, careful_flow
from vpdata.models.nms import class_aware_nms
from vpdata.models.ports import Box, BoxXyxy, Frames, Image, KeyFrame, ModelCard

PERSON, FACE, MOVING = "person", "face", "moving object"
MIN_MISMATCH = 10
"""Grey levels of 255 by which a pixel must differ from a camera-compensated neighbour frame to count as changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedDetectorSettings:
    """Options of `EmbeddedDetector`."""

    people_short_side_px: int = 400
    """People and faces are looked for at this size; an upright person must be about 100 px tall there, a face 24 px."""
    min_person_margin: float = 0.6
    """Least distance from the people classifier's boundary; higher finds fewer and surer."""
    min_face_weight: float = 55.2
    """Least weight of the face cascade's last stage; tried on film: true faces 55.3 to 57.2, false ones up to 55.1."""
    motion_short_side_px: int = 240
    """Motion is measured at this size."""
    motion_s: float = 0.12
    """A moving object is one that moves in this time before and after the key frame."""
    min_motion_frac: float = 0.004
    """Least displacement in `motion_s` against the background, as a share of the short side."""
    min_area_frac: float = 0.004
    max_area_frac: float = 0.6
    """Bounds on a moving region's area, as a share of the frame."""
    max_iou: float = 0.5
    """Of two boxes of one label that overlap by more than this, the lower score goes."""

    def __post_init__(self) -> None:
        if min(self.people_short_side_px, self.motion_short_side_px) < 64:
            raise ValueError("people_short_side_px and motion_short_side_px: wanted at least 64")
        if self.motion_s <= 0:
            raise ValueError(f"motion_s: got {self.motion_s}, wanted more than 0")
        if not 0 <= self.min_area_frac < self.max_area_frac <= 1:
            raise ValueError(
                f"got min_area_frac {self.min_area_frac} and max_area_frac {self.max_area_frac}, "
                "wanted 0 <= min_area_frac < max_area_frac <= 1"
            )

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        return ModelCard(
            role=role,
            name="embedded",
            revision="2",
            licence="Apache-2.0",
            source=f"opencv {cv2.__version__}",
            options=to_plain(self),
        )


class EmbeddedDetector:
    """A `Detector` of `person`, `face` and `moving object`; other labels are unknown to it and never found.

    People: histograms of oriented gradients with a linear SVM (Dalal and Triggs 2005), upright and whole. Faces: a
    cascade of Haar features (Viola and Jones 2001), frontal. Moving objects: regions whose optical flow differs from
    the camera's, both before and after the key frame, so that background just uncovered is not taken for an object.
    """

    has_own_labels = True

    def __init__(self, settings: EmbeddedDetectorSettings) -> None:
        self._settings = settings
        self.context_s = (-settings.motion_s, settings.motion_s)
        self._people = cv2.HOGDescriptor()
        self._people.setSVMDetector(np.array(cv2.HOGDescriptor.getDefaultPeopleDetector()))
        path = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_alt2.xml"
        self._faces = cv2.CascadeClassifier(str(path))
        if self._faces.empty():
            raise BackendError(f"cannot load OpenCV's face cascade from {path}; reinstall opencv-python-headless")

    def detect(self, key_frames: Sequence[KeyFrame]) -> list[list[Box]]:
        return [self._detect_one(key_frame) for key_frame in key_frames]

    def _detect_one(self, key_frame: KeyFrame) -> list[Box]:
        wanted = set(key_frame.labels or (PERSON, FACE, MOVING))
        named: list[Box] = []
        if wanted & {PERSON, FACE}:
            small, scale = _gray_at(key_frame.image, self._settings.people_short_side_px)
            named += self._find_people(small, scale) if PERSON in wanted else []
            named += self._find_faces(small, scale) if FACE in wanted else []
        moving = self._find_moving(key_frame.image, key_frame.context) if MOVING in wanted else []
        # One object gets one box: what moves inside a person or a face is that person or face.
        moving = [box for box in moving if all(_share_inside(box.box, other.box) < 0.7 for other in named)]
        height, width = key_frame.image.shape[:2]
        inside = [box for box in (_clamped(one, width, height) for one in named + moving) if box is not None]
        return class_aware_nms(inside, max_iou=self._settings.max_iou)

    def _find_people(self, image: Gray, scale: float) -> list[Box]:
        # Smaller than one detection window, OpenCV's HOG asserts instead of answering "none".
        if image.shape[0] < 128 or image.shape[1] < 64:
            return []
        found, margins = self._people.detectMultiScale(
            image, hitThreshold=self._settings.min_person_margin, winStride=(8, 8), padding=(16, 16), scale=1.05
        )
        boxes = []
        for (x, y, width, height), margin in zip(found, np.ravel(margins), strict=True):
            # The classifier's window has a margin around the person (16 of 64 x 128 px on each side).
            x0, y0 = x + 0.15 * width, y + 0.07 * height
            box = (x0 / scale, y0 / scale, (x0 + 0.7 * width) / scale, (y0 + 0.86 * height) / scale)
            boxes.append(Box(box=box, label=PERSON, score=float(1 - np.exp(-margin))))
        return boxes

    def _find_faces(self, image: Gray, scale: float) -> list[Box]:
        found, _, weights = self._faces.detectMultiScale3(
            image, scaleFactor=1.1, minNeighbors=5, minSize=(24, 24), outputRejectLevels=True
        )
        boxes = []
        for (x, y, width, height), weight in zip(found, np.ravel(weights), strict=True):
            if weight >= self._settings.min_face_weight:
                box = (x / scale, y / scale, (x + width) / scale, (y + height) / scale)
                boxes.append(Box(box=box, label=FACE, score=float(1 / (1 + np.exp(55 - weight)))))
        return boxes

    def _find_moving(self, image: Image, context: Frames) -> list[Box]:
        small, scale = _gray_at(image, self._settings.motion_short_side_px)
        motions = []
        for other in context:
            if np.array_equal(other, image):  # clamped at the clip's first or last frame
                continue
            motion = _motion_against_camera(small, _gray_at(other, self._settings.motion_short_side_px)[0])
            if motion is not None:
                motions.append(motion)
        if not motions:
            return []
        speed_px = np.minimum.reduce([speed for speed, _ in motions])
        mismatch = np.maximum.reduce([mismatch for _, mismatch in motions])
        boxes = []
        for (x0, y0, x1, y1), score in self._moving_regions(speed_px, mismatch):
            boxes.append(Box(box=(x0 / scale, y0 / scale, x1 / scale, y1 / scale), label=MOVING, score=score))
        return boxes

    def _moving_regions(
        self, speed_px: NDArray[np.float32], mismatch: NDArray[np.float32]
    ) -> list[tuple[BoxXyxy, float]]:
        short = min(speed_px.shape)
        # Parallax and noise raise the background's own residual; an object must stand out from it.
        threshold_px = max(self._settings.min_motion_frac * short, 4 * float(np.median(speed_px)))
        shows = mismatch > MIN_MISMATCH
        is_moving = _without_guesses(speed_px > threshold_px, speed_px, shows).astype(np.uint8)
        is_moving = cv2.morphologyEx(is_moving, cv2.MORPH_OPEN, _disc(short // 60))
        is_moving = cv2.morphologyEx(is_moving, cv2.MORPH_CLOSE, _disc(short // 20))
        num_regions, region_of, stats, _ = cv2.connectedComponentsWithStats(is_moving)
        regions = []
        for region in range(1, num_regions):
            x, y, width, height, area = (int(value) for value in stats[region])
            inside = region_of == region
            is_seen = float(shows[inside].mean()) >= 0.2
            if is_seen and self._settings.min_area_frac <= area / speed_px.size <= self._settings.max_area_frac:
                score = max(0.0, 1 - threshold_px / float(speed_px[inside].mean()))
                regions.append(((x, y, x + width, y + height), score))
        return regions


def _without_guesses(
    is_moving: NDArray[np.bool_], speed_px: NDArray[np.float32], shows: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """What moves without the flat ground around and between objects, into which their flow spreads, ever slower.

    A real object hides or uncovers something that shows; its own flat inside is as fast as that.
    """
    reach = _disc(min(shows.shape) // 12)
    is_near = cv2.morphologyEx(shows.astype(np.uint8), cv2.MORPH_CLOSE, reach) > 0
    num_regions, region_of = cv2.connectedComponents(is_moving.astype(np.uint8))
    typical_px = np.full(num_regions, np.inf, dtype=np.float32)
    for region in range(1, num_regions):
        seen_px = speed_px[shows & (region_of == region)]
        if seen_px.size:
            typical_px[region] = np.median(seen_px)
    return is_moving & (is_near | (speed_px > 0.6 * typical_px[np.asarray(region_of, dtype=np.intp)]))


def _motion_against_camera(first: Gray, second: Gray) -> NDArray[np.float32] | None:
    """What the camera's motion does not explain, or None where that motion is unknown.

    float32 [2, H, W] on the pixels of `first`: displacement in pixels, and difference in grey levels after `second` is
    brought back to where `first` was. Both are 0 where the scene has left the frame.
    """
    flow = careful_flow(first, second)
    gradient = cv2.Sobel(first, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(first, cv2.CV_32F, 0, 1) ** 2
    camera = affine_of_flow(flow, gradient > 20**2)
    if camera is None:
        return None
    rows, columns = np.mgrid[: first.shape[0], : first.shape[1]].astype(np.float32)
    x = (camera[0, 0] * columns + camera[0, 1] * rows + camera[0, 2]).astype(np.float32)
    y = (camera[1, 0] * columns + camera[1, 1] * rows + camera[1, 2]).astype(np.float32)
    displacement = np.hypot(columns + flow[..., 0] - x, rows + flow[..., 1] - y)
    aligned = cv2.remap(second, x, y, cv2.INTER_LINEAR)
    mismatch = cv2.absdiff(cv2.GaussianBlur(first, (5, 5), 0), cv2.GaussianBlur(aligned, (5, 5), 0))
    is_inside = (x >= 2) & (y >= 2) & (x <= first.shape[1] - 3) & (y <= first.shape[0] - 3)
    return np.stack([displacement, mismatch]).astype(np.float32) * is_inside


def _gray_at(image: Image, short_side_px: int) -> tuple[Gray, float]:
    """The image in grey at a short side (smaller images are enlarged), and the scale that was applied."""
    scale = short_side_px / min(image.shape[:2])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    resized = cv2.resize(gray, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return resized.astype(np.uint8), scale


def _disc(radius_px: int) -> NDArray[np.uint8]:
    size = 2 * max(radius_px, 1) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).astype(np.uint8)


def _share_inside(inner: BoxXyxy, outer: BoxXyxy) -> float:
    """Share of the area of `inner` that lies in `outer`."""
    width = min(inner[2], outer[2]) - max(inner[0], outer[0])
    height = min(inner[3], outer[3]) - max(inner[1], outer[1])
    return max(width, 0.0) * max(height, 0.0) / ((inner[2] - inner[0]) * (inner[3] - inner[1]))


def _clamped(box: Box, width_px: int, height_px: int) -> Box | None:
    """The part of the box inside the image; None where it has no area."""
    x0, y0, x1, y1 = (float(value) for value in box.box)
    x0, x1 = max(x0, 0.0), min(x1, float(width_px))
    y0, y1 = max(y0, 0.0), min(y1, float(height_px))
    return Box(box=(x0, y0, x1, y1), label=box.label, score=box.score) if x0 < x1 and y0 < y1 else None
