"""Which detections to hand to a mask tracker, and which of them are one and the same object."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np

from vpdata.media.masks import Mask, bounding_box, box_iou, decode_mask, mask_iou
from vpdata.models.ports import BoxPrompt, ObjectMasks
from vpdata.records import Detection

INSIDE_FRAC = 0.8
"""A box with this share of its area inside another box on the same frame may be a part of that object."""
UNSURE_FRAC = 0.5
"""A box with less than this share of the score of one inside it is more likely the scene, or a group, than an object
of which that one is a part."""
NUM_COMPARED_FRAMES = 16
"""Two tracks are compared on at most so many frames, evenly spread: all masks of a clip at full size are gigabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowSettings:
    """Limits of following objects through a clip."""

    max_objects: int = 8
    """Most tracks of a clip."""
    max_rounds: int = 3
    """Most calls of the tracker for one clip: each passes over all its frames."""
    min_score: float = 0.2
    """Tracks below this confidence are dropped; in [0, 1]. Those of SAM 2 are never between 0 and 0.5."""
    cover_iou: float = 0.5
    """A detection whose box overlaps the box of a track's mask by this much is that object."""
    relabel_iou: float = 0.75
    """The same for a detection with a label that the object has not had yet: a rider is not the motorcycle."""
    part_frac: float = 0.5
    """A detection whose box is filled by a track's mask to this share is a part of that object."""
    scene_frac: float = 0.7
    """A mask that fills more of the frame than this is a scene, and what lies in it no part of it."""
    merge_iou: float = 0.7
    """Two tracks whose masks overlap by more than this, on average over the frames that hold both, are one object, if
    the later one was held on all frames from its prompt to the earlier one. What comes back is an object of its own."""
    generic_labels: tuple[str, ...] = ("moving object",)
    """Labels that name no kind of thing: any other label wins over them."""

    def __post_init__(self) -> None:
        for name in ("max_objects", "max_rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted at least 1")
        for name in ("min_score", "cover_iou", "relabel_iou", "part_frac", "scene_frac", "merge_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted a number from 0 to 1")


@dataclass(slots=True, kw_only=True)
class FollowedObject:
    """One object with its masks; detections that turn out to be it vote for its label."""

    masks: list[str | None]
    """Per frame the counts of a COCO RLE, None where the object is absent."""
    score: float
    votes: Counter[str]
    """Label to the sum of the scores of its detections."""

    def may_be(self, label: str, generic_labels: Sequence[str]) -> bool:
        """Whether a label says nothing against a detection being this object."""
        return label in self.votes or label in generic_labels or all(one in generic_labels for one in self.votes)

    def label(self, generic_labels: Sequence[str]) -> str:
        """The label with most votes; a generic one only if there is no other."""
        return min(self.votes, key=lambda label: (label in generic_labels, -self.votes[label], label))


def follow_objects(
    detections: Sequence[Detection],
    known: Sequence[FollowedObject] = (),
    /,
    *,
    track: Callable[[Sequence[BoxPrompt]], Sequence[ObjectMasks]],
    settings: FollowSettings,
    height_px: int,
    width_px: int,
) -> list[FollowedObject]:
    """The objects of a clip in the order in which they were found, after those that are known already.

    In rounds: the detections of the best key frame are tracked in one call, those that a mask now covers are done, and
    what is left, objects that appear elsewhere in time, goes into the next round. Boxes without area are no objects.
    """
    size = {"height_px": height_px, "width_px": width_px}
    objects = list(known)
    left = _uncovered([one for one in detections if _area(one) > 0], objects, settings, size)
    for _ in range(settings.max_rounds):
        prompted = _best_frame(left, settings)[: settings.max_objects - len(objects)]
        if not prompted:
            break
        prompts = [BoxPrompt(frame=one.frame, box=one.box, label=one.label) for one in prompted]
        left = [one for one in left if one not in prompted]
        for detection, found in zip(prompted, track(prompts), strict=True):
            if found.score < settings.min_score or all(counts is None for counts in found.counts):
                continue
            votes = Counter({detection.label: detection.score})
            new = FollowedObject(masks=list(found.counts), score=found.score, votes=votes)
            _add(objects, new, settings, size, prompt_frame=detection.frame)
        left = _uncovered(left, objects, settings, size)
    return objects


def _best_frame(detections: Sequence[Detection], settings: FollowSettings) -> list[Detection]:
    """The detections to prompt on the key frame with the highest sum of scores, best first."""
    of_frame: dict[int, list[Detection]] = defaultdict(list)
    for detection in detections:
        of_frame[detection.frame].append(detection)
    best = min(of_frame, key=lambda frame: (-sum(one.score for one in of_frame[frame]), frame), default=None)
    return [] if best is None else _apart(of_frame[best], settings)


def _apart(found: Sequence[Detection], settings: FollowSettings) -> list[Detection]:
    """Detections of one frame that are surely different objects, those with a telling label first.

    A box on another waits until that object's mask shows whether it is the same thing. Of a box inside a larger one
    the inner waits, or the larger if it is far less sure.
    """
    nested = [
        (inner, outer)
        for inner, outer in permutations(found, 2)
        if _share_inside(inner, outer) >= INSIDE_FRAC and _area(inner) < _area(outer)
    ]
    unsure = {outer for inner, outer in nested if outer.score < UNSURE_FRAC * inner.score}
    # Nobody waits for an unsure box. The surest is none, so that the largest of the others waits for nobody.
    waiting = unsure | {inner for inner, outer in nested if outer not in unsure}
    chosen: list[Detection] = []
    for one in sorted(found, key=lambda one: (one.label in settings.generic_labels, -one.score, one.label, one.box)):
        if one not in waiting and all(box_iou(one.box, other.box) < settings.cover_iou for other in chosen):
            chosen.append(one)
    return chosen


def _uncovered(
    detections: Sequence[Detection], objects: Sequence[FollowedObject], settings: FollowSettings, size: dict[str, int]
) -> list[Detection]:
    """The detections that belong to none of the objects; one that does votes for its object's label."""

    # Of one frame: in order of time its detections stand together, and decoding takes longer than all the rest.
    @lru_cache(maxsize=1)
    def seen_on(frame: int) -> tuple[list[Mask], list[tuple[int, int, int, int]]]:
        """Masks of objects that may have parts, and the boxes of all."""
        masks = [decode_mask(followed.masks[frame], **size) for followed in objects]
        wholes = [mask for mask in masks if np.count_nonzero(mask) <= settings.scene_frac * mask.size]
        return wholes, [bounding_box(mask) or (0, 0, 0, 0) for mask in masks]

    left = []
    for detection in detections:
        wholes, boxes = seen_on(detection.frame)
        overlaps = {}
        for index, (followed, box) in enumerate(zip(objects, boxes, strict=True)):
            overlap = box_iou(detection.box, box)
            is_likely = followed.may_be(detection.label, settings.generic_labels)
            if overlap >= (settings.cover_iou if is_likely else max(settings.cover_iou, settings.relabel_iou)):
                overlaps[index] = overlap
        if overlaps:
            best = max(overlaps, key=lambda index: overlaps[index])
            objects[best].votes[detection.label] += detection.score  # type: ignore[assignment]
            continue
        if all(_filled_frac(detection, mask) < settings.part_frac for mask in wholes):
            left.append(detection)
    return left


def _add(
    objects: list[FollowedObject],
    new: FollowedObject,
    settings: FollowSettings,
    size: dict[str, int],
    *,
    prompt_frame: int,
) -> None:
    """Append an object, or merge it into an earlier one that it doubles: that fills the frames it was absent in."""
    for earlier in objects:
        if mean_iou(earlier.masks, new.masks, size) <= settings.merge_iou:
            continue
        if _is_held_between(earlier, new, prompt_frame):
            earlier.masks = [a or b for a, b in zip(earlier.masks, new.masks, strict=True)]
            earlier.score = max(earlier.score, new.score)
            earlier.votes.update(new.votes)
            return
        # Trackers take one thing for its double across a gap; nothing tells that from an object that comes back.
        new.masks = [b if a is None else None for a, b in zip(earlier.masks, new.masks, strict=True)]
    if any(new.masks):
        objects.append(new)


def _is_held_between(earlier: FollowedObject, new: FollowedObject, prompt_frame: int) -> bool:
    """Whether `new` is there on all frames from that of its prompt to the nearest one that holds both."""
    shared = [frame for frame, (a, b) in enumerate(zip(earlier.masks, new.masks, strict=True)) if a and b]
    nearest = min(shared, key=lambda frame: abs(frame - prompt_frame))
    first, last = sorted((nearest, prompt_frame))
    return None not in new.masks[first : last + 1]


def mean_iou(a: Sequence[str | None], b: Sequence[str | None], size: dict[str, int]) -> float:
    """Of two tracks, over the frames that hold both; 0.0 where there are none."""
    shared = [(one, other) for one, other in zip(a, b, strict=True) if one is not None and other is not None]
    if not shared:
        return 0.0
    picked = np.linspace(0, len(shared) - 1, min(len(shared), NUM_COMPARED_FRAMES)).round().astype(int)
    ious = [mask_iou(*(decode_mask(counts, **size) for counts in shared[index])) for index in picked]
    return sum(ious) / len(ious)


def _filled_frac(detection: Detection, mask: Mask) -> float:
    """Share of the box's pixels that the mask fills."""
    x0, y0, x1, y1 = (round(edge) for edge in detection.box)
    inside = mask[y0:y1, x0:x1]
    return float(inside.mean()) if inside.size else 0.0


def _share_inside(inner: Detection, outer: Detection) -> float:
    width = min(inner.box[2], outer.box[2]) - max(inner.box[0], outer.box[0])
    height = min(inner.box[3], outer.box[3]) - max(inner.box[1], outer.box[1])
    return max(width, 0.0) * max(height, 0.0) / _area(inner)


def _area(detection: Detection) -> float:
    x0, y0, x1, y1 = detection.box
    return max(x1 - x0, 0.0) * max(y1 - y0, 0.0)
