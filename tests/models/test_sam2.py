"""SAM 2.1 through transformers: equal to the library's own session, whatever is batched."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import torch
from transformers import Sam2ImageProcessor, Sam2VideoModel, Sam2VideoProcessor, Sam2VideoVideoProcessor

from tests.models.tiny_sam2 import BOXES, IMAGE_SIZE, followed, prompts_at, save_tiny_sam2, smooth_film
from vpdata import models
from vpdata.config import ModelChoice
from vpdata.errors import BackendError
from vpdata.media.masks import decode_masks
from vpdata.models.huggingface.sam2_network import TransformersNetwork
from vpdata.models.ports import BoxPrompt

NUM_FRAMES = 26
"""So many that what was seen after the fourth frame would be forgotten when the way back begins."""
CLOSE = 2e-4
"""Of logits that spread by 0.8; those of two objects differ by 0.01 to 1. Memories are bfloat16, so a difference in the
last bit of float32 can grow to that of bfloat16."""

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny_sam2(tmp_path_factory.mktemp("sam2"))


@pytest.fixture(scope="module")
def model(weights):
    return Sam2VideoModel.from_pretrained(weights).eval()


@pytest.fixture(scope="module")
def network(model):
    return TransformersNetwork(model)


def load(weights, **options):
    chosen = {"weights": str(weights), "device": "cpu", "dtype": "float32", **options}
    return models.maker("mask_tracker", ModelChoice(name="sam2", options=chosen))()


def session_outputs(model, film, boxes, *, prompted):
    """The library's own passes over a film: frame to its output, and the processor that was used."""
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    processor = Sam2VideoProcessor(Sam2ImageProcessor(size=size), Sam2VideoVideoProcessor(size=size))
    session = processor.init_video_session(video=film, inference_device=model.device, dtype=model.dtype)
    numbers = list(range(len(boxes)))
    processor.add_inputs_to_inference_session(session, prompted, numbers, input_boxes=[[list(box) for box in boxes]])
    outputs = {prompted: model(session, frame_idx=prompted)}
    for backward in (False, True):
        for one in model.propagate_in_video_iterator(session, start_frame_idx=prompted, reverse=backward):
            outputs[one.frame_idx] = one
    return outputs, processor


@pytest.mark.parametrize("prompted", [0, 4])
def test_logits_equal_those_of_the_librarys_session(model, network, prompted):
    film = smooth_film(NUM_FRAMES)
    outputs, _ = session_outputs(model, film, BOXES, prompted=prompted)
    ours = followed(network, film, prompts_at(prompted, prompted, prompted))
    assert sorted(outputs) == sorted(ours.logits) == list(range(NUM_FRAMES))
    for frame, theirs in outputs.items():
        torch.testing.assert_close(torch.stack(ours.logits[frame]), theirs.pred_masks[:, 0], atol=CLOSE, rtol=0)
        scores = theirs.object_score_logits.flatten()
        torch.testing.assert_close(torch.stack(ours.scores[frame]), scores, atol=CLOSE, rtol=0)


def test_masks_equal_those_of_the_librarys_processor(weights, model):
    film = smooth_film(6, height_px=72, width_px=160)
    box = (30.0, 10.0, 120.0, 60.0)
    outputs, processor = session_outputs(model, film, [box], prompted=2)
    theirs = [processor.post_process_masks([outputs[n].pred_masks], [[72, 160]])[0][0, 0].numpy() for n in range(6)]
    tracker = load(weights, min_part_frac=0.0, min_hole_frac=0.0)
    (found,) = tracker.track(film, [BoxPrompt(frame=2, box=box, label="")], height_px=72, width_px=160, seed=0)
    ours = decode_masks(found.counts, height_px=72, width_px=160)
    # The library resizes in integers of 8 bits, we in float: a grey level here and there differs by one.
    assert (ours != np.stack(theirs)).mean() < 0.002
    assert 0.1 < ours.mean() < 0.9
    assert found.score == pytest.approx(
        np.mean([one.object_score_logits.sigmoid() for one in outputs.values()]), abs=1e-3
    )


@pytest.mark.parametrize("frames", [(4, 4, 4), (2, 9, 2), (0, 6, 11)], ids=str)
def test_objects_together_equal_each_alone(network, frames):
    film = smooth_film(12)
    together = followed(network, film, prompts_at(*frames))
    alone = [followed(network, film, [prompt]) for prompt in prompts_at(*frames)]
    for frame in range(12):
        wanted = torch.stack([one.logits[frame][0] for one in alone])
        found = torch.stack(together.logits[frame])
        # Objects prompted elsewhere come in another order.
        order = [int((found - one).abs().amax(dim=(1, 2)).argmin()) for one in wanted]
        assert sorted(order) == [0, 1, 2]
        torch.testing.assert_close(found[order], wanted, atol=CLOSE, rtol=0)


def test_number_of_frames_encoded_at_once_does_not_matter(network):
    film, prompts = smooth_film(10), prompts_at(3, 3)
    by_eight, by_one = (followed(network, film, prompts, batch_size=size) for size in (8, 1))
    for frame in range(10):
        pair = (torch.stack(one.logits[frame]) for one in (by_eight, by_one))
        torch.testing.assert_close(*pair, atol=CLOSE, rtol=0)


def test_absent_object_has_no_mask(tmp_path):
    tracker = load(save_tiny_sam2(tmp_path, object_score=-10.0))
    found = tracker.track(smooth_film(4), prompts_at(1, 2), height_px=IMAGE_SIZE, width_px=IMAGE_SIZE, seed=0)
    assert [set(one.counts) for one in found] == [{None}, {None}]
    assert [one.score for one in found] == [0.0, 0.0]


def test_hidden_object_is_remembered_as_such(tmp_path):
    model = Sam2VideoModel.from_pretrained(save_tiny_sam2(tmp_path, object_score=-10.0)).eval()
    film = smooth_film(5)
    outputs, _ = session_outputs(model, film, BOXES[:1], prompted=2)
    ours = followed(TransformersNetwork(model), film, prompts_at(2))
    for frame, theirs in outputs.items():
        torch.testing.assert_close(ours.scores[frame][0], theirs.object_score_logits.flatten()[0], atol=CLOSE, rtol=0)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
def test_bfloat16_logits_equal_those_of_the_librarys_session(model, device):
    half = Sam2VideoModel.from_pretrained(model.name_or_path, dtype=torch.bfloat16).eval().to(device)
    film = smooth_film(6)
    outputs, _ = session_outputs(half, film, BOXES[:1], prompted=2)
    ours = followed(TransformersNetwork(half), film, prompts_at(2), batch_size=1)
    for frame, theirs in outputs.items():
        torch.testing.assert_close(ours.logits[frame][0], theirs.pred_masks[0, 0].float(), atol=0.02, rtol=0)


def test_bfloat16_objects_together_equal_each_alone(model):
    """Within what bfloat16 itself changes: up to 0.08 of logits that spread by 0.9, measured against float32."""
    network = TransformersNetwork(Sam2VideoModel.from_pretrained(model.name_or_path, dtype=torch.bfloat16).eval())
    film, prompts = smooth_film(6), prompts_at(2, 2, 2)
    together = followed(network, film, prompts)
    alone = [followed(network, film, [prompt]) for prompt in prompts]
    for frame in range(6):
        wanted = torch.stack([one.logits[frame][0] for one in alone])
        torch.testing.assert_close(torch.stack(together.logits[frame]), wanted, atol=0.08, rtol=0)
    # Where the boxes are, the tolerance tells objects apart; elsewhere these random weights hardly do.
    assert (alone[0].logits[2][0] - alone[1].logits[2][0]).abs().max() > 0.3


@pytest.mark.slow
def test_compiled_encoder_gives_the_same_masks(weights):
    size = {"height_px": IMAGE_SIZE, "width_px": IMAGE_SIZE, "seed": 0}
    plain, compiled = (
        load(weights, compile=compile).track(smooth_film(3), prompts_at(1), **size)[0] for compile in (False, True)
    )
    a, b = (decode_masks(one.counts, height_px=IMAGE_SIZE, width_px=IMAGE_SIZE) for one in (plain, compiled))
    assert (a != b).mean() < 0.001


@NEEDS_GPU
def test_gpu_agrees_with_cpu(weights):
    size = {"height_px": IMAGE_SIZE, "width_px": IMAGE_SIZE, "seed": 0}
    on_cpu, on_gpu = (
        load(weights, device=device).track(smooth_film(8), prompts_at(3, 5), **size) for device in ("cpu", "cuda")
    )
    for a, b in zip(on_cpu, on_gpu, strict=True):
        masks = [decode_masks(one.counts, height_px=IMAGE_SIZE, width_px=IMAGE_SIZE) for one in (a, b)]
        assert (masks[0] == masks[1]).mean() > 0.999
        assert a.score == pytest.approx(b.score, abs=1e-3)


def test_missing_weights_name_the_command_that_fetches_them(monkeypatch):
    monkeypatch.delenv("VPDATA_WEIGHTS", raising=False)
    with pytest.raises(BackendError, match=r"vpdata models fetch facebook/sam2\.1-hiera-tiny"):
        load("facebook/sam2.1-hiera-tiny")


def test_sam_2_0_is_refused(weights, tmp_path):
    older = shutil.copytree(weights, tmp_path / "older")
    config = json.loads((older / "config.json").read_text())
    config["enable_occlusion_spatial_embedding"] = False
    (older / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackendError, match=r"SAM 2\.1"):
        load(older)


def test_truncated_weights_are_refused(weights, tmp_path):
    damaged = shutil.copytree(weights, tmp_path / "damaged")
    file = damaged / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(BackendError, match="damaged"):
        load(damaged)


def test_card_names_weights_revision_and_licence():
    options = {"weights": "facebook/sam2.1-hiera-tiny", "revision": "abc"}
    card = models.describe("mask_tracker", ModelChoice(name="sam2", options=options))
    assert (card.name, card.revision, card.licence) == ("sam2", "abc", "Apache-2.0")
    assert "facebook/sam2.1-hiera-tiny" in card.source
