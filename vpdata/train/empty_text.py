"""The embedding of the empty caption, which stands in for captions that are dropped; made once and kept."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from vpdata.backbones.loading import fingerprint, load_text_encoder
from vpdata.backbones.settings import BackboneSettings
from vpdata.dataset.tensor_files import tensor_bytes, tensor_views
from vpdata.storage import Folder
from vpdata.train.world import World


def empty_text(folder: Path, *, backbone: BackboneSettings, world: World) -> Tensor:
    """`[L, D]`. The main process loads the text encoder if the file is not there yet. Called by all ranks together.

    The file is named by the backbone's fingerprint: what a wrong start leaves is not taken up.
    """
    files, name = Folder(folder), f"empty_text-{fingerprint(backbone)}.safetensors"
    with world.together("encoding the empty caption"):
        if world.is_main and not files.exists(name):
            encoder = load_text_encoder(backbone)
            (embedding,) = encoder.encode([""])
            files.write(name, tensor_bytes({"text": embedding.to(torch.bfloat16)}))
            del encoder
            if world.device.type == "cuda":
                torch.cuda.empty_cache()  # gigabytes that the backbone needs next
    return tensor_views(memoryview(bytearray(files.read(name))), where=f"{folder}/{name}")["text"]
