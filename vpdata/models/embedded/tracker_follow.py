"""One object followed frame by frame in one direction: seen, partly hidden, gone, found again."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.media.masks import Mask, bounding_box
from vpdata.models.embedded.tracker_colour import ColourModel
from vpdata.models.embedded.tracker_mask import largest_parts, signed_distance, snap_to_edges
from vpdata.models.embedded.tracker_motion import Flow, carry, median_flow, motion_evidence

_MIN_AREA_PX = 12
"""Less than this cannot be told from noise."""
_WHOLE = 0.8
"""An object that shows this share of its usual area counts as seen whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One frame as the follower sees it."""

    bins: NDArray[np.intp]
    """[H, W] colour bins."""
    guide: NDArray[np.float32]
    """[H, W] grey in [0, 1]."""
    flow: Flow
    """To the next frame in the direction of time that is followed; zero on the last one."""
    camera: Flow
    """The camera's part of `flow`."""


class Follower:
    """Carries one object's mask from frame to frame."""

    def __init__(self, mask: Mask, colours: ColourModel, view: View) -> None:
        self.mask = mask
        self.alpha: NDArray[np.float32] = mask.astype(np.float32)
        """float32 [H, W] in [0, 1]: the mask with the place of its outline between pixels."""
        self.confidence = 1.0
        """In [0, 1]: how much the object now looks as it did; 0 while it is out of sight."""
        self._colours = colours
        self._usual_area = float(mask.sum())
        self._num_hidden = 0
        self._centre = _centre(mask)
        self._velocity = np.zeros(2, dtype=np.float32)
        self._last = view

    def step(self, view: View) -> None:
        """Move on to the next frame."""
        if self._num_hidden:
            self._search(view)
        else:
            self._carry_on(view)
        self._last = view

    def _carry_on(self, view: View) -> None:
        last = self._last
        window = _window(self.mask, margin_px=self._reach())
        own = median_flow(last.flow[window] - last.camera[window], self.mask[window])
        carried = np.zeros_like(self.alpha)
        carried[window] = carry(self.alpha[window], last.flow[window])
        self._velocity = 0.7 * self._velocity + 0.3 * own if self._velocity.any() else own
        self._centre = _centre(self.mask) + median_flow(last.flow[window], self.mask[window])
        self._refit(view, carried)

    def _refit(self, view: View, carried: NDArray[np.float32]) -> None:
        """Make the carried mask agree with the frame's colours, motion and edges."""
        expected = carried > 0.5
        if expected.sum() < _MIN_AREA_PX:
            self._hide()
            return
        window = _window(expected, margin_px=self._reach())
        is_whole = expected.sum() >= _WHOLE * self._usual_area
        colour = cv2.GaussianBlur(self._colours.evidence(view.bins[window]), (0, 0), 1.0)
        motion = motion_evidence(view.flow[window], view.camera[window], expected[window])
        # What is seen whole grows by its outline alone; what was partly hidden may show again all around.
        prior = np.clip(signed_distance(expected[window]) / 2, -4 if is_whole else -1.2, 2)
        logit = prior + self._colours.separability * colour + motion
        alpha = np.zeros_like(carried)
        alpha[window] = snap_to_edges((1 / (1 + np.exp(-1.5 * logit))).astype(np.float32), view.guide[window])
        mask = np.zeros_like(expected)
        mask[window] = largest_parts(alpha[window] > 0.5, min_share=0.15)
        self._accept(view, mask, alpha)

    def _accept(self, view: View, mask: Mask, alpha: NDArray[np.float32]) -> None:
        area = float(mask.sum())
        similarity = self._colours.similarity(view.bins[mask])
        if area < max(_MIN_AREA_PX, 0.05 * self._usual_area) or similarity < 0.35:
            self._hide()
            return
        self.mask, self.alpha = mask, np.where(mask, np.maximum(alpha, 0.51), np.minimum(alpha, 0.49))
        self.confidence = similarity
        self._num_hidden = 0
        self._centre = _centre(mask)
        is_whole = area >= _WHOLE * self._usual_area
        self._usual_area += (0.1 if is_whole else 0.01) * (area - self._usual_area)
        window = _window(mask, margin_px=self._reach())
        near = np.zeros_like(mask)
        near[window] = cv2.dilate(mask[window].astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
        self._colours.learn(view.bins, mask, near, object_rate=0.04 if is_whole and similarity > 0.7 else 0.0)

    def _hide(self) -> None:
        self.mask = np.zeros_like(self.mask)
        self.alpha = np.zeros_like(self.alpha)
        self.confidence = 0.0
        self._num_hidden = 1

    def _search(self, view: View) -> None:
        """Look for the object near where it should be by now; the longer it is gone, the farther."""
        self._num_hidden += 1
        height, width = self.mask.shape
        x, y = np.clip(self._centre, 0, (width - 1, height - 1)).astype(int)
        self._centre = self._centre + self._velocity + self._last.camera[y, x]
        diameter = float(np.sqrt(self._usual_area))
        radius = diameter + self._num_hidden * (0.5 * float(np.linalg.norm(self._velocity)) + 0.01 * width)
        gate = np.zeros((height, width), dtype=np.uint8)
        cv2.circle(gate, (int(self._centre[0]), int(self._centre[1])), int(radius), 1, -1)
        evidence = cv2.GaussianBlur(self._colours.evidence(view.bins), (0, 0), 1.5)
        likely = ((evidence > 1.0) & (gate > 0)).astype(np.uint8)
        likely = cv2.morphologyEx(likely, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        _, parts, stats, _ = cv2.connectedComponentsWithStats(likely, connectivity=8)
        areas = stats[1:, cv2.CC_STAT_AREA]
        if not areas.size or areas.max() < max(_MIN_AREA_PX, 0.08 * self._usual_area):
            return
        found = parts == 1 + int(areas.argmax())
        if found.sum() > 2 * self._usual_area or self._colours.similarity(view.bins[found]) < 0.6:
            return
        self._refit(view, found.astype(np.float32))

    def _reach(self) -> int:
        """How far around the mask, in pixels, the next one may lie."""
        return 12 + round(0.5 * float(np.sqrt(self._usual_area)))


def _window(mask: Mask, *, margin_px: int) -> tuple[slice, slice]:
    box = bounding_box(mask)
    assert box is not None
    x0, y0, x1, y1 = box
    return slice(max(0, y0 - margin_px), y1 + margin_px), slice(max(0, x0 - margin_px), x1 + margin_px)


def _centre(mask: Mask) -> NDArray[np.float32]:
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()], dtype=np.float32)
