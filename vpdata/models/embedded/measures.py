"""Scores that plain arithmetic on a clip's pixels can give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

import vpdata
from vpdata.media.clips import scaled_size
from vpdata.models.embedded.dense_flow import dense_flow
from vpdata.models.ports import Frames, ModelCard
from vpdata.records import ScoreName

_FLOW_SHORT_SIDE_PX = 144
_MIN_FLOW_PX = 12
"""DIS needs a patch and its surroundings."""
_GRID_PX = 4
"""The global motion is fitted on every fourth pixel of the flow in both directions."""
_NUM_FITS = 5
_MIN_CONTRAST = 2.0 / 255
_BLACK = 16 / 255
_BLOCK_PX = 8
_SAME = 1.5 / 255

Grey = NDArray[np.floating]
"""Floating [T, H, W] luma in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameMeasuresSettings:
    """How densely clips are sampled."""

    sample_fps: float = 4.0
    """Frames per second that are looked at."""
    short_side_px: int = 360
    """Size at which sharpness is measured; motion is measured at 144."""

    def __post_init__(self) -> None:
        if self.sample_fps <= 0 or self.short_side_px < 16:
            raise ValueError(
                f"got sample_fps {self.sample_fps}, short_side_px {self.short_side_px}, wanted over 0 and 16 or more"
            )

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        return ModelCard(
            role=role,
            name="frame-measures",
            revision=vpdata.__version__,
            licence="Apache-2.0",
            source=f"vpdata {vpdata.__version__}",
            options={"sample_fps": self.sample_fps, "short_side_px": self.short_side_px},
        )


class FrameMeasures:
    """Measures motion, sharpness, light and layout; every mean is over the sampled frames.

    - motion, camera_motion, object_motion: mean length of the dense optical flow (DIS, Kroeger et al., ECCV 2016), of
      the robust affine motion fitted to it, and of what remains, in frame diagonals per second; 0 is still. None for
      fewer than two frames or under 12 px.
    - sharpness: standard deviation of the Laplacian over 8 times that of luma, in [0, 1]: 0 smooth, 1 a checkerboard,
      whatever the contrast. None where all frames are flat.
    - exposure: mean luma in [0, 1].
    - contrast: standard deviation of luma over the largest it can be, in [0, 1].
    - black_border_frac: share of the frame outside the bounding box of what is ever lighter than black, in [0, 1].
      None for a black clip.
    - static_frac: share of neighbouring samples that show the same picture, in [0, 1]. None for fewer than two frames.
    """

    def __init__(self, settings: FrameMeasuresSettings) -> None:
        self.sample_fps = settings.sample_fps
        self.max_short_side_px = settings.short_side_px

    def score(self, frames: Frames, *, fps: float) -> Mapping[ScoreName, float | None]:
        """Scores of one clip from frames at `fps`; None where one cannot be computed."""
        bytes_ = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
        grey = np.stack(bytes_).astype(np.float32) / np.float32(255)
        motion, camera, objects = self._motion(bytes_, fps=fps)
        return {
            "motion": motion,
            "camera_motion": camera,
            "object_motion": objects,
            "sharpness": _sharpness(grey),
            "exposure": float(grey.mean()),
            "contrast": float(np.mean([frame.std() for frame in grey]) / 0.5),
            "black_border_frac": _black_border_frac(grey),
            "static_frac": _static_frac(grey),
        }

    def _motion(self, frames: list[NDArray], *, fps: float) -> tuple[float | None, float | None, float | None]:
        """Mean motion, its camera part and its object part, in frame diagonals per second."""
        height, width = frames[0].shape
        if len(frames) < 2 or min(height, width) < _MIN_FLOW_PX:
            return None, None, None
        size = scaled_size(width, height, _FLOW_SHORT_SIDE_PX)
        small = [np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8) for frame in frames]
        # Of its own, since it keeps its working memory and several threads may score clips at once.
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        flows = (dense_flow(dis, before, after)[::_GRID_PX, ::_GRID_PX] for before, after in pairwise(small))
        return mean_motion(flows, diagonal_px=float(np.hypot(*size)), fps=fps)


def mean_motion(flows: Iterable[NDArray[np.floating]], *, diagonal_px: float, fps: float) -> tuple[float, float, float]:
    """Mean length of dense flows, of the camera's part of them, and of what remains, in frame diagonals per second.

    `flows` are [H, W, 2] (x, y) in pixels between neighbouring frames at `fps`, at least one. The camera's part is the
    robust affine motion fitted to each.
    """
    parts = []
    for flow in flows:
        flow = flow.astype(np.float64)
        camera = _affine_part(flow)
        parts.append([np.linalg.norm(part, axis=-1).mean() for part in (flow, camera, flow - camera)])
    motion, camera, objects = np.sum(parts, axis=0) / len(parts) / diagonal_px * fps
    return float(motion), float(camera), float(objects)


def _affine_part(flow: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine motion that most of float64 [H, W, 2] follows, by re-weighted least squares (Cauchy weights)."""
    height, width = flow.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    places = np.stack([x.ravel() / width - 0.5, y.ravel() / height - 0.5, np.ones(x.size)], axis=1)
    vectors = flow.reshape(-1, 2)
    weights = np.ones(len(places))
    fitted = vectors
    for _ in range(_NUM_FITS):
        weighted = places * weights[:, None]
        # The small ridge keeps a frame of one row or column solvable.
        affine = np.linalg.solve(weighted.T @ places + 1e-9 * np.eye(3), weighted.T @ vectors)
        fitted = places @ affine
        residuals = np.linalg.norm(vectors - fitted, axis=1)
        weights = 1 / (1 + np.square(residuals / (np.median(residuals) + 0.05)))
    return fitted.reshape(flow.shape)


def _sharpness(grey: Grey) -> float | None:
    contrasts = grey.std(axis=(1, 2))
    ratios = [
        float(cv2.Laplacian(frame, cv2.CV_32F).std() / (8 * contrast))
        for frame, contrast in zip(grey, contrasts, strict=True)
        if contrast > _MIN_CONTRAST
    ]
    return float(np.mean(ratios)) if ratios else None


def _black_border_frac(grey: Grey) -> float | None:
    lightest = grey.max(axis=0)
    # A row or column is picture where more than 1 % of it ever lights up: single pixels are coding noise.
    rows = np.flatnonzero((lightest > _BLACK).mean(axis=1) > 0.01)
    columns = np.flatnonzero((lightest > _BLACK).mean(axis=0) > 0.01)
    if not rows.size or not columns.size:
        return None
    area = (rows[-1] + 1 - rows[0]) * (columns[-1] + 1 - columns[0])
    return float(1 - area / lightest.size)


def _static_frac(grey: Grey) -> float | None:
    """Two samples are the same where no block mean differs: noise and grain average out, a small motion does not."""
    if len(grey) < 2:
        return None
    height, width = grey.shape[1:]
    size = max(1, width // _BLOCK_PX), max(1, height // _BLOCK_PX)
    blocks = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in grey])
    changes = np.abs(np.diff(blocks, axis=0)).max(axis=(1, 2))
    return float((changes < _SAME).mean())
