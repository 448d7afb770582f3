"""Shots joined into a film by hard cuts, fades and dissolves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from benchmark.footage.scenes import Footage

Transition = Literal["cut", "fade", "dissolve"]


def film(shots: Sequence[Footage], transitions: Sequence[Transition], *, num_transition_frames: int = 12) -> Footage:
    """Shots of one size in order, with one transition between each two.

    A fade goes through black inside the two shots; a dissolve overlaps them by `num_transition_frames`, and the
    masks in it are those of the shot that is seen more. Masks of an object are empty outside its own shot.
    """
    if len(transitions) != len(shots) - 1:
        raise ValueError(f"got {len(transitions)} transitions for {len(shots)} shots, wanted one between each two")
    starts = [0]
    for shot, transition in zip(shots, transitions, strict=False):
        starts.append(starts[-1] + len(shot.frames) - (num_transition_frames if transition == "dissolve" else 0))
    num_frames = starts[-1] + len(shots[-1].frames)
    frames = np.zeros((num_frames, *shots[0].frames.shape[1:]), dtype=np.uint8)
    masks = np.zeros((sum(len(shot.masks) for shot in shots), *frames.shape[:3]), dtype=np.bool_)
    cuts, gradual = [], []
    row = 0
    for index, (shot, start) in enumerate(zip(shots, starts, strict=True)):
        before = transitions[index - 1] if index else "cut"
        after = transitions[index] if index < len(transitions) else "cut"
        weights = _weights(len(shot.frames), before, after, num_transition_frames)
        span = slice(start, start + len(shot.frames))
        frames[span] += (shot.frames * weights[:, None, None, None]).astype(np.uint8)
        masks[row : row + len(shot.masks), span] = shot.masks & (weights >= 0.5)[:, None, None]
        row += len(shot.masks)
        if index and before == "cut":
            cuts.append(start)
        elif index:
            half = num_transition_frames if before == "fade" else 0
            gradual.append((start - half, start + num_transition_frames))
    labels = tuple(label for shot in shots for label in shot.labels)
    return Footage(frames=frames, masks=masks, labels=labels, cuts=tuple(cuts), gradual=tuple(gradual))


def _weights(num_frames: int, before: Transition, after: Transition, num_transition_frames: int) -> np.ndarray:
    """How much of the shot is seen on each of its frames, in [0, 1]."""
    ramp = (np.arange(num_transition_frames, dtype=np.float32) + 0.5) / num_transition_frames
    weights = np.ones(num_frames, dtype=np.float32)
    if before != "cut":
        weights[:num_transition_frames] = ramp
    if after != "cut":
        weights[-num_transition_frames:] = np.minimum(weights[-num_transition_frames:], ramp[::-1])
    return weights
