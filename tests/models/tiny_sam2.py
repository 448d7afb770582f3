"""A SAM 2.1 with a tiny image encoder, small pictures and random weights, and a way to see what it sees."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from transformers import Sam2VideoConfig, Sam2VideoModel

from vpdata.models.ports import BoxPrompt, Frames
from vpdata.models.sam2_bank import Features, Moment, Network, Seen, Wanted
from vpdata.models.sam2_settings import Sam2Settings
from vpdata.models.sam2_tracker import Sam2Tracker

IMAGE_SIZE = 128

# Sums over several threads depend on how they are shared out, and tests run beside others.
torch.set_num_threads(1)


def save_tiny_sam2(folder: Path, *, seed: int = 0, object_score: float = 2.0) -> Path:
    """Write the checkpoint in transformers' layout. `object_score` shifts the logit of an object's presence."""
    model = Sam2VideoModel(_config())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if not ("norm" in name and name.endswith("weight")):
                weights.copy_(torch.randn(weights.shape, generator=generator) * _spread(name, weights))
        frequencies = torch.randn(model.shared_image_embedding.positional_embedding.shape, generator=generator)
        for copy in (model.shared_image_embedding, model.prompt_encoder.shared_embedding):
            copy.positional_embedding.copy_(frequencies)
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(object_score)
    model.save_pretrained(folder)
    return folder


def _spread(name: str, weights: torch.Tensor) -> float:
    """Standard deviation at the start.

    With transformers' own, near zero, neither the box nor a memory leaves a trace in the mask. With more than these, a
    mask depends on the last bit of what is remembered: the loop over frames becomes chaotic.
    """
    if weights.ndim < 2 or any(word in name for word in ("embed", "encoding", "no_", "token.")):
        return 0.5
    if "conv_s" in name or "neck" in name:
        gain = 0.1
    elif any(part in name for part in ("memory_", "object_pointer", "mask_decoder.transformer")):
        gain = 1.25
    else:
        gain = 1.0
    return gain * weights[0].numel() ** -0.5


def _config() -> Sam2VideoConfig:
    sides = [IMAGE_SIZE // stride for stride in (4, 8, 16)]
    widths = [16, 32, 64, 128]
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "image_size": [IMAGE_SIZE, IMAGE_SIZE],
        "hidden_size": widths[0],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": widths,
        "global_attention_blocks": [3],
    }
    return Sam2VideoConfig(
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": backbone,
            "backbone_channel_list": widths[::-1],
            "backbone_feature_sizes": [[side, side] for side in sides],
        },
        prompt_encoder_config={"image_size": IMAGE_SIZE},
        image_size=IMAGE_SIZE,
        memory_attention_num_layers=2,
        memory_attention_rope_feat_sizes=[sides[-1], sides[-1]],
    )


class Recorded:
    """A `Network` that notes what another one sees."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.image_size_px = network.image_size_px
        self.device = network.device
        self.num_pointers = network.num_pointers
        self.logits: dict[int, list[torch.Tensor]] = defaultdict(list)
        """By frame: float32 [h, w] of each object in the order in which they were looked for."""
        self.scores: dict[int, list[torch.Tensor]] = defaultdict(list)

    def encode(self, pixels: torch.Tensor) -> list[Features]:
        return self._network.encode(pixels)

    def look(self, features: Features, wanted: Sequence[Wanted], *, at: Moment) -> list[Seen]:
        seen = self._network.look(features, wanted, at=at)
        self.logits[at.frame] += [one.logits for one in seen]
        self.scores[at.frame] += [one.score for one in seen]
        return seen


def smooth_film(num_frames: int, *, height_px: int = IMAGE_SIZE, width_px: int = IMAGE_SIZE) -> Frames:
    """uint8 [T, H, W, 3]: soft blobs of full contrast, other ones on each frame."""
    noise = np.random.default_rng(0).normal(size=(num_frames, height_px, width_px, 3))
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 6) for frame in noise])
    return np.clip(128 + soft * (100 / soft.std()), 0, 255).astype(np.uint8)


BOXES = ((10.0, 20.0, 60.0, 90.0), (50.0, 40.0, 120.0, 100.0), (5.0, 5.0, 30.0, 30.0))


def prompts_at(*frames: int) -> list[BoxPrompt]:
    """The n-th of `BOXES` on the n-th frame."""
    return [BoxPrompt(frame=frame, box=box, label="") for frame, box in zip(frames, BOXES, strict=False)]


def followed(network: Network, film: Frames, prompts: Sequence[BoxPrompt], **settings: object) -> Recorded:
    """What a network sees while it follows objects through a film at the film's size."""
    recorded = Recorded(network)
    options = {"device": "cpu", "dtype": "float32", **settings}
    tracker = Sam2Tracker(recorded, Sam2Settings(**options))
    tracker.track(film, prompts, height_px=film.shape[1], width_px=film.shape[2], seed=0)
    return recorded
