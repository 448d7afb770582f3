"""A tokenizer as Wan publishes UMT5's: the file says more than the class that the config beside it names."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing

from vpdata.backbones.tiny_parts import WORDS

SNOW, CAR = "a 雪 b", "a 🚗 b"
"""Texts with a character outside of the vocabulary, which is written as its bytes."""


def save_umt5_tokenizer(folder: Path) -> Tokenizer:
    """Replace the files of the tokenizer in `folder`, and return what they hold as the tokenizers' library reads it."""
    for file in folder.iterdir():
        file.unlink()
    pieces = ["<pad>", "</s>", "<s>", "<unk>", *(f"<0x{byte:02X}>" for byte in sorted((SNOW + CAR).encode()))]
    pieces += ["▁", "▁b", *(f"▁{word}" for word in WORDS.split(" "))]
    vocabulary = [(piece, -float(number)) for number, piece in enumerate(dict.fromkeys(pieces))]
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=3, byte_fallback=True))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}
    config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "model_max_length": 512, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return tokenizer
