"""A SAM 2.1 of the published architecture with a tiny image encoder, small pictures and random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import Sam2VideoConfig, Sam2VideoModel

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
