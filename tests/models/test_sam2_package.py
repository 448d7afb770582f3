"""SAM 2.1 through the package `sam2`: equal to its own predictor and to transformers, on the same weights."""

from __future__ import annotations

import json
import shutil
from functools import partial

import numpy as np
import pytest

pytest.importorskip("sam2")

import cv2
import torch
from safetensors.torch import load_file
from sam2.build_sam import build_sam2_video_predictor
from transformers import Sam2HieraDetConfig, Sam2VideoConfig, Sam2VideoModel, Sam2VisionConfig

from tests.models.tiny_sam2 import BOXES, IMAGE_SIZE, followed, prompts_at, save_tiny_sam2, smooth_film
from vpdata import models
from vpdata.config import ModelChoice
from vpdata.errors import BackendError
from vpdata.media.masks import decode_masks
from vpdata.models.huggingface.sam2_network import TransformersNetwork
from vpdata.models.sam2_package import SMALLEST, PackageNetwork
from vpdata.models.sam2_weights import package_overrides, package_weights

CLOSE = 2e-4
"""Of logits that spread by 0.8, as in the tests of the other implementation."""

NUM_FRAMES, PROMPTED = 10, 4

SIZES = {
    "t": {},
    "s": {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    "b+": {
        "hidden_size": 112,
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 3, 16, 3],
        "global_attention_blocks": [12, 16, 20],
        "window_positional_embedding_background_size": [14, 14],
    },
    "l": {
        "hidden_size": 144,
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 6, 36, 4],
        "global_attention_blocks": [23, 33, 43],
        "window_size_per_stage": [8, 4, 16, 8],
    },
}
"""What the published checkpoints say about their image encoders."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny_sam2(tmp_path_factory.mktemp("sam2"))


@pytest.fixture(scope="module")
def predictor(weights):
    overrides = package_overrides(json.loads((weights / "config.json").read_text()))
    made = build_sam2_video_predictor(SMALLEST, None, "cpu", hydra_overrides_extra=overrides)
    made.load_state_dict(package_weights(load_file(weights / "model.safetensors")))
    return made


@pytest.fixture(scope="module")
def seen(predictor):
    film, prompts = smooth_film(NUM_FRAMES), prompts_at(PROMPTED, PROMPTED)
    return followed(PackageNetwork(predictor, dtype=torch.float32), film, prompts)


def load(weights, **options):
    chosen = {"weights": str(weights), "device": "cpu", "dtype": "float32", **options}
    return models.maker("mask_tracker", ModelChoice(name="sam2-package", options=chosen))()


def test_logits_equal_those_of_the_packages_predictor(predictor, seen, tmp_path):
    for number, frame in enumerate(smooth_film(NUM_FRAMES)):
        # The predictor asks for JPEG by name alone: PNG keeps every pixel.
        png = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))[1]
        (tmp_path / f"{number}.jpg").write_bytes(png.tobytes())
    state = predictor.init_state(str(tmp_path))
    for number, box in enumerate(BOXES[:2]):
        predictor.add_new_points_or_box(state, PROMPTED, number, box=np.array(box))
    for backward in (False, True):
        for frame, _, logits in predictor.propagate_in_video(state, PROMPTED, reverse=backward):
            quarter = torch.stack(seen.logits[frame])
            ours = torch.nn.functional.interpolate(quarter[:, None], (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear")
            torch.testing.assert_close(ours, logits, atol=CLOSE, rtol=0)


def test_logits_equal_those_of_the_other_implementation(weights, seen):
    network = TransformersNetwork(Sam2VideoModel.from_pretrained(weights).eval())
    other = followed(network, smooth_film(NUM_FRAMES), prompts_at(PROMPTED, PROMPTED))
    for frame in range(NUM_FRAMES):
        for name in ("logits", "scores"):
            pair = (torch.stack(getattr(one, name)[frame]) for one in (seen, other))
            torch.testing.assert_close(*pair, atol=CLOSE, rtol=0)


def test_both_implementations_open_the_same_checkpoint_and_prompt_again_alike(weights):
    film, prompts = smooth_film(8), prompts_at(2, 5)
    settings = {"weights": str(weights), "device": "cpu", "dtype": "float32", "reprompt_below": 0.9}
    found = [
        models.maker("mask_tracker", ModelChoice(name=name, options=settings))().track(
            film, prompts, height_px=96, width_px=160, seed=0
        )
        for name in ("sam2", "sam2-package")
    ]
    for one, other in zip(*found, strict=True):
        masks = [decode_masks(of.counts, height_px=96, width_px=160) for of in (one, other)]
        assert (masks[0] != masks[1]).mean() < 0.001
        assert one.score == pytest.approx(other.score, abs=1e-3)


def test_objects_together_equal_each_alone(predictor, seen):
    for number, prompt in enumerate(prompts_at(PROMPTED, PROMPTED)):
        alone = followed(PackageNetwork(predictor, dtype=torch.float32), smooth_film(NUM_FRAMES), [prompt])
        for frame in range(NUM_FRAMES):
            pair = seen.logits[frame][number], alone.logits[frame][0]
            torch.testing.assert_close(*pair, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_every_published_size_is_described_and_named_as_in_the_package(size, monkeypatch):
    # The package reads numbers from one while it builds, which only a tensor with memory has.
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))
    backbone = Sam2HieraDetConfig(**SIZES[size])
    channels = backbone.embed_dim_per_stage[::-1]
    config = Sam2VideoConfig(vision_config=Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=channels))
    with torch.device("meta"):
        renamed = package_weights(Sam2VideoModel(config).state_dict())
        theirs = build_sam2_video_predictor(f"configs/sam2.1/sam2.1_hiera_{size}.yaml", None, "meta")
        overrides = package_overrides(config.to_dict())
        ours = build_sam2_video_predictor(SMALLEST, None, "meta", hydra_overrides_extra=overrides)
    wanted = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    assert {name: tensor.shape for name, tensor in renamed.items()} == wanted
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == wanted
    # What no shape shows.
    in_blocks = [
        [(block.window_size, block.attn.num_heads) for block in one.image_encoder.trunk.blocks]
        for one in (ours, theirs)
    ]
    assert in_blocks[0] == in_blocks[1]


def test_bfloat16_runs_under_autocast(weights):
    (found,) = load(weights, dtype="bfloat16").track(smooth_film(3), prompts_at(1), height_px=64, width_px=64, seed=0)
    assert any(found.counts)


def test_sam_2_0_is_refused(weights, tmp_path):
    older = shutil.copytree(weights, tmp_path / "older")
    config = json.loads((older / "config.json").read_text())
    config["enable_temporal_pos_encoding_for_object_pointers"] = False
    (older / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackendError, match=r"SAM 2\.1"):
        load(older)


def test_weights_of_another_size_are_refused(weights, tmp_path):
    mixed = shutil.copytree(weights, tmp_path / "mixed")
    config = json.loads((mixed / "config.json").read_text())
    config["memory_attention_num_layers"] = 3
    (mixed / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackendError, match=r"memory_attention\.layers\.2"):
        load(mixed)


def test_card_names_the_package():
    card = models.describe("mask_tracker", ModelChoice(name="sam2-package"))
    assert card.source.startswith("facebook/sam2.1-hiera-large, sam2 ")
