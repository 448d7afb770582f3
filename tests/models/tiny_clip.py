"""A tiny CLIP with random weights, saved in open_clip's layout."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

NUM_VALUES, IMAGE_SIZE_PX = 16, 32
CONFIG = {
    "model_cfg": {
        "embed_dim": NUM_VALUES,
        "quick_gelu": True,
        "vision_cfg": {"image_size": IMAGE_SIZE_PX, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    },
    "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
}


def save_tiny_clip(folder: Path) -> Path:
    """The folder, with config and weights in it."""
    (folder / "open_clip_config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    torch.manual_seed(1)
    model = open_clip.create_model(f"local-dir:{folder}")
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def save_head(folder: Path, **tensors: torch.Tensor) -> Path:
    """The folder, with the tensors of an aesthetic head in it; by default a random linear layer."""
    generator = torch.Generator().manual_seed(2)
    linear = {"weight": torch.randn(1, NUM_VALUES, generator=generator), "bias": torch.tensor([5.0])}
    save_file(tensors or linear, folder / "model.safetensors")
    return folder
