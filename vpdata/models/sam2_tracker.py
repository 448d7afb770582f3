"""Follows objects through a clip with SAM 2, whichever package runs the network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.nn import functional

from vpdata.errors import Reason, RejectItem
from vpdata.models.gpu import halving, to_device
from vpdata.models.ports import BoxPrompt, BoxXyxy, Frames, ObjectMasks
from vpdata.models.sam2_bank import Bank, Features, Moment, Network, Seen, Wanted
from vpdata.models.sam2_masks import MaskWriter
from vpdata.models.sam2_settings import Sam2Settings

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, which all sizes of SAM 2 were trained with."""


@dataclass(slots=True, kw_only=True)
class _Object:
    """One prompted object on its way through the clip."""

    frame: int
    """Where its box is."""
    box: BoxXyxy
    """In pixels of the network's input."""
    bank: Bank
    last: Seen | None = None
    """What was seen of it on the frame passed before; kept only for prompting again."""
    second_prompt: int | None = None
    """The frame on which its own mask's box is a prompt."""


class Sam2Tracker:
    """A `MaskTracker`: all objects in one pass forward and one backward, each from the frame of its own box.

    Holds the features of `batch_size` frames and, per object, memories of about thirty, however long the clip is. An
    object keeps what it saw just after its prompt for the way back, as the reference predictor does (Ravi et al. 2024,
    "SAM 2: Segment Anything in Images and Videos").
    """

    def __init__(self, network: Network, settings: Sam2Settings) -> None:
        # The network sees squares of that size: of larger frames a clip would hold gigabytes for nothing.
        self.max_short_side_px: int | None = network.image_size_px
        self._network = network
        self._settings = settings
        # Here, since copying them to the GPU for each batch would wait for all that it has still to do.
        self._mean, self._std = (torch.tensor(of, device=network.device)[:, None, None] for of in (MEAN, STD))

    def track(
        self, frames: Frames, prompts: Sequence[BoxPrompt], *, height_px: int, width_px: int, seed: int
    ) -> list[ObjectMasks]:
        """See `MaskTracker.track`. An object whose box has no area inside the frame is absent throughout.

        ValueError for a prompt outside the clip; RejectItem(gpu_memory) for a clip that the GPU cannot hold.
        """
        for prompt in prompts:
            if not 0 <= prompt.frame < len(frames):
                raise ValueError(f"got a prompt on frame {prompt.frame}, wanted one of the {len(frames)} frames")
        boxes = [_clipped(prompt.box, height_px=height_px, width_px=width_px) for prompt in prompts]
        scale = self._network.image_size_px / np.array([width_px, height_px] * 2)
        objects = [
            _Object(frame=prompt.frame, box=tuple((np.array(box) * scale).tolist()), bank=Bank())
            for prompt, box in zip(prompts, boxes, strict=True)
            if box is not None
        ]
        try:
            found = iter(self._followed(frames, objects, height_px=height_px, width_px=width_px))
        except torch.OutOfMemoryError as error:
            detail = f"{len(frames)} frames of {width_px}x{height_px} do not fit into the GPU's memory: {error}"
            raise RejectItem(Reason.GPU_MEMORY, detail, wanted="a shorter clip, or a GPU with more memory") from error
        absent = ObjectMasks(counts=(None,) * len(frames), score=0.0)
        return [absent if box is None else next(found) for box in boxes]

    def _followed(
        self, frames: Frames, objects: Sequence[_Object], *, height_px: int, width_px: int
    ) -> list[ObjectMasks]:
        if not objects:
            return []
        settings = self._settings
        writer = MaskWriter(
            num_objects=len(objects),
            num_frames=len(frames),
            height_px=height_px,
            width_px=width_px,
            is_exclusive=settings.overlap == "exclusive",
            min_part_frac=settings.min_part_frac,
            min_hole_frac=settings.min_hole_frac,
        )
        with writer, torch.inference_mode():
            self._sweep(frames, objects, writer, is_backward=False)
            self._sweep(frames, objects, writer, is_backward=True)
            return writer.tracks()

    def _sweep(self, frames: Frames, objects: Sequence[_Object], writer: MaskWriter, *, is_backward: bool) -> None:
        """Pass over the clip once. The forward pass prompts each object; the backward pass starts before its box."""
        starts = [one.frame for one in objects]
        order = range(max(starts) - 1, -1, -1) if is_backward else range(min(starts), len(frames))
        features_before: Features = None
        for one in objects:
            one.last = None
        for frame, features in self._encoded(frames, order):
            at = Moment(frame=frame, num_frames=len(frames), is_backward=is_backward)
            seen: dict[int, Seen] = {}
            for batch in _batches(objects, at):
                seen |= self._seen(batch, features, at)
            if self._settings.reprompt_below is not None:
                seen |= self._seen_again({n: objects[n] for n in seen}, seen, features, features_before, at)
                features_before = features
            for number, one in seen.items():
                item = objects[number]
                item.last = one if self._settings.reprompt_below is not None else None
                (item.bank.prompted if frame == item.frame else item.bank.tracked)[frame] = one.memory
                item.bank.forget(but_near=(frame, item.frame), reach=self._network.num_pointers)
            writer.write(frame, seen)

    def _seen(self, batch: dict[int, _Object], features: Features, at: Moment) -> dict[int, Seen]:
        wanted = [Wanted(bank=one.bank, box=one.box if one.frame == at.frame else None) for one in batch.values()]
        return dict(zip(batch, halving(partial(self._network.look, features, at=at), wanted), strict=True))

    def _seen_again(
        self,
        objects: dict[int, _Object],
        seen: dict[int, Seen],
        features: Features,
        features_before: Features,
        at: Moment,
    ) -> dict[int, Seen]:
        """The objects whose score has just fallen, seen with a second prompt on the frame passed before."""
        again: dict[int, Seen] = {}
        before = at.behind(1)
        for number, one in objects.items():
            if one.last is None or before == one.frame or not self._has_fallen(one.last, seen[number]):
                continue
            box = _box_of(one.last.logits, self._network.image_size_px)
            if box is None:
                continue
            then = Moment(frame=before, num_frames=at.num_frames, is_backward=at.is_backward)
            (prompted,) = self._network.look(features_before, [Wanted(bank=one.bank, box=box)], at=then)
            # One second prompt at a time: each costs attention on every frame that follows.
            if one.second_prompt is not None:
                one.bank.prompted.pop(one.second_prompt)
            one.second_prompt = before
            one.bank.tracked.pop(before)
            one.bank.prompted[before] = prompted.memory
            (again[number],) = self._network.look(features, [Wanted(bank=one.bank, box=None)], at=at)
        return again

    def _has_fallen(self, before: Seen, now: Seen) -> bool:
        limit = self._settings.reprompt_below or 0.0
        return float(before.score.sigmoid()) >= limit > float(now.score.sigmoid())

    def _encoded(self, frames: Frames, order: Sequence[int]) -> Iterator[tuple[int, Features]]:
        for first in range(0, len(order), self._settings.batch_size):
            chunk = list(order[first : first + self._settings.batch_size])
            features = halving(lambda some: self._network.encode(self._pixels(frames[some])), chunk)
            yield from zip(chunk, features, strict=True)

    def _pixels(self, frames: Frames) -> torch.Tensor:
        """float32 [B, 3, S, S], normalised, from uint8 [B, H, W, 3]."""
        raw = to_device(torch.from_numpy(frames), self._network.device)
        pixels = raw.permute(0, 3, 1, 2).contiguous().float()
        size = (self._network.image_size_px,) * 2
        if pixels.shape[-2:] != size:
            pixels = functional.interpolate(pixels, size=size, mode="bilinear", antialias=True).round().clamp(0, 255)
        return (pixels / 255 - self._mean) / self._std


def _batches(objects: Sequence[_Object], at: Moment) -> Iterator[dict[int, _Object]]:
    """The objects to look for on a frame, by their numbers, in batches whose banks hold the same frames."""
    batches: dict[object, dict[int, _Object]] = defaultdict(dict)
    for number, one in enumerate(objects):
        if one.frame == at.frame and not at.is_backward:
            batches["prompted"][number] = one
        elif at.frame < one.frame if at.is_backward else at.frame > one.frame:
            batches[one.bank.frames()][number] = one
    yield from batches.values()


def _clipped(box: BoxXyxy, *, height_px: int, width_px: int) -> BoxXyxy | None:
    """The part of a box inside the frame; None where that has no area."""
    x0, y0, x1, y1 = max(box[0], 0.0), max(box[1], 0.0), min(box[2], width_px), min(box[3], height_px)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _box_of(logits: torch.Tensor, image_size_px: int) -> BoxXyxy | None:
    """The box of a mask in pixels of the network's input; None for an empty mask."""
    is_object = (logits > 0).cpu().numpy()
    rows, columns = np.flatnonzero(is_object.any(axis=1)), np.flatnonzero(is_object.any(axis=0))
    if not rows.size:
        return None
    scale = image_size_px / logits.shape[-1]
    x0, y0, x1, y1 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return float(x0 * scale), float(y0 * scale), float(x1 * scale), float(y1 * scale)
