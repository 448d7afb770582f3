"""Floating-point operations of a forward pass and of a training step, counted from sizes; a multiply-add is two.

A step knows what is frozen: a frozen linear layer passes its gradient on (one product) but makes none of its own (the
second product that a trained one needs), and a block that no gradient reaches has no backward pass at all. Attention
has two products forward and four backward, or two where its keys and values are given. Norms, activations and softmax
are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from vpdata.backbones.context_encoder import num_input_channels
from vpdata.backbones.identity_adapter import IdentitySettings
from vpdata.backbones.injector import InjectionSettings, schedule
from vpdata.backbones.spec import BackboneSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFlops:
    """Of one sample's forward and backward pass."""

    model: float
    """What the step needs: what a model-FLOPs utilisation (MFU) counts."""
    executed: float
    """With what activation checkpoints compute again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """The forward pass of one block."""

    linears: float
    """Of layers whose input hangs on the video's hidden state."""
    constants: float
    """Of layers that see only text, image, time or identity tokens."""
    attention: float
    """Of the video's tokens to one another, and to text that is in the same attention."""
    cross_attention: float = 0.0
    """To text and image whose keys and values hang on nothing that is trained, as long as the block is frozen."""

    @property
    def forward(self) -> float:
        return self.linears + self.constants + self.attention + self.cross_attention

    @property
    def frozen_backward(self) -> float:
        return self.linears + 2 * self.attention + self.cross_attention

    @property
    def trained_backward(self) -> float:
        return 2 * self.linears + self.constants + 2 * (self.attention + self.cross_attention)


def forward_flops(
    spec: BackboneSpec, config: Mapping[str, Any], latent_shape: tuple[int, ...], *, num_id_tokens: int = 0
) -> float:
    """Of the transformer, for one sample with latents `[..., frames, rows, columns]`.

    `config` is the transformer's own; `num_id_tokens` are keys and values that every block attends to beside its own.
    """
    tokens = prod(spec.grid(latent_shape))
    blocks = _blocks(spec, config, tokens, num_id_tokens=num_id_tokens)
    return sum(block.forward for block in blocks) + _ends(spec, config, tokens)


def encoder_step_flops(
    spec: BackboneSpec,
    config: Mapping[str, Any],
    latent_shape: tuple[int, ...],
    *,
    num_layers: int,
    injection: InjectionSettings,
    recomputed_frac: float = 0.0,
) -> StepFlops:
    """Stage 1: the context encoder is trained through the frozen backbone.

    `recomputed_frac`: share of the blocks, of backbone and encoder alike, that run under an activation checkpoint.
    """
    tokens = prod(spec.grid(latent_shape))
    blocks, copied = _blocks(spec, config, tokens), _encoder_blocks(spec, config, tokens, num_layers)
    behind = schedule(injection, num_blocks=spec.num_blocks, num_hints=num_layers)
    reached = blocks[1 + next(index for index, hint in enumerate(behind) if hint is not None) :]
    own = _encoder_linears(spec, tokens, num_layers)
    forward = forward_flops(spec, config, latent_shape) + _encoder_forward(spec, config, tokens, num_layers)
    backward = sum(block.frozen_backward for block in reached) + _output(spec, tokens)
    # The first thing trained gets no gradient of its input: that is data.
    backward += sum(block.trained_backward for block in copied) + 2 * own - _encoder_embedding(spec, tokens)
    again = recomputed_frac * sum(block.forward for block in (*reached, *copied))
    return StepFlops(model=forward + backward, executed=forward + backward + again)


def id_step_flops(
    spec: BackboneSpec,
    config: Mapping[str, Any],
    latent_shape: tuple[int, ...],
    *,
    num_layers: int,
    identity: IdentitySettings,
    source_shape: tuple[int, ...],
    num_id_tokens: int = 0,
    recomputed_frac: float = 0.0,
) -> StepFlops:
    """Stage 2: the ID adapter is trained; backbone and context encoder are frozen.

    `source_shape`: latents of the window that the identity tokens are taken from, by a forward pass of its own.
    """
    tokens = prod(spec.grid(latent_shape))
    blocks = _blocks(spec, config, tokens, num_id_tokens=num_id_tokens)
    lora = _lora(spec, config, tokens, identity, num_id_tokens=num_id_tokens)
    forward = forward_flops(spec, config, latent_shape, num_id_tokens=num_id_tokens) + lora
    forward += _encoder_forward(spec, config, tokens, num_layers) + forward_flops(spec, config, source_shape)
    backward = sum(block.frozen_backward for block in blocks) + 2 * lora + _output(spec, tokens)
    # What the first block projects is data.
    backward -= 2 * 3 * spec.dim**2 * _attended(spec, tokens)
    again = recomputed_frac * (sum(block.forward for block in blocks) + lora)
    return StepFlops(model=forward + backward, executed=forward + backward + again)


_FREQUENCIES = 256
"""Of diffusers' embedding of a timestep, where a family has no setting for them."""
_IMAGE_TOKENS = 257
"""Of the CLIP image encoder of Wan 2.1's image-to-video checkpoints."""


def _blocks(spec: BackboneSpec, config: Mapping[str, Any], tokens: int, *, num_id_tokens: int = 0) -> list[_Block]:
    """All of a backbone."""
    block = _block(spec, config, tokens, num_id_tokens=num_id_tokens)
    blocks = [block] * spec.num_blocks
    if spec.family == "hunyuan":
        # Those with one stream are as large, and modulated by half as many numbers a stream.
        num_saved = 2 * (12 - 3) * spec.dim**2
        single = replace(block, constants=block.constants - num_saved)
        blocks[config["num_layers"] :] = [single] * config["num_single_layers"]
    return blocks


def _encoder_blocks(spec: BackboneSpec, config: Mapping[str, Any], tokens: int, num_layers: int) -> list[_Block]:
    """The first of a backbone as the context encoder copies them; the last gives no text where that is of its own."""
    blocks = _blocks(spec, config, tokens)[:num_layers]
    if spec.family == "hunyuan" and num_layers <= config["num_layers"]:
        # Queries and output of the text's attention, and its feed-forward.
        num_saved = 2 * 10 * spec.dim**2 * spec.num_text_tokens
        blocks[-1] = replace(blocks[-1], linears=blocks[-1].linears - num_saved)
    return blocks


def _block(spec: BackboneSpec, config: Mapping[str, Any], tokens: int, *, num_id_tokens: int = 0) -> _Block:
    dim = spec.dim
    # Keys and values of the identity tokens are projected, and attended to.
    id_linears, id_attention = 2 * 2 * dim**2 * num_id_tokens, 4 * dim * num_id_tokens
    if spec.joins_text:
        both = _attended(spec, tokens)
        time_dim = dim if spec.family == "hunyuan" else config["time_embed_dim"]
        return _Block(
            # Four projections, and a feed-forward of four times the width.
            linears=2 * 12 * dim**2 * both,
            constants=2 * 12 * dim * time_dim + id_linears,
            attention=4 * dim * both**2 + id_attention * both,
        )
    told = spec.text_length + (_IMAGE_TOKENS if config.get("added_kv_proj_dim") else 0)
    inner_dim = config.get("ffn_dim", 4 * dim)  # LTX's is not in its config
    return _Block(
        # Self-attention, queries and output of cross-attention, feed-forward.
        linears=2 * (6 * dim**2 + 2 * dim * inner_dim) * tokens,
        constants=2 * 2 * dim**2 * told + id_linears,
        attention=4 * dim * tokens**2 + id_attention * tokens,
        cross_attention=4 * dim * tokens * told,
    )


def _ends(spec: BackboneSpec, config: Mapping[str, Any], tokens: int) -> float:
    """Before and behind the blocks."""
    embedding = 2 * config["in_channels"] * prod(spec.patch) * spec.dim * tokens
    return embedding + _conditions(spec, config, tokens) + _output(spec, tokens)


def _output(spec: BackboneSpec, tokens: int) -> float:
    return 2 * spec.dim * spec.latent_channels * prod(spec.patch) * tokens


def _conditions(spec: BackboneSpec, config: Mapping[str, Any], tokens: int) -> float:
    """Embedding of text, image and time."""
    dim = spec.dim
    if spec.family == "cogvideox":
        time = config["time_embed_dim"]
        offset = config["ofs_embed_dim"] or 0
        last_norm = 2 * dim * time
        return 2 * (spec.text_dim * dim * spec.text_length + dim * time + time**2 + 2 * offset**2 + last_norm)
    if spec.family == "hunyuan":
        return _hunyuan_conditions(spec, config)
    text = (spec.text_dim * dim + dim**2) * spec.text_length
    image_dim = config.get("image_dim") or 0
    image = (image_dim**2 + image_dim * dim) * _IMAGE_TOKENS
    # Where the first frame stands in the latents themselves, every token has a time of its own.
    replaces = spec.takes_first_frame and config["in_channels"] == spec.latent_channels
    times = tokens if replaces else 1
    return 2 * (text + image + (config.get("freq_dim", _FREQUENCIES) * dim + 7 * dim**2) * times)


def _hunyuan_conditions(spec: BackboneSpec, config: Mapping[str, Any]) -> float:
    """Embedding of time, guidance and CLIP's vector, refinement of LLaMA's tokens, and the last norm."""
    dim, text = spec.dim, spec.num_text_tokens
    # Two layers each.
    time, pooled, mean = ((size + dim) * dim for size in (_FREQUENCIES, config["pooled_projection_dim"], spec.text_dim))
    vectors = (2 + config["guidance_embeds"]) * time + pooled + mean + 2 * dim**2
    refining = (12 * dim**2 + 2 * dim * text) * text + 2 * dim**2
    return 2 * (vectors + spec.text_dim * dim * text + config["num_refiner_layers"] * refining)


def _encoder_embedding(spec: BackboneSpec, tokens: int) -> float:
    return 2 * num_input_channels(spec) * prod(spec.patch) * spec.dim * tokens


def _encoder_linears(spec: BackboneSpec, tokens: int, num_layers: int) -> float:
    """The encoder's patch embedding and its output layers."""
    return _encoder_embedding(spec, tokens) + num_layers * 2 * spec.dim**2 * tokens


def _encoder_forward(spec: BackboneSpec, config: Mapping[str, Any], tokens: int, num_layers: int) -> float:
    blocks = sum(block.forward for block in _encoder_blocks(spec, config, tokens, num_layers))
    return _conditions(spec, config, tokens) + blocks + _encoder_linears(spec, tokens, num_layers)


def _lora(
    spec: BackboneSpec, config: Mapping[str, Any], tokens: int, identity: IdentitySettings, *, num_id_tokens: int
) -> float:
    """Forward pass of all blocks' adapters, each a product down and one up."""
    adapted = spec.num_blocks * 2 * num_id_tokens
    if identity.scope == "joint" and spec.family == "hunyuan":
        # With two streams the video's four projections are adapted; with one the three before the attention, for both.
        adapted += config["num_layers"] * 4 * tokens + config["num_single_layers"] * 3 * _attended(spec, tokens)
    elif identity.scope == "joint":
        adapted += spec.num_blocks * 4 * _attended(spec, tokens)
    return 2 * 2 * spec.dim * identity.rank * adapted


def _attended(spec: BackboneSpec, tokens: int) -> int:
    """Tokens in self-attention."""
    return tokens + (spec.num_text_tokens if spec.joins_text else 0)
