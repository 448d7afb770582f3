import json
import shutil
from functools import cache

import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import DiffusionPipeline
from transformers import AutoTokenizer

from tests.backbones.umt5 import CAR, SNOW, save_umt5_tokenizer
from vpdata.backbones.loading import load_text_encoder
from vpdata.backbones.settings import BackboneSettings
from vpdata.backbones.text_encoder import is_given, pad_text
from vpdata.backbones.tiny import save_tiny, tiny_folder
from vpdata.backbones.tiny_parts import WORDS
from vpdata.errors import BackendError

torch.set_num_threads(1)

CAPTIONS = [
    "a red ball moves over the green grass",
    "",
    "  the camera\tstands &amp;amp; the dog \u00e2\u20ac\u201cruns\n",
    "a " * 40,
]


@cache
def encoder(name: str):
    return load_text_encoder(BackboneSettings(tiny=name, device="cpu", dtype="float32"))


@pytest.mark.parametrize("name", ["cogvideox", "cogvideox-i2v", "wan", "wan-i2v"])
def test_padded_embeddings_are_those_of_the_pipeline(name):
    pipeline = DiffusionPipeline.from_pretrained(tiny_folder(name, 0), local_files_only=True)
    length = encoder(name).spec.text_length
    theirs, _ = pipeline.encode_prompt(CAPTIONS, do_classifier_free_guidance=False, max_sequence_length=length)
    ours = pad_text(encoder(name).encode(CAPTIONS), length=length)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("name", "length"), [("ltx", 128), ("ltx-0.9.5", 256)])
def test_ltx_is_told_of_the_tokens_that_its_pipeline_does_not_mask(name, length):
    pipeline = DiffusionPipeline.from_pretrained(tiny_folder(name, 0), local_files_only=True)
    theirs, mask, *_ = pipeline.encode_prompt(CAPTIONS, do_classifier_free_guidance=False)
    ours = pad_text(encoder(name).encode(CAPTIONS), length=length)
    assert torch.equal(is_given(ours), mask)
    torch.testing.assert_close(ours, theirs * mask[..., None], atol=2e-5, rtol=1e-6)


@pytest.mark.parametrize("name", ["hunyuan", "hunyuan-i2v"])
def test_hunyuan_is_told_what_its_pipeline_tells_it(name):
    pipeline = DiffusionPipeline.from_pretrained(tiny_folder(name, 0), local_files_only=True)
    theirs, pooled, mask = pipeline.encode_prompt(CAPTIONS)
    ours = pad_text(encoder(name).encode(CAPTIONS), length=257)
    assert torch.equal(is_given(ours[:, 1:]), mask.bool())
    torch.testing.assert_close(ours[:, 1:], theirs * mask[..., None], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours[:, 0, :16], pooled, atol=1e-5, rtol=1e-5)
    assert not ours[:, 0, 16:].any()


def test_of_hunyuans_prompt_nothing_stands_before_the_caption():
    # CLIP's vector, a token a word, and the end of the prompt.
    assert [len(one) for one in encoder("hunyuan").encode(["a red ball", ""])] == [1 + 3 + 1, 1 + 1]


def test_a_caption_too_long_for_hunyuan_is_cut():
    (embedding,) = encoder("hunyuan").encode(["a " * 300])
    assert embedding.shape == (257, 32)


@pytest.mark.parametrize(("name", "limit"), [("cogvideox", 16), ("wan", 512), ("ltx", 128), ("hunyuan", 256)])
def test_it_is_told_how_much_of_a_caption_is_lost(name, limit):
    # A token a word, and the end mark.
    assert encoder(name).num_lost("a " * (limit - 1)) == 0
    assert encoder(name).num_lost("a " * (limit + 6)) == 7
    assert len(encoder(name).encode(["a " * 1000])[0]) == limit + (name == "hunyuan")


def test_cogvideox_keeps_what_stands_at_the_padding():
    short, _, _, long = encoder("cogvideox").encode(CAPTIONS)
    assert short.shape == long.shape == (16, 32)
    assert short[-1].abs().max() > 0


def test_wan_keeps_only_the_tokens_of_the_caption():
    short, empty, _, long = encoder("wan").encode(CAPTIONS)
    # One token a word, and the end mark.
    assert [len(short), len(empty), len(long)] == [9, 1, 41]


def test_a_caption_is_encoded_alike_alone_and_among_others():
    together = encoder("wan").encode(CAPTIONS)
    for caption, embedding in zip(CAPTIONS, together, strict=True):
        torch.testing.assert_close(encoder("wan").encode([caption])[0], embedding, atol=1e-6, rtol=1e-6)
    assert encoder("wan").encode([]) == []


def test_padding_puts_zeros_behind():
    padded = pad_text([torch.ones(2, 3), torch.ones(4, 3)], length=4)
    assert padded.shape == (2, 4, 3)
    assert padded.sum(dim=(1, 2)).tolist() == [6, 12]
    assert padded[0, 2:].abs().max() == 0


def test_a_tokenizer_that_is_only_a_sentencepiece_model_is_opened(tmp_path):
    """As CogVideoX is published."""
    sentencepiece = pytest.importorskip("sentencepiece")
    save_tiny(tmp_path / "tiny", "cogvideox")
    folder = tmp_path / "tiny/tokenizer"
    shutil.rmtree(folder)
    folder.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([WORDS] * 20),
        model_prefix=str(folder / "spiece"),
        vocab_size=120,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0}))
    settings = BackboneSettings(weights=str(tmp_path / "tiny"), device="cpu", dtype="float32")
    (embedding,) = load_text_encoder(settings).encode(["a red ball"])
    pieces = sentencepiece.SentencePieceProcessor(str(folder / "spiece.model")).encode("a red ball")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert tokenizer("a red ball").input_ids == [*pieces, 1]
    assert embedding.shape == (16, 32)


@pytest.mark.parametrize(
    ("name", "part", "lacking"),
    [
        ("cogvideox", "tokenizer", "spiece.model"),
        ("ltx", "tokenizer", "spiece.model"),
        ("hunyuan", "tokenizer_2", "vocab.json and merges.txt"),
    ],
)
def test_a_tokenizer_without_its_vocabulary_is_refused(name, part, lacking, tmp_path):
    """Else transformers makes one to which every word is the same."""
    save_tiny(tmp_path, name)
    (tmp_path / part / "tokenizer.json").unlink()
    with pytest.raises(BackendError, match=rf"{tmp_path}/{part} lacks tokenizer\.json, or in its place {lacking}"):
        load_text_encoder(BackboneSettings(weights=str(tmp_path), device="cpu", dtype="float32"))


def test_wan_reads_its_tokenizer_as_the_file_says(tmp_path):
    """The class named beside it would take all characters outside of its vocabulary for one."""
    save_tiny(tmp_path, "wan")
    in_file = save_umt5_tokenizer(tmp_path / "tokenizer")
    snow, car = load_text_encoder(BackboneSettings(weights=str(tmp_path), device="cpu", dtype="float32")).encode(
        [SNOW, CAR]
    )
    # The words a and b with their blanks, 雪 in three bytes and the car in four, each with a blank before; the end.
    assert [len(snow), len(car)] == [len(in_file.encode(text).ids) for text in (SNOW, CAR)] == [7, 8]
    assert not torch.equal(snow, car[:7])


def test_a_wan_without_that_file_is_refused(tmp_path):
    save_tiny(tmp_path, "wan")
    (tmp_path / "tokenizer/tokenizer.json").unlink()
    with pytest.raises(BackendError, match=r"has no tokenizer/tokenizer\.json"):
        load_text_encoder(BackboneSettings(weights=str(tmp_path), device="cpu", dtype="float32"))
