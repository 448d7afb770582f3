"""The frozen text encoders: captions to embeddings, as the pipeline of each family makes them."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ftfy
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, T5EncoderModel, UMT5EncoderModel

from vpdata.backbones.spec import BackboneSpec


class TextEncoder:
    """T5 (CogVideoX) or UMT5 (Wan) with its tokenizer; a caption longer than `spec.text_length` tokens is cut there."""

    def __init__(
        self, model: T5EncoderModel | UMT5EncoderModel, tokenizer: PreTrainedTokenizerBase, *, spec: BackboneSpec
    ) -> None:
        self.spec = spec
        self._model: Any = model.requires_grad_(False).eval()
        self._tokenizer = tokenizer

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> list[Tensor]:
        """One `[L, text_dim]` per caption, on the model's device and in its dtype.

        CogVideoX attends to what stands at the padding too, so L is always `spec.text_length`; Wan's L counts the
        caption's tokens and the end mark.
        """
        if not captions:
            return []
        keeps_padding = self.spec.family == "cogvideox"
        tokens = self._tokenizer(
            list(captions) if keeps_padding else [_clean(caption) for caption in captions],
            padding="max_length",
            max_length=self.spec.text_length,
            truncation=True,
            add_special_tokens=True,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(self._model.device)
        if keeps_padding:
            return list(self._model(tokens.input_ids).last_hidden_state)
        hidden = self._model(tokens.input_ids, tokens.attention_mask).last_hidden_state
        return [row[:length] for row, length in zip(hidden, tokens.attention_mask.sum(dim=1).tolist(), strict=True)]


def pad_text(embeddings: Sequence[Tensor], *, length: int) -> Tensor:
    """`[B, length, D]` from one `[L, D]` each, with zeros behind, as both families' transformers take it."""
    padded = embeddings[0].new_zeros(len(embeddings), length, embeddings[0].shape[-1])
    for row, embedding in zip(padded, embeddings, strict=True):
        row[: len(embedding)] = embedding
    return padded


def _clean(caption: str) -> str:
    """As Wan's captions were: broken Unicode mended, HTML entities resolved, white space in single blanks."""
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(caption))).split())
