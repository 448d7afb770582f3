"""Turns SAM 2's logits into run lengths at the clip's size, beside the GPU's work and a few frames behind it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from vpdata.media.masks import encode_mask
from vpdata.models.mask_cleaning import cleaned
from vpdata.models.ports import ObjectMasks
from vpdata.models.sam2_bank import Seen

MAX_FRAMES_BEHIND = 8
"""Full-size masks of at most so many frames wait for their encoding, which bounds memory."""


class MaskWriter:
    """Collects the tracks of one clip; a context manager, since encoding runs on a thread of its own."""

    def __init__(
        self,
        *,
        num_objects: int,
        num_frames: int,
        height_px: int,
        width_px: int,
        is_exclusive: bool,
        min_part_frac: float,
        min_hole_frac: float,
    ) -> None:
        self._size = (height_px, width_px)
        self._is_exclusive = is_exclusive
        self._min_fracs = {"min_part_frac": min_part_frac, "min_hole_frac": min_hole_frac}
        self._counts: list[list[str | None]] = [[None] * num_frames for _ in range(num_objects)]
        self._scores = np.zeros((num_objects, num_frames))
        self._incomplete: dict[int, dict[int, tuple[torch.Tensor, torch.Tensor]]] = defaultdict(dict)
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._behind: deque[Future[None]] = deque()

    def __enter__(self) -> MaskWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.shutdown(cancel_futures=error is not None)

    def write(self, frame: int, seen: Mapping[int, Seen]) -> None:
        """Take what was seen of objects on a frame, once for each pair.

        Objects that exclude each other wait until all of them are known: small logits, of the frames between the first
        and the last prompt only.
        """
        # Without the memories, which are larger and forgotten sooner.
        found = {number: (one.logits, one.score) for number, one in seen.items()}
        if self._is_exclusive:
            self._incomplete[frame].update(found)
            if len(self._incomplete[frame]) < len(self._counts):
                return
            found = self._incomplete.pop(frame)
        if not found:
            return
        objects = sorted(found)
        masks = self._masks(torch.stack([found[one][0] for one in objects]))
        scores = torch.stack([found[one][1] for one in objects]).sigmoid()
        self._behind.append(self._thread.submit(self._encode, frame, objects, masks, scores))
        while len(self._behind) > MAX_FRAMES_BEHIND:
            self._behind.popleft().result()

    def tracks(self) -> list[ObjectMasks]:
        """One per object, with the mean of its scores over the frames that hold it."""
        while self._behind:
            self._behind.popleft().result()
        found = []
        for counts, scores in zip(self._counts, self._scores, strict=True):
            present = [score for score, one in zip(scores, counts, strict=True) if one is not None]
            found.append(ObjectMasks(counts=tuple(counts), score=float(np.mean(present)) if present else 0.0))
        return found

    def _masks(self, logits: torch.Tensor) -> torch.Tensor:
        """bool [N, H, W] from float32 [N, h, w]."""
        full = functional.interpolate(logits[:, None], size=self._size, mode="bilinear", align_corners=False)[:, 0]
        masks = full > 0
        if self._is_exclusive:
            masks &= full.argmax(dim=0) == torch.arange(len(full), device=full.device)[:, None, None]
        return masks

    def _encode(self, frame: int, objects: list[int], masks: torch.Tensor, scores: torch.Tensor) -> None:
        on_cpu: NDArray[np.bool_] = masks.cpu().numpy()
        for one, mask, score in zip(objects, on_cpu, scores.cpu().tolist(), strict=True):
            self._counts[one][frame] = encode_mask(cleaned(mask, **self._min_fracs))
            self._scores[one, frame] = score
