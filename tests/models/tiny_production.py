"""Tiny checkpoints in the place of all weights that configs/vpdata.yaml names: real architectures, random weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.models.tiny_clip import save_head, save_tiny_clip
from tests.models.tiny_detectors import save_grounding_dino
from tests.models.tiny_sam2 import save_tiny_sam2
from tests.models.tiny_vit import save_tiny_vit
from tests.models.tiny_vlm import save_tiny_vlm
from vpdata.models.weights import Lock, locked, write_lock
from vpdata.storage import Folder

WEIGHTS: dict[str, Callable[[Path], Path]] = {
    "timm/vit_large_patch14_clip_224.openai": save_tiny_clip,
    "laion-aesthetic-v2": save_head,
    "Falconsai/nsfw_image_detection": save_tiny_vit,
    "IDEA-Research/grounding-dino-base": save_grounding_dino,
    "facebook/sam2.1-hiera-large": save_tiny_sam2,
    "Qwen/Qwen3-VL-8B-Instruct": partial(save_tiny_vlm, family="qwen3_vl"),
}
MODELS = ("detect.tagger", "detect.detector", "detect.embedder", "track.tracker", "caption.captioner")
ON_A_CPU = (
    *(f"{model}.options.device=cpu" for model in (*MODELS, "caption.text_scorer")),
    *(f"{model}.options.dtype=float32" for model in (*MODELS, "caption.text_scorer")),
    "detect.scorers=[{name: openclip, options: {aesthetic_head: laion-aesthetic-v2, safety: false, device: cpu,"
    " dtype: float32}}, {name: nsfw, options: {device: cpu, dtype: float32}}, {name: text_overlay}]",
)
"""Settings of the config that let them run where no GPU is."""


def save_all(folder: Path) -> Path:
    """The folder, with the weights in it as they are when fetched."""
    for name, save in WEIGHTS.items():
        place = folder / name
        place.mkdir(parents=True)
        save(place)
        files = locked(Folder(place), sorted(path.name for path in place.iterdir()))
        write_lock(Folder(place), Lock(source=name, revision="tiny", files=files))
    return folder
