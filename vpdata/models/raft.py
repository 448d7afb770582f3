"""Motion of a clip from RAFT, a neural optical flow, in the same measures and units as `FrameMeasures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from threading import Lock

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models.optical_flow import raft_large, raft_small

from vpdata.models.embedded.measures import mean_motion
from vpdata.models.gpu import in_batches, moved, to_device, torch_device
from vpdata.models.ports import Frames, Image
from vpdata.models.raft_settings import MIN_SIDE_PX, RaftSettings
from vpdata.models.tensors import fill_module, read_tensors
from vpdata.records import ScoreName

_MULTIPLE_PX = 8
_GRID_PX = 8
"""RAFT finds motion at an eighth of the size and interpolates."""


class RaftMotion:
    """Measures motion, camera_motion and object_motion by RAFT (Teed and Deng, ECCV 2020), in float32.

    On a GPU its convolutions may round to TF32, as torch does unless told otherwise.

    None for fewer than two frames.
    """

    def __init__(self, settings: RaftSettings) -> None:
        self.sample_fps = settings.sample_fps
        self.max_short_side_px = settings.short_side_px
        self._batch_size = settings.batch_size
        self._device = torch_device(settings.device)
        tensors = read_tensors(settings.weights, settings.revision)
        network = raft_large() if settings.size == "large" else raft_small()
        fill_module(network, tensors, where=f"{settings.weights} (RAFT {settings.size})")
        self._network = moved(network, self._device, where=settings.weights)
        # It keeps the correlations of the pairs in hand on itself.
        self._network_is_free = Lock()

    def score(self, frames: Frames, *, fps: float) -> Mapping[ScoreName, float | None]:
        """The three motions of one clip, in frame diagonals per second."""
        if len(frames) < 2:
            return {"motion": None, "camera_motion": None, "object_motion": None}
        pairs = list(pairwise(frames))
        flows = self.flows(pairs)
        height, width = frames.shape[1:3]
        grids = (flow[::_GRID_PX, ::_GRID_PX] for flow in flows)
        motion, camera, objects = mean_motion(grids, diagonal_px=float(np.hypot(height, width)), fps=fps)
        return {"motion": motion, "camera_motion": camera, "object_motion": objects}

    def flows(self, pairs: Sequence[tuple[Image, Image]]) -> list[NDArray[np.float32]]:
        """For each pair of frames of one size, where each pixel of the first is in the second.

        float32 [H', W', 2] (x, y) in pixels of the frames; H' and W' are their size made fit for RAFT.
        """
        height, width = pairs[0][0].shape[:2]
        size = _fit(width), _fit(height)
        flows = in_batches(
            pairs,
            batch_size=self._batch_size,
            ready=lambda some: tuple(self._tensor([pair[side] for pair in some], size) for side in (0, 1)),
            ask=self._ask,
        )
        scale = np.array([width / size[0], height / size[1]], dtype=np.float32)
        return [flow * scale for flow in flows]

    @torch.inference_mode()
    def _ask(self, sides: tuple[torch.Tensor, ...]) -> list[NDArray[np.float32]]:
        with self._network_is_free:
            flow = self._network(*sides)[-1]
        return list(flow.permute(0, 2, 3, 1).cpu().numpy())

    def _tensor(self, images: Sequence[Image], size: tuple[int, int]) -> torch.Tensor:
        """float32 [N, 3, H, W] in [-1, 1], of a (width, height)."""
        resized = np.stack([np.asarray(cv2.resize(image, size)) for image in images])
        pixels = to_device(torch.from_numpy(resized), self._device).permute(0, 3, 1, 2)
        return pixels.float().div_(127.5).sub_(1)


def _fit(side_px: int) -> int:
    return max(MIN_SIDE_PX, round(side_px / _MULTIPLE_PX) * _MULTIPLE_PX)
