"""One object followed frame by frame in one direction: seen, partly hidden, gone, found again."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.media.masks import Mask, bounding_box
from vpdata.models.embedded.tracker_colour import ColourModel
from vpdata.models.embedded.tracker_mask import grown, largest_parts, signed_distance, snap_to_edges
from vpdata.models.embedded.tracker_motion import Flow, carry, median_flow, motion_evidence
from vpdata.models.embedded.tracker_plate import BackgroundPlate

_MIN_AREA_PX = 12
"""Less than this cannot be told from noise."""
_WHOLE = 0.8
"""An object that shows this share of its usual area counts as seen whole."""
_LOST = 0.05
"""One that shows less than this counts as hidden."""
_MIN_SIMILARITY = 0.6
"""Colours less similar than this are something else's."""
_ALIKE = 0.3
"""The same for the mean colour evidence, as a share of what is usual for the object."""
_FAR_FROM_WHOLE, _FAR_FROM_PART, _DEEP_INSIDE = -6.0, -1.8, 2.25
"""Log-odds of being the object's by place: far outside where it is expected whole, or partly hidden, and inside it."""
_PER_PIXEL, _PER_COLOUR, _PER_MOTION, _LIKE_BACKGROUND, _UNLIKE_BACKGROUND = 0.75, 2.25, 1.5, 3.0, 1.0
"""Log-odds per pixel from the outline, and per unit of each evidence."""
GAP_PX = 4
"""Pixels this near to an outline may be the object's or the background's, and teach neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One frame as the follower sees it."""

    image: NDArray[np.uint8]
    """[H, W, 3] RGB, slightly blurred."""
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
        self.alpha = np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0), dtype=np.float32)
        """float32 [H, W] in [0, 1]: the mask with the place of its outline between pixels."""
        self.confidence = 1.0
        """In [0, 1]: how much the object now looks as it did; 0 while it is out of sight."""
        self._colours = colours
        self._usual_area = float(mask.sum())
        self._usual_evidence = max(0.0, float(colours.evidence(view.bins[mask]).mean()))
        self._num_hidden = 0
        self._centre = _centre(mask)
        self._velocity = np.zeros(2, dtype=np.float32)
        """Against the background, (x, y) in pixels per frame, while the object was last seen whole."""
        self._plate = BackgroundPlate(view.image, grown(mask, GAP_PX))
        self._last = view

    def step(self, view: View) -> None:
        """Move on to the next frame."""
        self._plate.carry(self._last.camera)
        expected = self._found_again(view) if self._num_hidden else self._carried()
        if expected is None or np.count_nonzero(expected > 0.5) < _MIN_AREA_PX:
            self._hide()
        else:
            self._accept(view, self._refitted(view, expected))
        self._last = view

    def _carried(self) -> NDArray[np.float32]:
        """Where the last frame's flow takes the mask."""
        flow, camera = self._last.flow, self._last.camera
        moved = median_flow(flow, self.mask)
        window = _window(self.mask, margin_px=8 + round(float(np.abs(moved).max())))
        if self._is_whole(self.mask):
            own = median_flow(flow[window] - camera[window], self.mask[window])
            self._velocity += (0.3 if self._velocity.any() else 1.0) * (own - self._velocity)
        self._centre = _centre(self.mask) + moved
        carried = np.zeros_like(self.alpha)
        carried[window] = carry(self.alpha[window], flow[window])
        return carried

    def _refitted(self, view: View, expected: NDArray[np.float32]) -> NDArray[np.float32]:
        """The expected mask made to agree with the frame's colours, motion, background and edges."""
        mask = expected > 0.5
        window = _window(mask, margin_px=self._reach())
        is_whole = self._is_whole(mask)
        # What is seen whole grows by its outline alone; what was partly hidden may show again all around.
        far = _FAR_FROM_WHOLE if is_whole else _FAR_FROM_PART
        log_odds = np.clip(_PER_PIXEL * signed_distance(mask[window]), far, _DEEP_INSIDE)
        colour = cv2.GaussianBlur(self._colours.evidence(view.bins[window]), (0, 0), 1.0)
        log_odds += _PER_COLOUR * self._colours.separability * colour
        own = view.flow[window] - view.camera[window]
        typical = median_flow(own, mask[window]) if is_whole else self._velocity
        log_odds += _PER_MOTION * motion_evidence(own, typical)
        plate = cv2.blur(self._plate.evidence(view.image, window), (3, 3))
        log_odds += np.where(plate < 0, _LIKE_BACKGROUND, _UNLIKE_BACKGROUND) * plate
        alpha = np.zeros_like(expected)
        alpha[window] = snap_to_edges((1 / (1 + np.exp(-log_odds))).astype(np.float32), view.guide[window])
        mask = np.zeros_like(mask)
        mask[window] = largest_parts(alpha[window] > 0.5, min_share=0.15)
        return np.where(mask, np.maximum(alpha, 0.51), np.minimum(alpha, 0.49)).astype(np.float32)

    def _accept(self, view: View, alpha: NDArray[np.float32]) -> None:
        """Take the mask, and learn from it, if it still looks like the object."""
        mask = alpha > 0.5
        area = float(np.count_nonzero(mask))
        if area < max(_MIN_AREA_PX, _LOST * self._usual_area):
            self._hide()
            return
        similarity = self._colours.similarity(view.bins[mask])
        evidence = float(self._colours.evidence(view.bins[mask]).mean())
        if similarity < _MIN_SIMILARITY or evidence < _ALIKE * self._usual_evidence:
            self._hide()
            return
        self.mask, self.alpha, self.confidence, self._num_hidden = mask, alpha, similarity, 0
        self._centre = _centre(mask)
        self._learn(view, area=area, evidence=evidence)

    def _learn(self, view: View, *, area: float, evidence: float) -> None:
        is_whole = self._is_whole(self.mask)
        self._usual_area += (0.1 if is_whole else 0.01) * (area - self._usual_area)
        covered = grown(self.mask, GAP_PX)
        near = np.zeros_like(covered)
        window = _window(self.mask, margin_px=self._reach())
        near[window] = ~covered[window]
        # While part of the object is out of sight, what is around the rest may be the object, or cover it.
        self._plate.learn(view.image, covered if is_whole else covered | near)
        is_sure = is_whole and evidence > 0.7 * self._usual_evidence
        if is_sure:
            self._usual_evidence += 0.05 * (evidence - self._usual_evidence)
        self._colours.learn(view.bins, self.mask, near, object_rate=0.04 if is_sure else 0.0)

    def _hide(self) -> None:
        self.mask = np.zeros_like(self.mask)
        self.alpha = np.zeros_like(self.alpha)
        self.confidence = 0.0
        self._num_hidden += 1

    def _found_again(self, view: View) -> NDArray[np.float32] | None:
        """What is new and of the object's colours near where it should be; the longer it is gone, the farther."""
        height, width = self.mask.shape
        limit = np.array([width - 1, height - 1])
        x, y = np.clip(self._centre, 0, limit).astype(int)
        self._velocity *= 0.95
        self._centre = np.clip(self._centre + self._velocity + self._last.camera[y, x], 0, limit).astype(np.float32)
        evidence = cv2.GaussianBlur(self._colours.evidence(view.bins), (0, 0), 1.5)
        is_like = evidence > max(0.5, 0.5 * self._usual_evidence)
        is_like &= self._plate.evidence(view.image, (slice(None), slice(None))) > -0.5
        speed = float(np.linalg.norm(self._velocity))
        gate = self._disk(self._reach())
        self._plate.learn(view.image, is_like | (gate > 0))
        gate = self._disk(2 * self._reach() + round(self._num_hidden * (0.5 * speed + 0.01 * width)))
        likely = cv2.morphologyEx(gate * is_like, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        _, parts, stats, _ = cv2.connectedComponentsWithStats(likely, connectivity=8)
        areas = stats[1:, cv2.CC_STAT_AREA]
        if not areas.size or not _LOST < areas.max() / self._usual_area < 2:
            return None
        found = parts == 1 + int(areas.argmax())
        if self._colours.similarity(view.bins[found]) < _MIN_SIMILARITY:
            return None
        return found.astype(np.float32)

    def _disk(self, radius_px: int) -> NDArray[np.uint8]:
        disk = np.zeros(self.mask.shape, dtype=np.uint8)
        cv2.circle(disk, (int(self._centre[0]), int(self._centre[1])), radius_px, 1, -1)
        return disk

    def _reach(self) -> int:
        """How far around the mask, in pixels, more of the object may show."""
        return 12 + round(0.5 * float(np.sqrt(self._usual_area)))

    def _is_whole(self, mask: Mask) -> bool:
        return bool(np.count_nonzero(mask) >= _WHOLE * self._usual_area)


def _window(mask: Mask, *, margin_px: int) -> tuple[slice, slice]:
    box = bounding_box(mask)
    assert box is not None
    x0, y0, x1, y1 = box
    rows = slice(max(0, y0 - margin_px), y1 + margin_px)
    return rows, slice(max(0, x0 - margin_px), x1 + margin_px)


def _centre(mask: Mask) -> NDArray[np.float32]:
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()], dtype=np.float32)
