"""Tiny Grounding DINO and OWLv2 checkpoints with random weights, made from the library's own config classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    SwinConfig,
)

from vpdata.models.ports import KeyFrame

WORDS = ("a", "the", "photo", "of", "red", "blue", "square", "cat", "dog", "sports", "ball", "fire", "truck", "tall")


def save_grounding_dino(
    folder: Path, *, max_text_len: int = 64, num_queries: int = 30, short_side_px: int = 96
) -> Path:
    """A checkpoint that reads `WORDS`, with the token ids of BERT's separators where the model expects them."""
    vocabulary = {f"[unused{number}]": number for number in range(1100)}
    named = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    named |= {1030 + number: word for number, word in enumerate([*WORDS, "##s"])}
    for number, word in named.items():
        del vocabulary[f"[unused{number}]"]
        vocabulary[word] = number
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64,
            patch_size=4,
            embed_dim=16,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=1100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
        ),
        d_model=32,
        num_queries=num_queries,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        max_text_len=max_text_len,
        init_std=0.3,
    )
    torch.manual_seed(0)
    model = GroundingDinoForObjectDetection(config)
    for head in model.bbox_embed:  # zero at first, which would leave every box where its query began
        torch.nn.init.normal_(head.layers[-1].weight, std=0.1)
    model.save_pretrained(folder)
    image_processor = GroundingDinoImageProcessor(size={"shortest_edge": short_side_px, "longest_edge": 320})
    GroundingDinoProcessor(image_processor, BertTokenizer(vocab=vocabulary)).save_pretrained(folder)
    return folder


def save_owlv2(folder: Path) -> Path:
    """A checkpoint whose tokenizer knows single letters, so that any English label can be asked."""
    letters = [chr(code) for code in range(33, 127)]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces, start=1)} | {"!": 0}
    tower = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = Owlv2Config(
        text_config={
            **tower,
            "vocab_size": len(pieces) + 1,
            "max_position_embeddings": 32,
            "bos_token_id": vocabulary["<|startoftext|>"],
            "eos_token_id": vocabulary["<|endoftext|>"],
        },
        vision_config={**tower, "image_size": 64, "patch_size": 8},
        projection_dim=32,
    )
    torch.manual_seed(0)
    model = Owlv2ForObjectDetection(config)
    for weights in (*model.owlv2.text_model.parameters(), *model.class_head.parameters()):
        torch.nn.init.normal_(weights, std=0.3)  # by default so small that all labels have nearly the same score
    torch.nn.init.normal_(
        model.box_head.dense2.weight, std=0.02
    )  # by default so large that boxes lie on the image's edges
    model.save_pretrained(folder)
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=32)
    Owlv2Processor(Owlv2ImageProcessor(size={"height": 64, "width": 64}), tokenizer).save_pretrained(folder)
    return folder


def checkered(labels: Sequence[str], *, seed: int, height_px: int = 64, width_px: int = 96) -> KeyFrame:
    """A key frame of squares in random colours, read-only like those of a stage."""
    squares = np.random.default_rng(seed).integers(0, 255, (height_px // 8, width_px // 8, 3), dtype=np.uint8)
    image = squares.repeat(8, axis=0).repeat(8, axis=1)
    image.flags.writeable = False
    return KeyFrame(image=image, context=image[None][:0], labels=tuple(labels))
