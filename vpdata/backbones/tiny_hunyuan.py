"""Small random HunyuanVideo, and SkyReels that is given its first frame: two blocks of either kind."""

from __future__ import annotations

import string
from typing import Any

from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoTransformer3DModel
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_skyreels_image2video import HunyuanSkyreelsImageToVideoPipeline
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE, HunyuanVideoPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Punctuation, Sequence, Split
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
)

from vpdata.backbones.settings import TinyName
from vpdata.backbones.tiny_parts import HEAD_DIM, NUM_BLOCKS, NUM_HEADS, TEXT_DIM, WORDS, moments, randomised

_POOLED_DIM = 16
_HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def tiny_hunyuan(name: TinyName) -> HunyuanVideoPipeline | HunyuanSkyreelsImageToVideoPipeline:
    """The pipeline of that name."""
    is_i2v = name.endswith("i2v")
    transformer = HunyuanVideoTransformer3DModel(
        in_channels=32 if is_i2v else 16,
        num_attention_heads=NUM_HEADS,
        attention_head_dim=HEAD_DIM,
        num_layers=NUM_BLOCKS // 2,
        num_single_layers=NUM_BLOCKS - NUM_BLOCKS // 2,
        num_refiner_layers=1,
        text_embed_dim=TEXT_DIM,
        pooled_projection_dim=_POOLED_DIM,
        rope_axes_dim=(8, 12, 12),
    )
    parts: dict[str, Any] = {
        "text_encoder": _llama(),
        "tokenizer": _llama_tokenizer(),
        "text_encoder_2": _clip(),
        "tokenizer_2": _clip_tokenizer(),
        "transformer": randomised(transformer),
        "vae": _vae(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0),
    }
    return HunyuanSkyreelsImageToVideoPipeline(**parts) if is_i2v else HunyuanVideoPipeline(**parts)


def _vae() -> AutoencoderKLHunyuanVideo:
    channels: Any = (8, 8, 8, 8)
    vae = AutoencoderKLHunyuanVideo(block_out_channels=channels, layers_per_block=1, norm_num_groups=2)
    _, std = moments(vae)
    vae.register_to_config(scaling_factor=round(1 / float(std.mean()), 4))
    return vae


def _llama() -> LlamaModel:
    # Of three layers the output of the first is taken, the last but two of the hidden states.
    sizes: dict[str, Any] = {
        "hidden_size": TEXT_DIM,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
    }
    return LlamaModel(LlamaConfig(vocab_size=128, pad_token_id=0, bos_token_id=1, eos_token_id=2, **sizes))


def _llama_tokenizer() -> PreTrainedTokenizerFast:
    """Words of captions and of the prompt, which is split into as many tokens as are cut off before a caption."""
    prompt = str(DEFAULT_PROMPT_TEMPLATE["template"]).replace("{}", "")
    for header in _HEADERS:
        prompt = prompt.replace(header, " ")
    split = Sequence([Split("\n\n", "isolated"), Split(" ", "removed"), Split("ships", "isolated"), Punctuation()])
    pieces = [piece for piece, _ in split.pre_tokenize_str(prompt)]
    vocabulary = dict.fromkeys(["<pad>", "<s>", "<unk>", *_HEADERS, *WORDS.split(" "), *pieces])
    tokenizer = Tokenizer(WordLevel({piece: number for number, piece in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = split
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="right",
        additional_special_tokens=list(_HEADERS),
    )


def _clip() -> CLIPTextModel:
    sizes: dict[str, Any] = {
        "hidden_size": _POOLED_DIM,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    ends: dict[str, Any] = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 1}
    return CLIPTextModel(CLIPTextConfig(vocab_size=128, **ends, **sizes))


def _clip_tokenizer() -> CLIPTokenizer:
    """Letter by letter."""
    letters = [letter + end for letter in string.ascii_lowercase + string.digits + ".,-'" for end in ("", "</w>")]
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters]
    return CLIPTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, merges=[])
