from __future__ import annotations

import cv2
import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

from benchmark.metrics.clip import (
    consistency,
    cut_out,
    embed,
    hole_views,
    published_similarity,
    similarity,
    squared,
    texts_of,
)
from benchmark.metrics.sums import NOTHING
from tests.benchmark.metrics.published_clip import published_clip_score
from tests.benchmark.metrics.real_clip import real_clip
from tests.models.tiny_clip import CONFIG, IMAGE_SIZE_PX, save_tiny_clip
from vpdata.models.openclip.loading import load_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def model(folder):
    return load_clip(str(folder), None, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def cosine(folder):
    """Of a frame and a text, by open_clip alone."""
    network, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    network.load_state_dict(load_file(folder / "open_clip_model.safetensors"))
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")

    def of(frame, text):
        with torch.inference_mode():
            image = network.eval().encode_image(transform(Image.fromarray(frame))[None])
            words = network.encode_text(tokenizer([text]))
        return torch.cosine_similarity(image, words).item()

    return of


def test_similarity_is_a_hundred_times_the_cosine(model, cosine):
    frames = real_clip()[1][:3]
    found = similarity(embed(list(frames), model), texts_of("a city", model), model)
    wanted = np.mean([cosine(frame, "a city") for frame in frames])
    assert found.count == 3
    assert found.mean == pytest.approx(100 * wanted, abs=1e-3)


@pytest.mark.parametrize("size", [(144, 256), (256, 100), (20, 25)])
def test_a_squared_picture_is_seen_whole_as_open_clip_squashes_it(model, folder, size):
    network, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    network.load_state_dict(load_file(folder / "open_clip_model.safetensors"))
    colours = CONFIG["preprocess_cfg"]
    transform = image_transform_v2(PreprocessCfg(size=IMAGE_SIZE_PX, resize_mode="squash", **colours), is_train=False)
    frame = cv2.resize(real_clip()[1][0], size[::-1])
    with torch.inference_mode():
        wanted = normalize(network.eval().encode_image(transform(Image.fromarray(frame))[None]), dim=-1)[0]
    nothing, found = embed(squared([None, frame], model), model)
    assert nothing is None
    assert torch.allclose(found, wanted, atol=1e-5)


def test_what_is_beside_the_middle_square_counts(model):
    frame = real_clip()[1][0]
    changed = frame.copy()
    changed[:, :50] = 255 - changed[:, :50]
    first, second = embed(squared([frame, changed], model), model)
    assert float(first @ second) < 0.9999
    # Which CLIP's own preparation does not see.
    first, second = embed([frame, changed], model)
    assert float(first @ second) == pytest.approx(1, abs=1e-6)


def test_a_caption_that_fits_is_one_text_and_a_longer_one_counts_to_its_end(model, cosine):
    assert model.max_tokens == 10
    assert texts_of("One. Two.", model) == ["One. Two."]
    long = "A red ball rolls over the grass. A dog runs behind it."
    pieces = texts_of(long, model)
    assert pieces == ["A red ball rolls over the grass.", "A dog runs behind it."]
    frames = real_clip()[1][:2]
    found = similarity(embed(list(frames), model), pieces, model)
    assert found.count == 2
    assert found.mean == pytest.approx(100 * np.mean([cosine(f, text) for f in frames for text in pieces]), abs=1e-3)


LONG = (
    "A red ball rolls over the grass in front of a house, and a dog runs behind it.",
    "Waves break on the shore while two children in yellow coats look for shells.",
)
"""Of more tokens than the tiny CLIP reads."""


@pytest.fixture(scope="module")
def turned(folder, tmp_path_factory):
    """The same network with pictures on the other side, where they are near the start token."""
    other = save_tiny_clip(tmp_path_factory.mktemp("turned"))
    weights = load_file(folder / "open_clip_model.safetensors")
    save_file(weights | {"visual.proj": -weights["visual.proj"]}, other / "open_clip_model.safetensors")
    return other


def test_the_published_similarity_is_that_of_torchmetrics(folder, turned):
    frames, found = real_clip()[1][:2], []
    for weights in (folder, turned):
        score, model = published_clip_score(weights), load_clip(str(weights), None, device="cpu", dtype="float32")
        for text in ("a city", "one two three four five six seven eight nine ten", *LONG):
            sums = published_similarity(embed(list(frames), model), text, model)
            assert sums.count == 2
            assert sums.mean == pytest.approx(np.mean([score(frame, text) for frame in frames]), abs=0.1), text
            found.append(sums.mean)
    # Far more than that apart, but for the long ones; and 0 where the cosine is negative.
    assert len({round(value) for value in found}) >= 4
    assert found[2] == found[3] == 0
    assert found[6] == pytest.approx(found[7], abs=1e-3)
    assert found[6] > 1


def test_long_captions_differ_by_their_beginning_where_the_end_token_is_kept(model):
    frames = embed(list(real_clip()[1][:2]), model)
    first, second = (similarity(frames, [text], model).sum for text in LONG)
    assert abs(first - second) > 1


def test_an_empty_caption_gives_nothing(model):
    assert texts_of("  ", model) == []
    embeddings = embed(list(real_clip()[1][:1]), model)
    assert similarity(embeddings, [], model) == NOTHING


def test_consistency_is_the_cosine_of_neighbours(model):
    frames = real_clip()[1][[0, 0, 5]]
    frames[2] = 255 - frames[2]
    first, second = embed([frames[0], frames[2]], model)
    found = consistency(embed(list(frames), model))
    assert found.count == 2
    assert found.sum == pytest.approx(1 + float(first @ second), abs=1e-5)
    assert float(first @ second) < 0.9999


def test_a_frame_without_a_hole_breaks_the_chain(model):
    frames = real_clip()[1][:4]
    embeddings = embed([frames[0], None, frames[2], frames[3]], model)
    assert embeddings[1] is None
    assert consistency(embeddings).count == 1
    assert similarity(embeddings, ["x"], model).count == 3
    assert consistency(embeddings[:1]) == consistency([]) == consistency(embed([None, None], model)) == NOTHING


def test_the_view_of_a_hole_is_a_square_around_it():
    _, frames, _ = real_clip()
    holes = np.zeros(frames.shape[:3], bool)
    holes[0, 20:100, 100:120] = True
    holes[1, 140:, 250:] = True
    holes[2] = True
    views = hole_views(frames[:4], holes[:4])
    assert (views[0] == frames[0, 20:100, 70:150]).all()
    # Not smaller than 64 px, and moved into the frame.
    assert (views[1] == frames[1, 80:, 192:]).all()
    assert (views[2] == frames[2]).all()
    assert views[3] is None


def test_the_published_cut_out_is_black_outside_the_hole():
    _, frames, holes = real_clip()
    for cut, frame, hole in zip(cut_out(frames, holes), frames, holes, strict=True):
        assert not cut[~hole].any()
        assert (cut[hole] == frame[hole]).all()
