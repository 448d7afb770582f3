"""A card holds every option of its model that can change a result: fingerprints of stages rest on it."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from vpdata import models
from vpdata.config import ModelChoice
from vpdata.models import MODELS

CHANGES_NO_RESULT = {
    # Within the tolerance of a batch against single items, and of one device against another.
    *("batch_size", "device", "num_threads", "compile"),
    "cache_folder",
    # Of a server: where it is and how patiently it is asked.
    *("base_url", "api_key_env", "concurrency", "request_timeout_s", "max_attempts", "wait_for_s", "answers"),
    *("usd_per_million_input_tokens", "usd_per_million_output_tokens"),
}
NEEDED = {
    ("captioner", "openai"): {"base_url": "http://one/v1", "model": "m"},
    ("scorer", "openclip"): {"aesthetic_head": "laion-aesthetic-v2"},
}
CHANGED = {
    "weights": "some/weights",
    "aesthetic_head": "laion-aesthetic-v1",
    "template": "a drawing of a {}",
    "templates": ["a drawing of a {}."],
    "prompt": "dense_clip",
    "parameters": {"seed": 1},
    "template_options": {"enable_thinking": False},
    "limits": {"max_boxes": 3},
    "max_area_frac": 0.9,
    "base_url": "http://two/v1",
}
"""Other values where the type alone does not give one."""
ROLES = ("tagger", "detector", "mask_tracker", "captioner", "scorer", "text_scorer", "embedder")
KINDS = [(role, name) for role in ROLES for name in MODELS[role]]


@pytest.mark.parametrize(("role", "name"), KINDS)
def test_card_holds_every_option_that_can_change_a_result(role, name, tmp_path):
    if MODELS[role][name].settings.startswith(("openclip", "huggingface", "raft", "sam2", "text_overlay")):
        for package in ("open_clip", "transformers", "torchvision", "rapidocr"):
            pytest.importorskip(package)
    if name == "sam2-package":
        pytest.importorskip("sam2")
    needed = NEEDED.get((role, name), {})
    settings = models.settings_of(role, ModelChoice(name=name, options=needed))
    (tmp_path / "names.txt").write_text("dog")
    hints = typing.get_type_hints(type(settings))

    def card(options):
        return models.describe(role, ModelChoice(name=name, options=needed | options))

    unseen = set()
    for item in dataclasses.fields(settings):
        other = {"vocabulary": str(tmp_path / "names.txt"), **CHANGED}.get(item.name)
        if other is None:
            other = another(getattr(settings, item.name), hints[item.name])
        if card({item.name: other}) == card({}):
            unseen.add(item.name)
    assert unseen <= CHANGES_NO_RESULT
    # Texts written together are padded alike, and a likeliest word may be another then.
    harmless = CHANGES_NO_RESULT - ({"batch_size"} if "max_new_tokens" in hints else set())
    assert unseen >= harmless & set(hints)


def another(value, hint):
    """Another value of an option."""
    if typing.get_origin(hint) is typing.Literal:
        return next(one for one in typing.get_args(hint) if one != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.9
    if isinstance(value, tuple):
        return [*value, "other"]
    if value is None and float in typing.get_args(hint):
        return 0.5
    return "other"


@pytest.mark.parametrize("end", ["", "/"])
def test_folder_in_the_hubs_cache_is_recorded_by_its_id_and_commit(end):
    pytest.importorskip("transformers")
    commit = "0c351dd01ed87e9c1b53cbc748cba10e6187ff3b"
    folder = f"/home/ann/hub/models--Qwen--Qwen3-VL-8B-Instruct/snapshots/{commit}{end}"
    card = models.describe("captioner", ModelChoice(name="vlm", options={"weights": folder}))
    assert (card.name, card.revision, card.licence) == ("vlm Qwen3-VL-8B-Instruct", commit, "Apache-2.0")
    assert card.source.startswith("Qwen/Qwen3-VL-8B-Instruct, transformers ")
