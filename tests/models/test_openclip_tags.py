"""Tags by CLIP: a tiny random checkpoint, against open_clip itself."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("open_clip")
torch = pytest.importorskip("torch")

import open_clip
from PIL import Image as Picture

from tests.models.tiny_clip import save_tiny_clip
from vpdata.config import ModelChoice, fill
from vpdata.errors import ConfigError
from vpdata.models import describe, maker
from vpdata.models.openclip.settings import ClipTagsSettings
from vpdata.models.openclip.tags import ClipTags

NAMES = ("cat", "dog", "red car", "tall tree", "zebra", "old man")
TEMPLATES = ("a photo of a {}.", "one {}")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def options(weights, tmp_path):
    vocabulary = tmp_path / "names.txt"
    vocabulary.write_text("# ours\n" + "\n".join(NAMES), encoding="utf-8")
    return {
        "weights": str(weights), "device": "cpu", "dtype": "float32", "vocabulary": str(vocabulary),
        "templates": TEMPLATES, "min_cosine": -1.0, "cache_folder": str(tmp_path / "cache"),
    }  # fmt: skip


def clip(seed, *, num_frames=3, height_px=48, width_px=64):
    squares = np.random.default_rng(seed).integers(0, 255, (num_frames, height_px // 8, width_px // 8, 3), np.uint8)
    return squares.repeat(8, axis=1).repeat(8, axis=2)


@torch.inference_mode()
def cosines_by_open_clip(weights, frames):
    """float [K, L], as open_clip's own zero-shot classifier and transform give them."""
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{weights}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{weights}")
    classifier = open_clip.build_zero_shot_classifier(model.eval(), tokenizer, NAMES, TEMPLATES)
    pixels = torch.stack([transform(Picture.fromarray(frame)) for frame in frames])
    return (model.encode_image(pixels, normalize=True) @ classifier).numpy()


def test_tags_are_those_of_open_clips_zero_shot_classifier(weights, options):
    frames = clip(1)
    best = cosines_by_open_clip(weights, frames).max(axis=0)
    wanted = [NAMES[index] for index in np.argsort(-best)]
    assert ClipTags(ClipTagsSettings(**options)).tags([frames]) == [tuple(wanted)]
    assert ClipTags(ClipTagsSettings(**options, max_tags=2)).tags([frames]) == [tuple(wanted[:2])]
    between = float(np.sort(best)[-3:-1].mean())
    strict = ClipTags(ClipTagsSettings(**options | {"min_cosine": between}))
    assert strict.tags([frames]) == [tuple(wanted[:2])]


def test_name_that_fits_one_frame_is_a_tag_of_the_clip(weights, options):
    frames = np.concatenate([clip(seed, num_frames=1) for seed in range(6)])
    cosines = cosines_by_open_clip(weights, frames)
    frame, name = np.unravel_index(cosines.argmax(), cosines.shape)
    settings = ClipTagsSettings(**options | {"min_cosine": float(cosines.max()) - 1e-4})
    assert ClipTags(settings).tags([frames, np.delete(frames, frame, axis=0)]) == [(NAMES[name],), ()]


def test_batch_over_clips_equals_clips_one_by_one(options):
    clips = [clip(1), clip(2, num_frames=1, height_px=32), clip(3)[:0], clip(4, num_frames=5, width_px=96)]
    tagger = ClipTags(ClipTagsSettings(**options, batch_size=4))
    assert tagger.tags(clips) == [tagger.tags([one])[0] for one in clips]
    assert tagger.tags(clips)[2] == ()
    assert tagger.tags([]) == []


def test_embeddings_of_a_vocabulary_are_computed_once(options):
    cache = Path(options["cache_folder"])
    first = ClipTags(ClipTagsSettings(**options)).tags([clip(1)])
    (file,) = cache.iterdir()
    # Read back and not made again: with the rows exchanged, the names are exchanged.
    stored = np.load(file)
    assert stored.shape == (len(NAMES), 16)
    np.save(file, stored[::-1])
    exchanged = ClipTags(ClipTagsSettings(**options)).tags([clip(1)])
    mirrored = dict(zip(NAMES, reversed(NAMES), strict=True))
    assert exchanged == [tuple(mirrored[name] for name in first[0])]
    ClipTags(ClipTagsSettings(**options | {"templates": ("a {}",)}))
    ClipTags(ClipTagsSettings(**options | {"dtype": "bfloat16"}))
    assert len(list(cache.iterdir())) == 3


def test_damaged_cache_is_made_again(options, caplog):
    wanted = ClipTags(ClipTagsSettings(**options)).tags([clip(1)])
    (file,) = Path(options["cache_folder"]).iterdir()
    whole = np.load(file)
    for damage in (b"", file.read_bytes()[:-7], b"junk", whole[:-1], whole[:, :-1], whole.astype(np.float64)):
        np.save(file, damage) if isinstance(damage, np.ndarray) else file.write_bytes(damage)
        with caplog.at_level(logging.WARNING):
            assert ClipTags(ClipTagsSettings(**options)).tags([clip(1)]) == wanted
        assert "is damaged" in caplog.text
        caplog.clear()


def test_card_tells_vocabularies_apart(options):
    card = describe("tagger", ModelChoice(name="openclip", options=options))
    Path(options["vocabulary"]).write_text("cat\ndog", encoding="utf-8")
    other = describe("tagger", ModelChoice(name="openclip", options=options))
    assert card.licence.startswith("unknown")
    assert card.options["vocabulary_sha256"] != other.options["vocabulary_sha256"]


def test_thousand_published_names_are_read(options, tmp_path):
    tagger = maker("tagger", ModelChoice(name="openclip", options=options | {"vocabulary": "lvis", "max_tags": 2000}))()
    (tags,) = tagger.tags([clip(1)])
    assert len(tags) == len(set(tags)) == 1198


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_cpu(weights, options):
    frames = clip(1)
    (on_gpu,) = ClipTags(ClipTagsSettings(**options | {"device": "cuda"})).tags([frames])
    best = dict(zip(NAMES, cosines_by_open_clip(weights, frames).max(axis=0), strict=True))
    assert sorted(on_gpu) == sorted(NAMES)
    # Names that fit equally well to three digits may change places.
    cosines = [best[name] for name in on_gpu]
    assert cosines == pytest.approx(sorted(cosines, reverse=True), abs=1e-3)


@pytest.mark.parametrize(
    "wrong", [{"templates": []}, {"templates": ["a photo"]}, {"max_tags": 0}, {"min_cosine": 2.0}, {"batch_size": 0}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        fill(ClipTagsSettings, wrong)
