"""Writes the golden files beside it: `python -m tests.golden.make`. They hold the format that readers rely on.

A difference is either a fault, or a new version of the format: then raise `SCHEMA_VERSION`, say in CHANGELOG.md how to
convert, and make them again.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from tests.runs import make_footage, make_record
from vpdata.codec import schema_of
from vpdata.dataset import annotations, index
from vpdata.dataset.latents import GivenFrame, LatentWindow, window_member
from vpdata.records import Record, Reject

FOLDER = Path(__file__).parent


def golden_files() -> dict[str, bytes]:
    """Name to content. The mp4 is a stand-in, since encoders differ from machine to machine."""
    record = make_record(7, mp4=b"not a real mp4", footage=make_footage(7))
    files = {f"sample.{suffix}": content for suffix, content in annotations.encode(record).items()}
    schemas = {"index": index.SCHEMA, "record": schema_of(Record), "reject": schema_of(Reject)}
    schemas["latents"] = schema_of(LatentWindow)
    files["window.tensors.txt"] = _window_tensors()
    return files | {f"{name}.schema.txt": f"{schema.remove_metadata()}\n".encode() for name, schema in schemas.items()}


def _window_tensors() -> bytes:
    """Names, types and places of the tensors of a window of 5 frames with 2 masks."""
    latents, hole = torch.zeros(4, 2, 2, 3), np.zeros((2, 16, 24), dtype=np.bool_)
    given = GivenFrame(latents=latents, image_tokens=torch.zeros(3, 5))
    file = window_member(video=latents, masked=[latents] * 2, unions=[hole] * 2, first_frame=given)
    num_bytes = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + num_bytes])
    return "".join(f"{name}: {entry}\n" for name, entry in header.items()).encode()


if __name__ == "__main__":
    for name, content in golden_files().items():
        (FOLDER / name).write_bytes(content)
