"""Writes `losses.json` beside it: `python -m tests.golden.make_losses`. Ten losses of a small training per family.

A difference means that the same command learns something else: data order, noise, masks, the model or the optimizer
changed. If that is meant, say so in CHANGELOG.md and make them again.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from tests.train.fixtures import settings_for
from tests.train.processes import train_here

FILE = Path(__file__).parent / "losses.json"
BACKBONES = ("cogvideox-5b", "wan", "ltx", "hunyuan")


def losses_on(backbone: str) -> list[float]:
    """Of the first ten steps."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as output:
        train_here(settings_for(output, num_steps=10), backbone_name=backbone)
        lines = [json.loads(line) for line in Path(output, "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "train"]


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: losses_on(name) for name in BACKBONES}, indent=1) + "\n")
