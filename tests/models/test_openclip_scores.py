from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")

from PIL import Image as Picture
from safetensors.torch import load_file

from tests.fakes import textured_ground
from tests.models.tiny_clip import CONFIG, IMAGE_SIZE_PX, NUM_VALUES, save_head, save_tiny_clip
from vpdata.config import ModelChoice, fill
from vpdata.errors import BackendError, ConfigError
from vpdata.models import describe
from vpdata.models.openclip.loading import WEIGHTS, load_clip
from vpdata.models.openclip.safety import SAFE, UNSAFE
from vpdata.models.openclip.scores import (
    ClipAlignment,
    ClipEmbedder,
    ClipSampledSettings,
    ClipScores,
    ClipScoresSettings,
    ClipSettings,
    sentences,
)
from vpdata.models.weights import Lock, write_lock
from vpdata.storage import Folder

torch.set_num_threads(1)
ON_CPU = {"device": "cpu", "dtype": "float32"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(save_tiny_clip(tmp_path_factory.mktemp("clip")))


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    return str(save_head(tmp_path_factory.mktemp("head")))


@pytest.fixture(scope="module")
def library(weights):
    """Embeddings by open_clip called directly: of images and of texts, of unit length."""
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{weights}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{weights}")

    def images(frames):
        pixels = torch.stack([transform(Picture.fromarray(frame)) for frame in frames])
        return model.eval().encode_image(pixels, normalize=True)

    def texts(lines):
        return model.eval().encode_text(tokenizer(lines), normalize=True)

    return images, texts, model.logit_scale.detach().exp().item()


def frames(num_frames=3, *, height_px=40, width_px=64):
    return np.stack([textured_ground(height_px=height_px, width_px=width_px, seed=seed) for seed in range(num_frames)])


@torch.no_grad()
def test_aesthetic_is_the_mean_of_the_heads_answers_on_the_librarys_embeddings(weights, head, library):
    scorer = ClipScores(ClipScoresSettings(weights=weights, aesthetic_head=head, safety=False, **ON_CPU))
    rating = torch.nn.Linear(NUM_VALUES, 1)
    generator = torch.Generator().manual_seed(2)
    rating.weight.data = torch.randn(1, NUM_VALUES, generator=generator)
    rating.bias.data = torch.tensor([5.0])
    wanted = rating(library[0](frames())).mean().item()
    assert scorer.score(frames(), fps=1.0) == {"aesthetic": pytest.approx(wanted, abs=1e-5)}


@torch.no_grad()
def test_unsafe_is_the_largest_share_of_the_unsafe_texts(weights, library):
    scorer = ClipScores(ClipScoresSettings(weights=weights, **ON_CPU))
    images, texts, logit_scale = library
    shares = (logit_scale * images(frames()) @ texts([*UNSAFE, *SAFE]).T).softmax(dim=-1)
    wanted = shares[:, : len(UNSAFE)].sum(dim=-1).max().item()
    assert scorer.score(frames(), fps=1.0) == {"unsafe": pytest.approx(wanted, abs=1e-6)}


@torch.no_grad()
def test_embedding_is_the_direction_of_the_mean_embedding(weights, library):
    found = ClipEmbedder(ClipSampledSettings(weights=weights, **ON_CPU)).embed(frames())
    mean = library[0](frames()).mean(dim=0).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=1e-6)


@torch.no_grad()
def test_alignment_is_the_mean_cosine_of_sentences_and_frames(weights, library):
    scorer = ClipAlignment(ClipSettings(weights=weights, **ON_CPU))
    images, texts, _ = library
    wanted = (texts(["A dog runs.", "It rains!"]) @ images(frames()).T).mean().item()
    found = scorer.score(frames(), "A dog runs.  It rains!")
    assert found == {"text_alignment": pytest.approx(wanted, abs=1e-6)}


def test_alignment_of_no_words_is_not_known(weights):
    scorer = ClipAlignment(ClipSettings(weights=weights, **ON_CPU))
    assert scorer.score(frames(), "  ") == {"text_alignment": None}


def test_long_sentence_falls_into_pieces_that_hold_every_word(weights):
    model = load_clip(weights, None, **ON_CPU)
    text = "one two three four five six seven eight nine ten eleven twelve thirteen. A dog. " + "x" * 400
    pieces = sentences(text, model)
    assert " ".join(pieces).split() == text.split()
    assert pieces[0] == "one two three four five six seven eight nine ten"
    assert pieces[2] == "A dog."
    assert all(model.num_tokens(piece) <= model.max_tokens == 10 for piece in pieces[:3])


def test_frames_in_a_batch_are_embedded_as_if_alone(weights):
    model = load_clip(weights, None, **ON_CPU)
    alone = torch.cat([model.embed_images([frame]) for frame in frames()])
    torch.testing.assert_close(model.embed_images(list(frames())), alone, rtol=0, atol=1e-6)


def test_process_holds_a_model_once(weights):
    scorer = ClipScores(ClipScoresSettings(weights=weights, **ON_CPU))
    embedder = ClipEmbedder(ClipSampledSettings(weights=weights, **ON_CPU))
    assert scorer._model is embedder._model
    assert scorer.max_short_side_px == IMAGE_SIZE_PX


def test_half_precision_is_near_to_full(weights):
    half = ClipEmbedder(ClipSampledSettings(weights=weights, device="cpu", dtype="bfloat16")).embed(frames())
    full = ClipEmbedder(ClipSampledSettings(weights=weights, **ON_CPU)).embed(frames())
    assert float(half @ full) > 0.995


def test_missing_weights_name_the_command_that_fetches_them(monkeypatch):
    monkeypatch.delenv("VPDATA_WEIGHTS", raising=False)
    with pytest.raises(BackendError, match="vpdata models fetch laion/none@12ab"):
        load_clip("laion/none", "12ab", **ON_CPU)


def config_with(**text):
    model = CONFIG["model_cfg"]
    return {"model_cfg": {**model, "text_cfg": {**model["text_cfg"], **text}}}


@pytest.mark.parametrize(
    ("config", "weights_of", "message"),
    [
        (None, None, "open_clip_config.json is missing"),
        ({"architecture": "vit"}, None, "none of open_clip's"),
        (config_with(hf_tokenizer_name="timm/siglip"), None, "tokenizer of timm/siglip"),
        (CONFIG, None, r"no open_clip_model\.safetensors"),
        (CONFIG, lambda content: content[:1000], "cannot be loaded"),
        (config_with(width=64), lambda content: content, "cannot be loaded"),
    ],
)
def test_folder_that_is_not_whole_is_named(weights, tmp_path, config, weights_of, message):
    if config is not None:
        (tmp_path / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    if weights_of is not None:
        with open(f"{weights}/open_clip_model.safetensors", "rb") as file:
            (tmp_path / "open_clip_model.safetensors").write_bytes(weights_of(file.read()))
    # A whole pickle of these weights, which open_clip would take where it finds no safetensors.
    torch.save(load_file(f"{weights}/open_clip_model.safetensors"), tmp_path / "open_clip_pytorch_model.bin")
    with pytest.raises(BackendError, match=message):
        load_clip(str(tmp_path), None, **ON_CPU)


def test_pickle_beside_the_weights_is_not_what_is_opened(weights, tmp_path):
    folder = save_tiny_clip(tmp_path)
    other = {name: torch.zeros_like(tensor) for name, tensor in load_file(f"{weights}/{WEIGHTS}").items()}
    torch.save(other, folder / "open_clip_pytorch_model.bin")
    with_pickle, without = (load_clip(str(one), None, **ON_CPU) for one in (folder, weights))
    assert torch.equal(with_pickle.embed_images(list(frames())), without.embed_images(list(frames())))


def test_head_for_other_embeddings_is_refused(weights, tmp_path):
    other = save_head(tmp_path, weight=torch.zeros(1, 768), bias=torch.zeros(1))
    with pytest.raises(BackendError, match=r"768 numbers, wanted 16"):
        ClipScores(ClipScoresSettings(weights=weights, aesthetic_head=str(other), **ON_CPU))


def test_scorer_that_measures_nothing_is_refused():
    with pytest.raises(ConfigError, match="something to measure"):
        fill(ClipScoresSettings, {"safety": False}, where="scorer")
    with pytest.raises(ConfigError, match="sample_fps"):
        fill(ClipScoresSettings, {"sample_fps": 0}, where="scorer")


def test_sampling_is_an_option_only_of_models_that_sample():
    for role in ("scorer", "embedder"):
        assert describe(role, ModelChoice(name="openclip", options={"sample_fps": 2.0})).options["sample_fps"] == 2.0
    for role in ("text_scorer", "tagger"):
        with pytest.raises(ConfigError, match="sample_fps"):
            describe(role, ModelChoice(name="openclip", options={"sample_fps": 2.0}))


@pytest.mark.parametrize("role", ["scorer", "text_scorer", "embedder"])
def test_card_needs_no_weights(role):
    card = describe(role, ModelChoice(name="openclip", options={"revision": "12ab"}))
    assert (card.role, card.revision, card.licence) == (role, "12ab", "MIT")


def test_card_tells_aesthetic_heads_apart_and_states_their_licence(tmp_path, monkeypatch):
    monkeypatch.setenv("VPDATA_WEIGHTS", str(tmp_path))

    def card(head):
        return describe("scorer", ModelChoice(name="openclip", options={"aesthetic_head": head}))

    for place, revision in (("here", "12ab"), ("there", "34cd")):
        folder = Folder(tmp_path / place / "head")
        write_lock(folder, Lock(source="https://example.org/head.pth", revision=revision, files={}))
        assert card(folder.uri).options["aesthetic_head_revision"] == revision
        assert card(folder.uri).options["aesthetic_head"] == "head"
    assert card("laion-aesthetic-v2").options["aesthetic_head_revision"] == "local"
    assert card("laion-aesthetic-v2").licence == "MIT; of the aesthetic head: Apache-2.0"
    assert card(str(tmp_path)).licence == "MIT; of the aesthetic head: unknown"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_cpu(weights):
    on_gpu = ClipEmbedder(ClipSampledSettings(weights=weights, dtype="float32")).embed(frames())
    assert on_gpu == pytest.approx(
        ClipEmbedder(ClipSampledSettings(weights=weights, **ON_CPU)).embed(frames()), abs=1e-3
    )
