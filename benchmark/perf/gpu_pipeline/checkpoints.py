"""Checkpoints of the default models with random weights: published sizes, or tiny ones of the same architectures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    AutoModelForImageTextToText,
    BertConfig,
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    Sam2ImageProcessor,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam2VideoProcessor,
    Sam2VideoVideoProcessor,
    SwinConfig,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from vpdata.models.prompts import read_prompt
from vpdata.models.vocabularies import read_vocabulary

DETECTOR, TRACKER, CAPTIONER, CLIP, HEAD = "detector", "tracker", "captioner", "clip", "aesthetic-head"
CLASSIFIER = "nsfw-classifier"
"""Names of the folders."""
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
_VIDEO = "<|video_pad|>"
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""As Qwen's own, for messages of pictures and text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What distinguishes a full-size network from a tiny one, as arguments of the libraries' config classes."""

    swin: Mapping[str, Any]
    bert: Mapping[str, Any]
    detector: Mapping[str, Any]
    detector_short_side_px: int
    hiera: Mapping[str, Any]
    tracker: Mapping[str, Any]
    tracker_side_px: int
    language: Mapping[str, Any]
    vision: Mapping[str, Any]
    clip: Mapping[str, Any]
    classifier: Mapping[str, Any]


FULL = Sizes(
    swin={
        "image_size": 384,
        "window_size": 12,
        "embed_dim": 128,
        "depths": [2, 2, 18, 2],
        "num_heads": [4, 8, 16, 32],
    },
    bert={},
    detector={},
    detector_short_side_px=800,
    hiera={
        "hidden_size": 144,
        "num_attention_heads": 2,
        "blocks_per_stage": [2, 6, 36, 4],
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "window_size_per_stage": [8, 4, 16, 8],
        "global_attention_blocks": [23, 33, 43],
    },
    tracker={},
    tracker_side_px=1024,
    language={
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "rope_parameters": {"rope_type": "default", "mrope_section": [24, 20, 20], "rope_theta": 5_000_000},
    },
    vision={
        "depth": 27,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_heads": 16,
        "out_hidden_size": 4096,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [8, 16, 24],
    },
    clip=open_clip.get_model_config("ViT-L-14-quickgelu") or {},
    classifier={},
)
"""Grounding DINO base, SAM 2.1 large, Qwen3-VL-8B, OpenAI's CLIP ViT-L/14 and a ViT-B/16, as published."""

TINY = Sizes(
    swin={"image_size": 64, "window_size": 4, "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]},
    bert={"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    detector={
        "d_model": 32,
        "num_queries": 30,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
    },
    detector_short_side_px=96,
    hiera={
        "hidden_size": 16,
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [16, 32, 64, 128],
        "global_attention_blocks": [3],
    },
    tracker={"memory_attention_num_layers": 2},
    tracker_side_px=128,
    language={
        "vocab_size": 4096,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000},
    },
    vision={
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 32,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    },
    clip={
        "embed_dim": 16,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    },
    classifier={
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "image_size": 32,
        "patch_size": 8,
    },
)


def detector(sizes: Sizes) -> nn.Module:
    """Grounding DINO."""
    swin: Any = SwinConfig
    config = GroundingDinoConfig(
        backbone_config=swin(**sizes.swin, out_features=["stage2", "stage3", "stage4"]),
        text_config=BertConfig(**sizes.bert),
        **sizes.detector,
    )
    return GroundingDinoForObjectDetection(config)


def tracker(sizes: Sizes) -> nn.Module:
    """SAM 2.1 whose every mask is the whole frame: those of random weights are noise, slow to clean and to encode."""
    side_px = sizes.tracker_side_px
    sides = [side_px // stride for stride in (4, 8, 16)]
    backbone = {"model_type": "sam2_hiera_det_model", "image_size": [side_px, side_px], **sizes.hiera}
    config = Sam2VideoConfig(
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": backbone,
            "backbone_channel_list": backbone["embed_dim_per_stage"][::-1],
            "backbone_feature_sizes": [[side, side] for side in sides],
        },
        prompt_encoder_config={"image_size": side_px},
        image_size=side_px,
        memory_attention_rope_feat_sizes=[sides[-1], sides[-1]],
        **sizes.tracker,
    )
    model: Any = Sam2VideoModel(config)
    decoder = model.mask_decoder
    makes_logits = [decoder.conv_s0, decoder.upscale_conv2]
    makes_logits += [mlp.proj_out for mlp in decoder.output_hypernetworks_mlps]
    with torch.no_grad():
        for layer in (*makes_logits, decoder.pred_obj_score_head.proj_out):
            layer.weight.zero_()
            layer.bias.fill_(1.0)
    return model


def captioner(sizes: Sizes) -> nn.Module:
    """Qwen3-VL in bfloat16, which never ends an answer by itself."""
    tokens = _chat_tokenizer(sizes)
    ids: dict[str, Any] = {name: tokens.convert_tokens_to_ids(name) for name in (*_SPECIAL, _VIDEO)}
    config = Qwen3VLConfig(
        text_config=dict(sizes.language),
        vision_config=dict(sizes.vision),
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids[_VIDEO],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    model.generation_config.update(eos_token_id=None, bos_token_id=None, pad_token_id=ids["<|endoftext|>"])
    return model


def clip(sizes: Sizes) -> nn.Module:
    """CLIP."""
    return open_clip.CLIP(**sizes.clip)


def classifier(sizes: Sizes) -> nn.Module:
    """A ViT that tells unsafe pictures from others."""
    id2label = {0: "normal", 1: "nsfw"}
    label2id = {label: number for number, label in id2label.items()}
    return ViTForImageClassification(ViTConfig(**sizes.classifier, id2label=id2label, label2id=label2id))


NETWORKS: Mapping[str, Callable[[Sizes], nn.Module]] = {
    DETECTOR: detector,
    TRACKER: tracker,
    CAPTIONER: captioner,
    CLIP: clip,
    CLASSIFIER: classifier,
}

NETWORKS_OF: Mapping[str, tuple[str, ...]] = {
    "detect": (CLIP, CLASSIFIER, DETECTOR),
    "track": (TRACKER,),
    "caption": (CAPTIONER, CLIP),
}
"""Which of them each stage opens."""


def save_checkpoints(folder: Path, names: tuple[str, ...], *, is_tiny: bool, device: str) -> None:
    """A folder for each of the names, as `vpdata models fetch` would leave it."""
    sizes = TINY if is_tiny else FULL
    for name in names:
        (folder / name).mkdir()
        torch.manual_seed(0)
        with torch.device(device):
            network: Any = NETWORKS[name](sizes)
        if name == CLIP:
            _save_clip(folder / name, network, sizes)
            (folder / HEAD).mkdir()
            save_file(
                {"weight": torch.randn(1, sizes.clip["embed_dim"]), "bias": torch.zeros(1)},
                folder / HEAD / "model.safetensors",
            )
        else:
            network.save_pretrained(folder / name)
            _processor(name, sizes).save_pretrained(folder / name)
        # The next one needs the room.
        del network


def _save_clip(folder: Path, network: nn.Module, sizes: Sizes) -> None:
    config = {
        "model_cfg": sizes.clip,
        "preprocess_cfg": {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")


def _processor(name: str, sizes: Sizes) -> Any:
    if name == DETECTOR:
        size = {"shortest_edge": sizes.detector_short_side_px, "longest_edge": 1333}
        return GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), _detector_tokenizer())
    if name == TRACKER:
        size = {"height": sizes.tracker_side_px, "width": sizes.tracker_side_px}
        return Sam2VideoProcessor(Sam2ImageProcessor(size=size), Sam2VideoVideoProcessor(size=size))
    if name == CLASSIFIER:
        side_px: int = sizes.classifier.get("image_size", 224)
        return ViTImageProcessor(size={"height": side_px, "width": side_px})
    size = {"shortest_edge": 65536, "longest_edge": 16777216}
    images = Qwen2VLImageProcessor(patch_size=16, size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return Qwen3VLProcessor(images, _chat_tokenizer(sizes), Qwen3VLVideoProcessor(), chat_template=_CHAT)


def _detector_tokenizer() -> BertTokenizer:
    """Knows each word of LVIS as one token, and BERT's separators at their places."""
    words = sorted({word for name in read_vocabulary("lvis") for word in name.replace("-", " - ").split()})
    vocabulary = dict.fromkeys(range(BertConfig().vocab_size), "")
    vocabulary |= {number: f"[unused{number}]" for number in vocabulary}
    vocabulary |= {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    vocabulary |= {2000 + number: word for number, word in enumerate(words)}
    return BertTokenizer(vocab={word: number for number, word in vocabulary.items()})


def _chat_tokenizer(sizes: Sizes) -> PreTrainedTokenizerFast:
    """Reads our prompts in about as many tokens as a real one, and has a word for all that the network can answer."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = [*_SPECIAL, _VIDEO]
    trainer = trainers.BpeTrainer(
        vocab_size=2000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=special
    )
    core.train_from_iterator([read_prompt(name) for name in ("dense_clip", "masked_object")], trainer)
    content = json.loads(core.to_str())
    words = content["model"]["vocab"]
    words |= {f"Ġword{number}": number for number in range(len(words), sizes.language["vocab_size"])}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=special,
        chat_template=_CHAT,
    )
