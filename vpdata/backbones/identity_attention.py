"""Self-attention that also looks at identity tokens, for each family.

Without identity tokens, and without an adapter, each gives the bits of the library's own processor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import Tensor, nn

from vpdata.backbones.identity import IdentityStore
from vpdata.backbones.rotary import Rotary, rotate


class _IdentityAttention(ABC):
    """Heads stand behind tokens, `[B, S, heads, head_dim]`, as the dispatcher of attention kernels wants them."""

    _attention_backend = None
    """Set by diffusers' `set_attention_backend`."""
    _parallel_config = None

    def __init__(self, store: IdentityStore, *, block: int) -> None:
        self._store = store
        self._block = block

    @abstractmethod
    def _normed(self, norm: nn.Module, projected: Tensor, *, num_heads: int) -> Tensor:
        """Queries or keys, `[B, S, dim]`, split into heads and normalised."""

    def _attend(self, attn: Any, tokens: Tensor, rotary: Rotary | None, *, num_text: int) -> Tensor:
        """Attention of all tokens, the first `num_text` of which have no position, to themselves and to identity."""
        query, key, value = self._projected(attn, tokens)
        if rotary is not None:
            query, key = (_with_positions(each, rotary, num_text=num_text) for each in (query, key))
        return self._attended(attn, query, key, value)

    def _projected(self, attn: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the window's own tokens, without positions."""
        projections = (attn.to_q, attn.to_k, attn.to_v)
        if self._store.scope == "id_only":
            projections = tuple(getattr(projection, "base_layer", projection) for projection in projections)
        to_q, to_k, to_v = projections
        query = self._normed(attn.norm_q, to_q(tokens), num_heads=attn.heads)
        key = self._normed(attn.norm_k, to_k(tokens), num_heads=attn.heads)
        return query, key, to_v(tokens).unflatten(2, (attn.heads, -1))

    def _attended(self, attn: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the queries find in the window and in the identity tokens behind it; `mask` as of `IdentityStore`."""
        hidden = None if self._store.capturing else self._store.hidden.get(self._block)
        if hidden is not None:
            mask = self._store.attention_mask(key.shape[1], mask)
            key = torch.cat([key, self._identity_key(attn, hidden)], dim=1)
            value = torch.cat([value, attn.to_v(hidden).unflatten(2, (attn.heads, -1))], dim=1)
        out = dispatch_attention_fn(
            query, key, value, attn_mask=mask, backend=self._attention_backend, parallel_config=self._parallel_config
        )
        return out.flatten(2).type_as(query)

    def _identity_key(self, attn: Any, hidden: Tensor) -> Tensor:
        key = self._normed(attn.norm_k, attn.to_k(hidden), num_heads=attn.heads)
        if self._store.rotary is None:
            return key
        return rotate(key, *_of_heads(self._store.rotary, key))

    def _project_out(self, attn: Any, out: Tensor) -> Tensor:
        to_out = attn.to_out[0]
        if self._store.scope == "id_only":
            to_out = getattr(to_out, "base_layer", to_out)
        return attn.to_out[1](to_out(out))


class CogVideoXIdentityAttention(_IdentityAttention):
    """Joint attention over [text; video], with identity keys behind the video's."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> tuple[Tensor, Tensor]:
        if self._store.capturing:
            self._store.keep(self._block, hidden_states)
        num_text = encoder_hidden_states.shape[1]
        tokens = torch.cat([encoder_hidden_states, hidden_states], dim=1)
        rotary = image_rotary_emb and (image_rotary_emb[0][:, None], image_rotary_emb[1][:, None])
        out = self._project_out(attn, self._attend(attn, tokens, rotary, num_text=num_text))
        return out[:, num_text:], out[:, :num_text]

    def _normed(self, norm: nn.Module, projected: Tensor, *, num_heads: int) -> Tensor:
        return norm(projected.unflatten(2, (num_heads, -1)))


class WanIdentityAttention(_IdentityAttention):
    """Self-attention of the video, with identity keys behind its own. Cross-attention to text stays as it is."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: Rotary | None = None,
    ) -> Tensor:
        if self._store.capturing:
            self._store.keep(self._block, hidden_states)
        return self._project_out(attn, self._attend(attn, hidden_states, rotary_emb, num_text=0))

    def _normed(self, norm: nn.Module, projected: Tensor, *, num_heads: int) -> Tensor:
        return norm(projected).unflatten(2, (num_heads, -1))


class LTXIdentityAttention(WanIdentityAttention):
    """As Wan's, with tables in which every head turns by frequencies of its own."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> Tensor:
        heads = hidden_states.unflatten(2, (attn.heads, -1))
        rotary = image_rotary_emb and _of_heads(image_rotary_emb, heads)
        return super().__call__(attn, hidden_states, rotary_emb=rotary)


class HunyuanIdentityAttention(_IdentityAttention):
    """Joint attention over [video; text], with identity keys behind both.

    In blocks with two streams text has projections of its own; identity is projected as video is. Blocks with one
    stream project their output behind the attention.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> tuple[Tensor, Tensor]:
        if self._store.capturing:
            self._store.keep(self._block, hidden_states)
        num_video, is_double = hidden_states.shape[1], attn.add_q_proj is not None
        tokens = hidden_states if is_double else torch.cat([hidden_states, encoder_hidden_states], dim=1)
        query, key, value = self._projected(attn, tokens)
        if image_rotary_emb is not None:
            cos, sin = (table[:, None] for table in image_rotary_emb)
            query, key = (
                torch.cat([rotate(each[:, :num_video], cos, sin), each[:, num_video:]], dim=1) for each in (query, key)
            )
        if is_double:
            text_query = self._normed(attn.norm_added_q, attn.add_q_proj(encoder_hidden_states), num_heads=attn.heads)
            text_key = self._normed(attn.norm_added_k, attn.add_k_proj(encoder_hidden_states), num_heads=attn.heads)
            text_value = attn.add_v_proj(encoder_hidden_states).unflatten(2, (attn.heads, -1))
            query, key = torch.cat([query, text_query], dim=1), torch.cat([key, text_key], dim=1)
            value = torch.cat([value, text_value], dim=1)
        out = self._attended(attn, query, key, value, attention_mask)
        video, text = out[:, :num_video], out[:, num_video:]
        if not is_double:
            return video, text
        return self._project_out(attn, video), attn.to_add_out(text)

    def _normed(self, norm: nn.Module, projected: Tensor, *, num_heads: int) -> Tensor:
        return norm(projected.unflatten(2, (num_heads, -1)))


def _of_heads(rotary: Rotary, heads: Tensor) -> Rotary:
    """Tables `[…, head_dim]` or `[…, dim]` in the shape that turns `heads` `[B, S, heads, head_dim]`."""
    cos, sin = (table.unflatten(-1, (-1, heads.shape[-1])) for table in rotary)
    return cos, sin


def _with_positions(tokens: Tensor, rotary: Rotary, *, num_text: int) -> Tensor:
    turned = rotate(tokens[:, num_text:], *rotary)
    return torch.cat([tokens[:, :num_text], turned], dim=1) if num_text else turned
