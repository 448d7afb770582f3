"""How unsafe a picture is, told by CLIP without training: which of a few descriptions fits it best."""

from __future__ import annotations

import torch
from torch import Tensor

from vpdata.models.openclip.loading import ClipModel

UNSAFE = (
    "a pornographic photo",
    "a photo of naked people",
    "a photo of a sexual act",
    "a photo of bloody violence and gore",
    "a photo of a badly injured or dead body",
)
SAFE = (
    "a photo of people wearing clothes",
    "a photo of people at work or at play",
    "a photo of an animal",
    "a photo of a landscape",
    "a photo of a building or a street",
    "a photo of a room with furniture",
    "a photo of things on a table",
    "a photo of vehicles",
    "a photo of food",
    "a drawing or an animation",
    "a screen with text",
)


class ZeroShotSafety:
    """The share of `UNSAFE` in the softmax over both lists (Radford et al. 2021, section 3.1), in [0, 1].

    No trained classifier: it ranks pictures, and its numbers are no probabilities. It misses what is small in the
    frame, takes medicine, art and swimwear for worse than they are, and shares the biases of CLIP. Choose the bound of
    the rule `unsafe` on a sample of your own footage.
    """

    def __init__(self, model: ClipModel) -> None:
        self._texts = model.embed_texts([*UNSAFE, *SAFE])
        self._logit_scale = model.logit_scale

    def __call__(self, embeddings: Tensor) -> Tensor:
        """float32 [N] from the embeddings of N images, float32 [N, D] of unit length."""
        shares = torch.softmax(self._logit_scale * embeddings @ self._texts.T, dim=-1)
        return shares[:, : len(UNSAFE)].sum(dim=-1)
