"""Vision-language checkpoints small enough for a test: real architectures, random weights, a tokenizer of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""As Qwen's own, for messages of pictures and text."""
_SMOL_TEMPLATE = _TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "<image>").replace(
    "<|im_end|>", "<end_of_utterance>"
)
_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_SMOL_SPECIAL = {
    "image_token": "<image>",
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "video_token": "<video>",
    "end_of_utterance_token": "<end_of_utterance>",
}
"""By the attribute that SmolVLM's processor reads."""

Family = Literal["qwen2_5_vl", "qwen3_vl", "smolvlm"]


def save_tiny_vlm(folder: Path, *, family: Family = "qwen2_5_vl", seed: int = 0) -> Path:
    """A folder that `from_pretrained` opens like a published one."""
    import torch
    from transformers import AutoModelForImageTextToText

    is_smol = family == "smolvlm"
    tokenizer = _smol_tokenizer() if is_smol else _tokenizer(_SPECIAL, end="<|im_end|>", template=_TEMPLATE)
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in tokenizer.all_special_tokens}
    config = (_smol_config if is_smol else partial(_config, family))(num_tokens=len(tokenizer), ids=ids)
    torch.manual_seed(seed)
    model = AutoModelForImageTextToText.from_config(config)
    # Random weights as small as the default give nearly equal logits, so that rounding would choose the words.
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3) if parameter.dim() > 1 else None
    # As published checkpoints do, which would have us draw random words.
    model.generation_config.update(do_sample=True, temperature=0.7, top_k=20, repetition_penalty=1.05)
    model.save_pretrained(folder)
    (_smol_processor(tokenizer) if is_smol else _processor(family, tokenizer)).save_pretrained(folder)
    return folder


def _tokenizer(special: Sequence[str], *, end: str, template: str, **named: str):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=list(special))
    core.train_from_iterator(["a red square moves to the right over the grey ground"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=end,
        pad_token="<|endoftext|>",
        additional_special_tokens=list(special),
        chat_template=template,
        # Published ones pad on the right, which would put the padding between a prompt and its answer.
        padding_side="right",
        **named,
    )


def _config(family: str, *, num_tokens: int, ids: dict[str, int]):
    from transformers import Qwen2_5_VLConfig, Qwen3VLConfig

    special = {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }
    text = {
        "vocab_size": num_tokens,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0},
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }
    vision = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "out_hidden_size": 32}
    if family == "qwen2_5_vl":
        vision |= {"patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1]}
        return Qwen2_5_VLConfig(text_config=text, vision_config=vision, **special)
    vision |= {"patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    return Qwen3VLConfig(text_config=text | {"head_dim": 16}, vision_config=vision, **special)


def _processor(family: str, tokenizer):
    from transformers import (
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    if family == "qwen2_5_vl":
        size = {"shortest_edge": 28 * 28, "longest_edge": 112 * 112}
        images = Qwen2VLImageProcessor(patch_size=14, size=size)
        return Qwen2_5_VLProcessor(images, tokenizer, Qwen2VLVideoProcessor(), chat_template=_TEMPLATE)
    size = {"shortest_edge": 32 * 32, "longest_edge": 128 * 128}
    images = Qwen2VLImageProcessor(patch_size=16, size=size)
    return Qwen3VLProcessor(images, tokenizer, Qwen3VLVideoProcessor(), chat_template=_TEMPLATE)


def _smol_tokenizer():
    special = ["<|endoftext|>", "<|im_start|>", *_SMOL_SPECIAL.values()]
    return _tokenizer(special, end="<end_of_utterance>", template=_SMOL_TEMPLATE, **_SMOL_SPECIAL)


def _smol_config(*, num_tokens: int, ids: dict[str, int]):
    from transformers import SmolVLMConfig

    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {
        "model_type": "llama",
        "vocab_size": num_tokens,
        "num_key_value_heads": 1,
        "max_position_embeddings": 4096,
        "bos_token_id": ids["<|im_start|>"],
        "eos_token_id": ids["<end_of_utterance>"],
        "pad_token_id": ids["<|endoftext|>"],
    }
    return SmolVLMConfig(
        text_config=size | text,
        vision_config=size | {"image_size": 64, "patch_size": 16},
        image_token_id=ids["<image>"],
        pad_token_id=ids["<|endoftext|>"],
        scale_factor=2,
    )


def _smol_processor(tokenizer):
    from transformers import SmolVLMImageProcessor, SmolVLMProcessor, SmolVLMVideoProcessor

    sizes = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 64}}
    images = SmolVLMImageProcessor(**sizes, do_image_splitting=False)
    # (64 / 16)^2 patches, 2 x 2 of which are a token.
    return SmolVLMProcessor(
        images, tokenizer, SmolVLMVideoProcessor(**sizes), image_seq_len=4, chat_template=_SMOL_TEMPLATE
    )
