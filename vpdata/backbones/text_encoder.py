"""The frozen text encoders: captions to embeddings, as the pipeline of each family makes them."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ftfy
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from vpdata.backbones.spec import BackboneSpec


class TextEncoder:
    """T5 (CogVideoX, LTX) or UMT5 (Wan) with its tokenizer; captions are cut at `spec.text_length` tokens."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, spec: BackboneSpec, hides_padding: bool
    ) -> None:
        """`hides_padding`: whether the model looks at the tokens of the caption alone, not at the padding behind."""
        self.spec = spec
        self._hides_padding = hides_padding
        self._model: Any = model.requires_grad_(False).eval()
        self._tokenizer = tokenizer

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> list[Tensor]:
        """One `[L, text_dim]` per caption, on the model's device and in its dtype.

        CogVideoX attends to what stands at the padding too, so L is always `spec.text_length`; of Wan and LTX, L counts
        the caption's tokens and the end mark.
        """
        if not captions:
            return []
        tokens = self._tokenizer(
            [self._text(caption) for caption in captions],
            padding="max_length",
            max_length=self.spec.text_length,
            truncation=True,
            add_special_tokens=True,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(self._model.device)
        hidden = self._model(tokens.input_ids, tokens.attention_mask if self._hides_padding else None).last_hidden_state
        if self.spec.family == "cogvideox":
            return list(hidden)
        return [row[:length] for row, length in zip(hidden, tokens.attention_mask.sum(dim=1).tolist(), strict=True)]

    def num_lost(self, caption: str) -> int:
        """Tokens of a caption that `encode` cuts off."""
        return self._num_beyond(self.spec.text_length, self._text(caption))

    def _num_beyond(self, limit: int, text: str) -> int:
        # Not verbose: the tokenizer would warn of a length that no model is given.
        return max(0, len(self._tokenizer(text, add_special_tokens=True, verbose=False).input_ids) - limit)

    def _text(self, caption: str) -> str:
        return _clean(caption) if self.spec.family == "wan" else caption


def pad_text(embeddings: Sequence[Tensor], *, length: int) -> Tensor:
    """`[B, length, D]` from one `[L, D]` each, with zeros behind."""
    padded = embeddings[0].new_zeros(len(embeddings), length, embeddings[0].shape[-1])
    for row, embedding in zip(padded, embeddings, strict=True):
        row[: len(embedding)] = embedding
    return padded


def is_given(text: Tensor) -> Tensor:
    """Which rows of padded embeddings `[B, L, D]` are no padding: bool `[B, L]`. No encoder gives a row of zeros."""
    return (text != 0).any(dim=-1)


def _clean(caption: str) -> str:
    """As Wan's captions were: broken Unicode mended, HTML entities resolved, white space in single blanks."""
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(caption))).split())
