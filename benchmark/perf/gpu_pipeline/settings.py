"""`configs/vpdata.yaml` on the random checkpoints, with the workload held fixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.perf.gpu_pipeline import checkpoints
from vpdata.build import BuildConfig
from vpdata.config import fill, read_yaml

CONFIG = Path(__file__).parents[3] / "configs/vpdata.yaml"
FULL_TOKENS, TINY_TOKENS = 200, 8
"""Of every caption and description."""


def settings_on(weights: Path, *, is_tiny: bool) -> BuildConfig:
    """The real config but for weights, thresholds that random weights make meaningless, and the length of texts.

    A clip always has as many tags as it may (their scores are noise), no box passes the detector's threshold (all 900
    would), tracks are kept whatever their score and however alike, and texts are not checked.
    """
    data = read_yaml(CONFIG)
    here: dict[str, Any] = {"device": "cpu", "dtype": "float32"} if is_tiny else {}
    clip = {"weights": str(weights / checkpoints.CLIP), **here}
    detect, track, caption = data["detect"], data["track"], data["caption"]
    detect["tagger"]["options"] = {**clip, "min_cosine": -1.0, "cache_folder": str(weights / "vocabularies")}
    detect["detector"]["options"] = {"weights": str(weights / checkpoints.DETECTOR), "min_score": 1.0, **here}
    for scorer in detect["scorers"]:
        if scorer["name"] == "openclip":
            scorer["options"] |= {**clip, "aesthetic_head": str(weights / checkpoints.HEAD)}
        if scorer["name"] == "nsfw":
            scorer["options"] = {"weights": str(weights / checkpoints.CLASSIFIER), **here}
    detect["embedder"]["options"] = clip
    track["tracker"]["options"] = {"weights": str(weights / checkpoints.TRACKER), **here}
    track["min_score"], track["merge_iou"] = 0.0, 1.0
    num_tokens = TINY_TOKENS if is_tiny else FULL_TOKENS
    caption["captioner"]["options"] = {
        "weights": str(weights / checkpoints.CAPTIONER),
        "max_new_tokens": num_tokens,
        **here,
    }
    caption["text_scorer"]["options"] = clip
    caption["checks"] = None
    return fill(BuildConfig, data)
