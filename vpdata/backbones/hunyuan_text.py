"""The two text encoders of HunyuanVideo: LLaMA inside a prompt that asks for a description, and CLIP's one vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from torch import Tensor
from torch.nn.functional import pad
from transformers import CLIPTextModel, LlamaModel, PreTrainedTokenizerBase

from vpdata.backbones.spec import BackboneSpec
from vpdata.backbones.text_encoder import TextEncoder

NUM_TOKENS = 256
"""LLaMA's for a caption and the end of the prompt; longer captions are cut."""
_TEMPLATE, _NUM_PROMPT_TOKENS = DEFAULT_PROMPT_TEMPLATE["template"], DEFAULT_PROMPT_TEMPLATE["crop_start"]
_LAYER = -3
"""The hidden state that is taken: the last but two."""
_CLIP_TOKENS = 77


class HunyuanTextEncoder(TextEncoder):
    """LLaMA and CLIP with a tokenizer each."""

    def __init__(
        self,
        llama: LlamaModel,
        llama_tokenizer: PreTrainedTokenizerBase,
        clip: CLIPTextModel,
        clip_tokenizer: PreTrainedTokenizerBase,
        *,
        spec: BackboneSpec,
    ) -> None:
        super().__init__(llama, llama_tokenizer, spec=spec, hides_padding=True)
        self._clip: Any = clip.requires_grad_(False).eval()
        self._clip_tokenizer = clip_tokenizer

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> list[Tensor]:
        """One `[1 + L, text_dim]` per caption: CLIP's vector with zeros behind it, and L tokens of LLaMA."""
        if not captions:
            return []
        tokens = self._tokenizer(
            [_TEMPLATE.format(caption) for caption in captions],
            padding="max_length",
            max_length=NUM_TOKENS + _NUM_PROMPT_TOKENS,
            truncation=True,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(self._model.device)
        hidden = self._model(tokens.input_ids, tokens.attention_mask, output_hidden_states=True).hidden_states[_LAYER]
        num_tokens = tokens.attention_mask.sum(dim=1).tolist()
        pooled = pad(self._pooled(captions).to(hidden), (0, hidden.shape[-1] - self._clip.config.hidden_size))
        return [
            torch.cat([vector[None], row[_NUM_PROMPT_TOKENS:length]])
            for vector, row, length in zip(pooled, hidden, num_tokens, strict=True)
        ]

    def num_lost(self, caption: str) -> int:
        """Tokens of LLaMA's that `encode` cuts off; CLIP's vector is of a caption's first 77 anyway."""
        return self._num_beyond(NUM_TOKENS + _NUM_PROMPT_TOKENS, _TEMPLATE.format(caption))

    def _pooled(self, captions: Sequence[str]) -> Tensor:
        tokens = self._clip_tokenizer(
            list(captions), padding="max_length", max_length=_CLIP_TOKENS, truncation=True, return_tensors="pt"
        )
        return self._clip(tokens.input_ids.to(self._clip.device)).pooler_output
