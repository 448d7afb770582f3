"""Checkpoints that are missing, damaged, or of another kind."""

from __future__ import annotations

import json
import shutil

import pytest

pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file
from transformers import GroundingDinoForObjectDetection, Owlv2ForObjectDetection, Owlv2Processor

from tests.models.tiny_detectors import save_grounding_dino, save_owlv2
from tests.models.tiny_sam2 import save_tiny_sam2
from vpdata.config import ModelChoice
from vpdata.errors import BackendError
from vpdata.models import maker
from vpdata.models.huggingface.loading import load_model, load_processor


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return save_owlv2(tmp_path_factory.mktemp("owlv2"))


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


def of(folder, name):
    return ModelChoice(name=name, options={"weights": str(folder), "device": "cpu"})


def load(folder, kind=Owlv2ForObjectDetection, **where):
    return load_model(kind, folder, **({"device": "cpu", "dtype": "float32"} | where))


def test_weights_are_those_of_the_file_ready_for_inference(folder):
    model = load(folder)
    stored = load_file(folder / "model.safetensors")
    assert not model.training
    assert all(torch.equal(stored[name], weights) for name, weights in model.state_dict().items())
    assert load(folder, dtype="bfloat16").dtype == torch.bfloat16


def test_missing_weights_name_the_command_that_fetches_them(tmp_path):
    choice = ModelChoice(name="owlv2", options={"weights": "some/model", "revision": "abc", "device": "cpu"})
    with pytest.raises(BackendError, match="vpdata models fetch some/model@abc"):
        maker("detector", choice)()


def test_another_architecture_is_refused(folder):
    with pytest.raises(BackendError, match="got the architecture owlv2, wanted grounding-dino"):
        load(folder, GroundingDinoForObjectDetection)


def test_weights_of_a_model_without_words_are_refused_by_their_architecture(tmp_path):
    choice = of(save_tiny_sam2(tmp_path), "grounding-dino")
    with pytest.raises(BackendError, match="got the architecture sam2_video, wanted grounding-dino"):
        maker("detector", choice)()


@pytest.mark.parametrize(("name", "save"), [("owlv2", save_owlv2), ("grounding-dino", save_grounding_dino)])
def test_a_folder_without_its_tokenizer_is_refused_by_name(tmp_path, name, save):
    """Else transformers makes a tokenizer to which every word is unknown, and boxes get whatever label."""
    folder = save(tmp_path)
    maker("detector", of(folder, name))()
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(BackendError, match=rf"{folder} lacks tokenizer\.json, or in its place vocab"):
        maker("detector", of(folder, name))()


def test_a_tokenizer_of_another_model_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["vocab_size"] = 49408
    model = Owlv2ForObjectDetection(Owlv2ForObjectDetection.config_class(**config))
    model.save_pretrained(folder)
    with pytest.raises(BackendError, match=r"got a tokenizer of 190 tokens, wanted a tokenizer of about 49408; fetch"):
        maker("detector", of(folder, "owlv2"))()


def test_truncated_weights_are_refused(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(BackendError, match=str(folder)):
        load(folder)


def test_weights_that_lack_a_tensor_are_refused(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["box_head.dense0.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackendError, match="lacks 1 of the weights, such as box_head"):
        load(folder)


def test_weights_of_another_size_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["hidden_size"] = 64
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackendError, match="cannot be loaded"):
        load(folder)


def test_pickled_weights_are_never_opened(folder):
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(BackendError, match="safetensors"):
        load(folder)


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"model_type": "owlv2", "text_config": 3}'])
def test_missing_or_damaged_config_is_refused_by_its_file(folder, content):
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_text(content)
    with pytest.raises(BackendError, match=str(folder / "config.json")):
        maker("detector", of(folder, "owlv2"))()


@pytest.mark.parametrize("name", ["tokenizer.json", "processor_config.json"])
def test_missing_and_damaged_processor_is_refused(folder, name):
    load_processor(Owlv2Processor, folder)
    (folder / name).write_text("{")
    with pytest.raises(BackendError, match="processor"):
        load_processor(Owlv2Processor, folder)
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(BackendError, match="processor"):
        load_processor(Owlv2Processor, folder)


@pytest.mark.parametrize("merges", [b"#version: 0.2\na b c d\n", b"\xff\xfe", b"#version: 0.2\nunheard of\n"])
def test_damaged_tokenizer_of_two_files_is_refused_by_name(folder, merges):
    """As older checkpoints have it; the library raises a bare Exception."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(tokenizer["model"]["vocab"]))
    (folder / "merges.txt").write_bytes(b"#version: 0.2\n")
    load_processor(Owlv2Processor, folder)
    (folder / "merges.txt").write_bytes(merges)
    with pytest.raises(BackendError, match="the processor cannot be loaded"):
        load_processor(Owlv2Processor, folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpu_is_the_default_and_refused_where_there_is_none(folder):
    with pytest.raises(BackendError, match="device: cpu"):
        maker("detector", ModelChoice(name="owlv2", options={"weights": str(folder)}))()


def test_quantised_weights_without_their_package_are_refused_by_what_is_missing(folder):
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "awq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackendError, match=r"weights cannot be loaded: .*; name ones that are not quantised"):
        load_model(Owlv2ForObjectDetection, folder, device="cpu", dtype="float32")
