"""What the small random checkpoints of all families share: their sizes, T5, and weights that hide nothing."""

from __future__ import annotations

import string
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.functional import interpolate
from transformers import T5Tokenizer

Transformer = TypeVar("Transformer", bound=nn.Module)

NUM_BLOCKS, NUM_HEADS, HEAD_DIM = 4, 2, 32
DIM = NUM_HEADS * HEAD_DIM
TEXT_DIM = 32
WORDS = (
    "a the of in on at to and with over under left right up down is are moves runs stands turns falls rests still "
    "camera scene video background person man woman child dog cat car ball box square circle face object sky ground "
    "grass road water wall red green blue yellow white black grey brown small large bright dark"
)


@torch.no_grad()
def moments(vae: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each latent channel over smooth random video: latents must be about unit."""
    video = interpolate(torch.randn(1, 3, 3, 6, 8), size=(9, 96, 128), mode="trilinear").clamp(-1, 1)
    latents = vae.eval().encode(video).latent_dist.mode()
    return latents.mean(dim=(0, 2, 3, 4)), latents.std(dim=(0, 2, 3, 4))


def randomised(transformer: Transformer) -> Transformer:
    """The transformer with nothing left at zero or one, where a missing term would go unseen."""
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return transformer


def t5_sizes() -> dict[str, Any]:
    return {
        "vocab_size": 128,
        "d_model": TEXT_DIM,
        "d_kv": 16,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 2,
        "feed_forward_proj": "gated-gelu",
    }


def t5_tokenizer() -> T5Tokenizer:
    """Printable ASCII and a few words of captions, by the published class."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -3.0) for word in WORDS.split(" ")]
    pieces += [(letter, -4.0) for letter in string.ascii_lowercase + string.digits + ".,-'"]
    return T5Tokenizer(vocab=pieces, extra_ids=0)
