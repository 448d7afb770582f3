"""What VideoPainter's code asks for CLIP scores: torchmetrics with transformers' CLIP, of the tiny one's weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torchmetrics.functional.multimodal import clip_score
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from tests.models.tiny_clip import CONFIG

_TOWERS = {
    "text_model": ("transformer", {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm": "ln_final",
    }),
    "vision_model": ("visual.transformer", {
        "embeddings.class_embedding": "visual.class_embedding",
        "embeddings.patch_embedding.weight": "visual.conv1.weight",
        "embeddings.position_embedding.weight": "visual.positional_embedding",
        "pre_layrnorm": "visual.ln_pre",
        "post_layernorm": "visual.ln_post",
    }),
}  # fmt: skip
_LAYER = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
"""Names in transformers to names in open_clip; without an ending, of weight and bias."""


class _Clip(CLIPModel):
    """Features are tensors, as in the transformers of upstream's requirements (4.42), which torchmetrics wants."""

    def get_text_features(self, *args: Any) -> Any:
        return super().get_text_features(*args).pooler_output

    def get_image_features(self, *args: Any) -> Any:
        return super().get_image_features(*args).pooler_output


def published_clip_score(folder: Path) -> Callable[[NDArray[np.uint8], str], float]:
    """Of a frame, uint8 [H, W, 3] RGB, and a text, with the weights of a `save_tiny_clip`."""
    vision, text = (CONFIG["model_cfg"][name] for name in ("vision_cfg", "text_cfg"))
    common = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 128}
    config = CLIPConfig(
        # The published config of `clip-vit-large-patch14` says 2.
        text_config={**common, "max_position_embeddings": text["context_length"], "eos_token_id": 2},
        vision_config={**common, "image_size": vision["image_size"], "patch_size": vision["patch_size"]},
        projection_dim=CONFIG["model_cfg"]["embed_dim"],
    )
    model = _Clip(config).eval()
    model.load_state_dict(_renamed(load_file(folder / "open_clip_model.safetensors")))
    ours: Any = open_clip.tokenizer.SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    words = CLIPTokenizer(
        vocab={names.get(word, word): number for word, number in ours.encoder.items()}, merges=list(ours.bpe_ranks)
    )
    side, colours = vision["image_size"], CONFIG["preprocess_cfg"]
    pictures = CLIPImageProcessor(
        size={"shortest_edge": side}, crop_size=side, image_mean=colours["mean"], image_std=colours["std"]
    )

    def processor(text: list[str] | None = None, images: list[Tensor] | None = None, **options: Any) -> Any:
        return words(text, **options) if images is None else pictures(images, return_tensors="pt")

    def score(frame: NDArray[np.uint8], caption: str) -> float:
        picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)
        with torch.inference_mode():
            return float(clip_score(picture, caption, model_name_or_path=lambda: (model, processor)))

    return score


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {
        "logit_scale": tensors["logit_scale"],
        "text_projection.weight": tensors["text_projection"].T.contiguous(),
        "visual_projection.weight": tensors["visual.proj"].T.contiguous(),
    }
    for tower, (blocks, names) in _TOWERS.items():
        for name, other in names.items():
            for end in [""] if other in tensors else [".weight", ".bias"]:
                found[f"{tower}.{name}{end}"] = tensors[f"{other}{end}"]
        for index in range(2):
            here, there = f"{tower}.encoder.layers.{index}", f"{blocks}.resblocks.{index}"
            for end in ("weight", "bias"):
                for name, other in _LAYER.items():
                    found[f"{here}.{name}.{end}"] = tensors[f"{there}.{other}.{end}"]
                found[f"{here}.self_attn.out_proj.{end}"] = tensors[f"{there}.attn.out_proj.{end}"]
                for name, part in zip("qkv", tensors[f"{there}.attn.in_proj_{end}"].chunk(3), strict=True):
                    found[f"{here}.self_attn.{name}_proj.{end}"] = part
    return found
