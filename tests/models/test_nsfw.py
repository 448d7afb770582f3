import json
import math

import numpy as np
import pytest

pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from PIL import Image
from transformers import ViTConfig, ViTModel, pipeline

from tests.models.tiny_vit import save_tiny_vit
from vpdata.errors import BackendError
from vpdata.models.huggingface.nsfw import NsfwClassifier
from vpdata.models.huggingface.settings import NsfwSettings

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 40, 60, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny_vit(tmp_path_factory.mktemp("vit"))


def classifier(weights, **options):
    return NsfwClassifier(NsfwSettings(weights=str(weights), **{"device": "cpu", "dtype": "float32"} | options))


def test_the_worst_frame_counts_as_the_librarys_own_pipeline_says(weights):
    shares = [
        {one["label"]: one["score"] for one in answer}["nsfw"]
        for answer in pipeline("image-classification", str(weights), device="cpu")(
            [Image.fromarray(frame) for frame in FRAMES]
        )
    ]
    assert len({round(share, 3) for share in shares}) > 1
    scores = classifier(weights).score(FRAMES, fps=1.0)
    assert scores == {"unsafe": pytest.approx(max(shares), abs=1e-5)}


@pytest.mark.parametrize("place", range(3))
def test_one_frame_that_cannot_be_judged_leaves_the_clip_without_a_score(weights, place):
    whole = classifier(weights)
    ask = whole._model.forward

    def fails_on_black(pixel_values):
        # As half precision does it: pixels of one picture run over.
        answer = ask(pixel_values=pixel_values)
        answer.logits[(pixel_values == pixel_values.min()).all(dim=(1, 2, 3))] = float("nan")
        return answer

    whole._model.forward = fails_on_black
    frames = FRAMES[:3].copy()
    frames[place] = 0
    assert math.isnan(whole.score(frames, fps=1.0)["unsafe"])


def test_frames_one_by_one_give_what_they_give_together(weights):
    together = classifier(weights, batch_size=3).score(FRAMES, fps=1.0)["unsafe"]
    one_by_one = [classifier(weights, batch_size=1).score(frame[None], fps=1.0)["unsafe"] for frame in FRAMES]
    assert together == pytest.approx(max(one_by_one), abs=1e-6)


def test_bfloat16_stays_close(weights):
    rough, exact = (classifier(weights, dtype=dtype).score(FRAMES, fps=1.0) for dtype in ("bfloat16", "float32"))
    assert rough["unsafe"] != exact["unsafe"]
    assert rough["unsafe"] == pytest.approx(exact["unsafe"], abs=0.02)


def test_shares_of_all_unsafe_labels_are_added(tmp_path):
    weights = save_tiny_vit(tmp_path, labels=("drawings", "porn", "sexy"))
    by_label = {
        label: classifier(weights, unsafe_labels=(label,)).score(FRAMES[:1], fps=1.0)["unsafe"]
        for label in ("porn", "sexy")
    }
    both = classifier(weights, unsafe_labels=("porn", "sexy")).score(FRAMES[:1], fps=1.0)["unsafe"]
    assert both == pytest.approx(sum(by_label.values()), abs=1e-6)
    with pytest.raises(BackendError, match=r"'nsfw'.*drawings, porn, sexy"):
        classifier(weights)


@pytest.mark.parametrize("written", [{"label2id": {"normal": "0", "nsfw": "1"}}, {}], ids=["strings", "absent"])
def test_labels_are_found_however_a_published_config_numbers_them(weights, tmp_path, written):
    other = save_tiny_vit(tmp_path)
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    del config["label2id"]
    (other / "config.json").write_text(json.dumps(config | written), encoding="utf-8")
    assert classifier(other).score(FRAMES, fps=1.0) == classifier(weights).score(FRAMES, fps=1.0)


def test_other_architectures_and_damaged_files_are_refused_by_name(weights, tmp_path):
    ViTModel(
        ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    ).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_bytes((weights / "preprocessor_config.json").read_bytes())
    with pytest.raises(BackendError, match=r"lacks .* of the weights, such as classifier"):
        classifier(tmp_path)
    whole = (weights / "model.safetensors").read_bytes()
    (tmp_path / "config.json").write_bytes((weights / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackendError, match="cannot be loaded"):
        classifier(tmp_path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_cpu(weights):
    on_gpu = classifier(weights, device="cuda").score(FRAMES, fps=1.0)["unsafe"]
    assert on_gpu == pytest.approx(classifier(weights).score(FRAMES, fps=1.0)["unsafe"], abs=1e-3)
