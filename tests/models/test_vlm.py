"""Vision-language models: tiny random checkpoints of real architectures, against transformers itself."""

from __future__ import annotations

import gc
import json
import shutil
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import pytest

pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from PIL import Image as Picture
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationMixin

from tests.fakes import make_clip, squares_film
from tests.models.tiny_vlm import save_tiny_vlm
from vpdata import models
from vpdata.config import ModelChoice
from vpdata.errors import BackendError, Reason, RejectItem
from vpdata.models.huggingface.settings import VlmSettings, VlmTaggerSettings
from vpdata.models.huggingface.vlm import VlmCaptioner, VlmTagger, parse_labels
from vpdata.models.object_views import shown_images
from vpdata.models.plain_text import without_reasoning
from vpdata.models.ports import CaptionRequest

FRAMES = squares_film({"red square": [(4 * frame, 8, 4 * frame + 24, 40) for frame in range(8)]})


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl", "smolvlm"])
def folder(request, tmp_path_factory):
    return save_tiny_vlm(tmp_path_factory.mktemp("vlm") / request.param, family=request.param)


def settings(folder, **options):
    return VlmSettings(weights=str(folder), device="cpu", dtype="float32", **({"max_new_tokens": 16} | options))


def request(*rows, prompt="Describe it.", has_mask=False):
    images = FRAMES[list(rows)]
    masks = (images == (220, 30, 30)).all(axis=-1) if has_mask else None
    record, _ = make_clip(FRAMES)
    return CaptionRequest(
        record=record,
        track=1 if has_mask else None,
        frames=rows,
        images=images,
        masks=masks,
        prompt_name="dense_clip",
        prompt=prompt,
    )


REQUESTS = [
    request(0),
    request(0, 3, 7, prompt="What moves?"),
    request(2, 5, prompt="Describe the outlined object.", has_mask=True),
    request(prompt="Shorten this text: a red square moves."),
]


def answered_by_transformers(folder, one):
    """The library's own documented call for one conversation."""
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    content = [{"type": "image", "image": Picture.fromarray(image)} for image in shown_images(one)]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": [*content, {"type": "text", "text": one.prompt}]}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    greedy = {"do_sample": False, "temperature": None, "top_k": None, "repetition_penalty": 1.0}
    tokens = model.generate(**inputs, max_new_tokens=16, **greedy)
    return processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def without_control_characters(text):
    return "".join(one for one in text if one == "\n" or one.isprintable()).strip()


def test_answers_are_those_of_chat_template_and_generate(folder):
    texts = VlmCaptioner(settings(folder)).caption(REQUESTS[:3])
    wanted = [without_control_characters(answered_by_transformers(folder, one)) for one in REQUESTS[:3]]
    assert texts == wanted
    assert len(set(texts)) == 3


@pytest.fixture
def thinking(folder, tmp_path):
    """A checkpoint whose template begins the reasoning; its random words never end it."""
    shutil.copytree(folder, tmp_path / "thinking")
    template = tmp_path / "thinking" / "chat_template.jinja"
    template.write_text(template.read_text() + "{% if add_generation_prompt %}<think>\n{% endif %}")
    return tmp_path / "thinking"


def test_reasoning_that_a_template_begins_and_nothing_ends_is_no_caption_and_is_told_once(thinking, caplog):
    captioner = VlmCaptioner(settings(thinking))
    for _ in range(2):
        assert captioner.caption(REQUESTS[:3]) == ["", "", ""]
    (told,) = [one.getMessage() for one in caplog.records if one.name == "vpdata.models.huggingface.vlm"]
    assert told.startswith("thinking: 3 of 3 texts ended within its reasoning")
    assert "raise its max_new_tokens (16)" in told


def test_reasoning_is_turned_off_where_the_template_can(folder, tmp_path, caplog):
    shutil.copytree(folder, tmp_path / "asked")
    template = tmp_path / "asked" / "chat_template.jinja"
    begins = "{% if add_generation_prompt and enable_thinking is not false %}<think>\n{% endif %}"
    template.write_text(template.read_text() + begins)
    assert VlmCaptioner(settings(tmp_path / "asked")).caption(REQUESTS[:1]) == [""]
    caplog.clear()
    off = settings(tmp_path / "asked", template_options={"enable_thinking": False})
    assert VlmCaptioner(off).caption(REQUESTS[:1]) == VlmCaptioner(settings(folder)).caption(REQUESTS[:1])
    assert not [one for one in caplog.records if one.name == "vpdata.models.huggingface.vlm"]
    assert off.card("captioner").options["template_options"] == {"enable_thinking": False}
    with pytest.raises(ValueError, match="template_options: got tokenize"):
        settings(folder, template_options={"tokenize": False})


def test_model_that_gets_nowhere_but_reasons_stops_the_build(thinking):
    captioner = VlmCaptioner(settings(thinking, max_new_tokens=1))
    assert captioner.caption([REQUESTS[3]] * 19) == [""] * 19
    with pytest.raises(BackendError, match=r"first 20 texts all ended within its reasoning; raise its max"):
        captioner.caption([REQUESTS[3]])


def test_model_that_has_answered_goes_on_whatever_it_reasons(folder, monkeypatch, caplog):
    captioner = VlmCaptioner(settings(folder, max_new_tokens=1))
    processor = type(AutoProcessor.from_pretrained(folder))
    said = iter(["A dog.", "<think>It is a dog.</think>A dog."] + ["<think>It is"] * 20)
    monkeypatch.setattr(processor, "decode", lambda self, tokens, **options: next(said))
    assert captioner.caption([REQUESTS[3]] * 2) == ["A dog.", "A dog."]
    assert not caplog.records
    assert captioner.caption([REQUESTS[3]] * 20) == [""] * 20


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("A red square.", "A red square."),
        ("<think>Is it red?</think>A red square.", "A red square."),
        ("Is it red?</think>A red square.", "A red square."),
        ("<think>A</think><think>B</think>A red square.", "A red square."),
        ("\n<think>Is it red?", ""),
        ("A sign reads <think>.", "A sign reads <think>."),
    ],
)
def test_answer_is_what_follows_the_reasoning(said, answer):
    assert without_reasoning(said) == answer


def test_batch_equals_one_by_one(folder):
    captioner = VlmCaptioner(settings(folder))
    for batch in (REQUESTS[:3], [REQUESTS[3], replace(REQUESTS[3], prompt="And this one: no.")]):
        assert captioner.caption(batch) == [captioner.caption([one])[0] for one in batch]


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_texts_do_not_depend_on_how_many_are_generated_at_once(folder, batch_size):
    one_by_one = [VlmCaptioner(settings(folder)).caption([one])[0] for one in REQUESTS[:3]]
    assert VlmCaptioner(settings(folder, batch_size=batch_size)).caption(REQUESTS[:3]) == one_by_one


def test_texts_of_one_prompt_are_generated_together(folder, monkeypatch):
    asked = [request(0), replace(request(0, 3, 7), prompt_name="masked_object")] * 2
    captioner = VlmCaptioner(settings(folder, batch_size=2))
    one_by_one = [captioner.caption([one])[0] for one in asked]
    masks, generate = [], GenerationMixin.generate

    def noted(self, **inputs):
        masks.append(inputs["attention_mask"])
        return generate(self, **inputs)

    monkeypatch.setattr(GenerationMixin, "generate", noted)
    assert captioner.caption(asked) == one_by_one
    assert [len(mask) for mask in masks] == [2, 2]
    assert all(mask.all() for mask in masks), "a question was padded to the length of another prompt's"


@contextmanager
def networks_asked():
    """The networks that write meanwhile, as long as somebody holds them."""
    seen = weakref.WeakSet()

    def note(module, arguments):
        if isinstance(module, GenerationMixin):
            seen.add(module)

    handle = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def test_models_of_the_same_weights_share_one_network_until_nobody_holds_it(folder):
    gc.collect()
    captioner, rewriter = VlmCaptioner(settings(folder)), VlmCaptioner(settings(folder, max_new_tokens=3))
    with networks_asked() as networks:
        long, short = captioner.caption([REQUESTS[0]]), rewriter.caption([REQUESTS[0]])
        assert len(networks) == 1
        # Each keeps what is its own.
        assert long[0].startswith(short[0])
        assert long != short
        other = VlmCaptioner(replace(settings(folder), dtype="bfloat16"))
        other.caption([REQUESTS[0]])
        assert len(networks) == 2
    del captioner, other
    gc.collect()
    assert len(networks) == 1
    del rewriter
    gc.collect()
    assert len(networks) == 0


def test_threads_that_share_a_network_take_turns_and_get_the_answers_of_one_alone(folder):
    """It keeps the positions of the batch in hand, and the tokenizer its padding."""
    captioner, rewriter = VlmCaptioner(settings(folder)), VlmCaptioner(settings(folder))
    batches = [[REQUESTS[3]] * 2, REQUESTS[:3]]
    alone = [captioner.caption(batch) for batch in batches]
    askers = []

    def note(module, arguments):
        if isinstance(module, GenerationMixin):
            askers.append(threading.get_ident())
            time.sleep(0.005)

    handle = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        with ThreadPoolExecutor(2) as threads:
            asked = [threads.submit(one.caption, batch) for one in (captioner, rewriter) for batch in batches]
            assert [one.result() for one in asked] == alone * 2
    finally:
        handle.remove()
    assert len(set(askers)) == 2
    # A turn is all words of a batch.
    assert sum(before != after for before, after in pairwise(askers)) < len(asked)


def test_words_are_written_without_attention_that_plans_anew_for_each(folder, monkeypatch):
    attend, by_cudnn = torch.nn.functional.scaled_dot_product_attention, []

    def noted(*args, **options):
        by_cudnn.append(torch.backends.cuda.cudnn_sdp_enabled())
        return attend(*args, **options)

    captioner = VlmCaptioner(settings(folder))
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noted)
    captioner.caption(REQUESTS[:1])
    assert by_cudnn
    assert not any(by_cudnn)


def test_answer_depends_on_pictures_and_prompt(folder):
    captioner = VlmCaptioner(settings(folder))
    texts = captioner.caption([request(0), request(7), request(0, prompt="Another question?")])
    assert len(set(texts)) == 3
    assert captioner.caption([request(0)]) == captioner.caption([request(0)])


def test_control_tokens_in_a_prompt_are_text(folder):
    captioner = VlmCaptioner(settings(folder))
    prompt = 'A detector called it "<|im_end|><|vision_start|><|image_pad|><|vision_end|>".'
    (text,) = captioner.caption([request(0, prompt=prompt)])
    assert isinstance(text, str)


def test_longest_answer_is_bounded(folder):
    short = VlmCaptioner(settings(folder, max_new_tokens=2))
    (text,) = short.caption([request(0)])
    assert VlmCaptioner(settings(folder)).caption([request(0)])[0].startswith(text)
    assert len(text.split()) <= 2


def test_no_requests_give_no_texts(folder):
    assert VlmCaptioner(settings(folder)).caption([]) == []


def test_random_weights_that_give_no_list_are_rejected_by_name(folder):
    options = {"weights": str(folder), "device": "cpu", "dtype": "float32", "max_new_tokens": 8}
    tagger = models.maker("tagger", ModelChoice(name="vlm", options=options))()
    answers = tagger.tags([FRAMES, FRAMES])
    assert [answer.reason for answer in answers] == [Reason.TAGS_FAILED] * 2
    assert tagger.tags([]) == []


def test_tagger_shows_a_few_small_frames(folder):
    """What it asks equals what the captioner asks of the same frames."""
    common = {"weights": str(folder), "device": "cpu", "dtype": "float32", "max_new_tokens": 8}
    tagger = VlmTagger(VlmTaggerSettings(**common, num_images=2, max_labels=5))
    prompt = models.prompts.read_prompt("main_objects").format(num_frames=2, max_labels=5)
    (text,) = VlmCaptioner(VlmSettings(**common)).caption([request(0, 7, prompt=prompt)])
    (answer,) = tagger.tags([FRAMES])
    assert answer.got == repr(text)


@pytest.mark.parametrize(
    ("answer", "labels"),
    [
        ('["Person", "dog", "Red  Car", "dog"]', ("person", "dog", "red car")),
        ('```json\n["t-shirt"]\n```', ("t-shirt",)),
        ("[]", ()),
        (json.dumps([f"thing {number}" for number in range(20)]), tuple(f"thing {number}" for number in range(4))),
    ],
)
def test_list_of_labels_is_read(answer, labels):
    assert parse_labels(answer, max_labels=4) == labels


def test_phrase_among_labels_is_left_out_and_logged(caplog):
    answer = '["dog", "a man in a blue coat", "", "cat. bird.", "car"]'
    assert parse_labels(answer, max_labels=2) == ("dog", "car")
    assert "a man in a blue coat" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "person, dog",
        "I'm sorry, I cannot help.",
        'Sure: ["dog"]',
        '{"objects": ["dog"]}',
        '"dog"',
        '["dog", 1]',
        '["dog", [""]]',
        '["a dog that runs over the grass"]',
        '["dog. cat."]',
        '[""]',
        '["' + "x" * 41 + '"]',
        '["dog"',
        "[" * 100000,
    ],
)
def test_other_answers_are_no_labels(answer):
    rejection = parse_labels(answer, max_labels=4)
    assert isinstance(rejection, RejectItem)
    assert rejection.reason == Reason.TAGS_FAILED
    assert len(rejection.got) < 300


def test_missing_weights_name_the_command_that_fetches_them(tmp_path, monkeypatch):
    monkeypatch.setenv("VPDATA_WEIGHTS", str(tmp_path))
    with pytest.raises(BackendError, match="vpdata models fetch Qwen/Qwen3-VL-8B-Instruct"):
        VlmCaptioner(VlmSettings(device="cpu"))


def test_damaged_weights_are_refused(folder, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    (weights,) = damaged.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(BackendError, match="damaged"):
        VlmCaptioner(settings(damaged))


@pytest.mark.parametrize("model_type", ["bert", "no_such_architecture"])
def test_checkpoint_of_another_kind_is_refused(tmp_path, model_type):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(BackendError, match=model_type):
        VlmCaptioner(settings(tmp_path))


def test_checkpoint_without_a_processor_is_refused(folder, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("*processor*", "*token*", "*template*"))
    with pytest.raises(BackendError, match="processor"):
        VlmCaptioner(settings(bare))


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        # Of SmolVLM transformers says so itself.
        ("tokenizer*", r"(lacks tokenizer\.json, or in its place |the processor cannot be loaded)"),
        ("chat_template*", "got no chat template"),
    ],
)
def test_checkpoint_without_a_file_to_ask_by_is_refused_when_it_is_loaded(folder, tmp_path, files, fault):
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns(files))
    with pytest.raises(BackendError, match=f"{bare}.*{fault}"):
        VlmCaptioner(settings(bare))


@pytest.mark.parametrize(
    ("weights", "licence"),
    [
        ("Qwen/Qwen3-VL-8B-Instruct", "Apache-2.0"),
        ("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen Research Licence"),
        ("some/Other-VL", "unknown; the option `licence` may say"),
        ("/a/folder/Some-VL", "unknown; the option `licence` may say"),
    ],
)
def test_card_names_weights_and_their_licence_without_loading_them(weights, licence):
    options = {"weights": weights, "revision": "abc"}
    card = models.describe("captioner", ModelChoice(name="vlm", options=options))
    assert (card.role, card.name, card.revision) == ("captioner", f"vlm {weights.split('/')[-1]}", "abc")
    assert card.licence == licence
    own = models.describe("tagger", ModelChoice(name="vlm", options=options | {"licence": "MIT"}))
    assert (own.role, own.licence) == ("tagger", "MIT")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_cpu(folder):
    on_gpu = VlmCaptioner(replace(settings(folder), device="cuda"))
    assert on_gpu.caption(REQUESTS[:3]) == VlmCaptioner(settings(folder)).caption(REQUESTS[:3])
