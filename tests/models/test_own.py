"""Models outside of the package, named `module:Class` in a config."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

import vpdata
from benchmark.footage import scene, write_video
from tests.runs import make_footage, make_record
from vpdata import models
from vpdata.cli import main
from vpdata.config import ModelChoice
from vpdata.errors import BackendError, ConfigError
from vpdata.models import MODELS
from vpdata.models.catalogue import opened_by
from vpdata.models.check import check
from vpdata.models.own import PORTS
from vpdata.stages.detect import DetectSettings
from vpdata.stages.scoring import Scoring

MODULE = """
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vpdata.models.ports import ModelCard


def card_of(role, name, **options):
    return ModelCard(role=role, name=name, revision="7", licence="MIT", source="mine", options=options)


@dataclass(frozen=True)
class Words:
    words: tuple[str, ...] = ("moving object",)

    def card(self, role):
        return card_of(role, "words", words=list(self.words))

    def load(self, role):
        return Tagger(self.words)


class Tagger:
    def __init__(self, words):
        self.words = words

    def tags(self, clips):
        return [self.words] * len(clips)


@dataclass(frozen=True)
class Taste:
    scores: ClassVar = ("aesthetic",)

    def card(self, role):
        return card_of(role, "taste")

    def load(self, role):
        return Judge()


class Judge:
    measures = "aesthetic"
    sample_fps = 1.0
    max_short_side_px = 64

    def score(self, frames, *, fps):
        return {self.measures: np.float32(0.25)}


@dataclass(frozen=True)
class NoLoad:
    def card(self, role):
        return card_of(role, "none")


@dataclass(frozen=True)
class NoCard(Words):
    def card(self, role):
        return {"name": "words"}


@dataclass(frozen=True)
class NoTags(Words):
    def load(self, role):
        return Judge()


@dataclass(frozen=True)
class NoLibrary(Words):
    def load(self, role):
        import library_that_is_not_there


@dataclass(frozen=True)
class OtherTaste(Taste):
    scores: ClassVar = ("beauty",)


@dataclass(frozen=True)
class OddCard(Words):
    def card(self, role):
        return card_of(role, "words", words={"ball"})


@dataclass(frozen=True)
class Weighted(Words):
    weights: Any = None
    revision: Any = None


@dataclass(frozen=True)
class Silent:
    def card(self, role):
        return card_of(role, "silent")

    def load(self, role):
        return Writer()


class Writer:
    def caption(self, requests):
        return ["a ball"] * len(requests)


@dataclass(frozen=True)
class Stray(Taste):
    def load(self, role):
        judge = Judge()
        judge.measures = "motion"
        return judge
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/my_models.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path / "own")
    yield
    sys.modules.pop("my_models", None)


def own(name: str, **options: object) -> ModelChoice:
    return ModelChoice(name=f"my_models:{name}", options=options)


def test_it_has_a_card_and_loads_in_another_process():
    choice = own("Words", words=["ball"])
    assert models.describe("tagger", choice).options == {"words": ["ball"]}
    make = pickle.loads(pickle.dumps(models.maker("tagger", choice)))
    assert make().tags([None, None]) == [("ball",)] * 2
    row = check("tagger", choice)
    assert (row.status, row.fault) == ("ok", "")
    assert "ball" in row.answer
    assert models.scores_of("scorer", own("Taste")) == ("aesthetic",)


@pytest.mark.parametrize(
    ("role", "choice", "message"),
    [
        ("tagger", own("Word"), "the module my_models has no Word"),
        ("tagger", own("Tagger"), r"got <class 'my_models.Tagger'>, wanted a dataclass"),
        ("tagger", own("Words", word=1), "did you mean 'words'"),
        ("tagger", own("NoLoad"), "NoLoad has no load; docs/models.md says"),
        ("tagger", own("NoCard"), r"card\('tagger'\) gave \{'name': 'words'\}, wanted a vpdata.models.ports.ModelCard"),
        ("tagger", own("NoTags"), r"load\('tagger'\) gave a model with no tags; docs/models.md says"),
        ("tagger", own("NoLibrary"), "library_that_is_not_there.*install it, or put its folder into PYTHONPATH"),
        ("tagger", ModelChoice(name="not_there:Words"), "No module named 'not_there'.*on every node"),
        ("tagger", ModelChoice(name="not there:Words"), "wanted package.module:SettingsClass"),
        ("tagger", ModelChoice(name=":Words"), "wanted package.module:SettingsClass"),
        ("tagger", ModelChoice(name="my_models"), "unknown tagger 'my_models'; known: .*package.module:SettingsClass"),
        ("scorer", own("Words"), "Words has no scores"),
        (
            "tagger",
            own("OddCard"),
            r"the options of card\('tagger'\) are no JSON: .*set.*; got \{'words': \{'ball'\}\}",
        ),
        ("scorer", own("OtherTaste"), r"got the scores \('beauty',\), wanted some of motion"),
    ],
)
def test_what_it_lacks_is_named(role, choice, message):
    with pytest.raises(ConfigError, match=message):
        use(role, choice)


def use(role, choice):
    models.scores_of(role, choice)
    models.maker(role, choice)()


def test_what_it_does_not_declare_is_no_score():
    scoring = Scoring([own("Stray")], None)
    scoring.setup()
    with pytest.raises(BackendError, match=r"taste 7 gave the scores \['motion'\] .*, which are \['aesthetic'\]"):
        scoring.measured(make_record(0, mp4=b"", footage=make_footage(0)), [np.zeros((1, 64, 64, 3), dtype=np.uint8)])


def test_captioner_that_could_not_be_asked_by_the_stage_fails_the_check():
    row = check("captioner", own("Silent"))
    assert row.status != "ok"
    assert "alive" in row.fault


@pytest.mark.parametrize("weights", [[0.3, 0.7], 3, "DEFAULT", "s3://bucket/taste", __file__])
def test_option_of_this_name_that_names_no_weights_of_ours_is_its_own_affair(weights):
    assert list(opened_by("tagger", own("Weighted", weights=weights))) == []


@pytest.mark.parametrize("weights", ["org/taste", "/shared/taste"])
def test_weights_that_it_names_as_ours_do_are_looked_for(weights):
    assert list(opened_by("tagger", own("Weighted", weights=weights, revision="r1"))) == [(weights, "r1")]


def test_every_role_has_a_port():
    assert PORTS.keys() == MODELS.keys()


def test_detector_of_ones_own_may_know_labels_of_its_own():
    assert DetectSettings(detector=own("Words")).tagger.name == "fixed"
    with pytest.raises(ConfigError, match="unknown detector 'embeded', did you mean 'embedded'"):
        DetectSettings(detector=ModelChoice(name="embeded"))


@pytest.mark.slow
def test_build_runs_it_in_its_workers(tmp_path):
    frames = scene("plain", seed=0, num_frames=60, height_px=120, width_px=160).frames
    write_video(tmp_path / "one.mp4", frames, fps=25)
    (tmp_path / "own.yaml").write_text(
        "cut: {min_s: 2, scorer: {name: embedded}}\n"
        "detect: {tagger: {name: 'my_models:Words'}, scorers: [{name: 'my_models:Taste'}]}\n"
        "filter: {rules: {aesthetic: {min: 0.2}}}\n"
    )
    places = ["--config", tmp_path / "own.yaml", "--input", tmp_path / "one.mp4", "--output", tmp_path / "run"]
    assert main(["build", *map(str, places), "--engine", "local"]) == 0
    (sample,) = vpdata.open_dataset(tmp_path / "run")
    assert sample.record.tags == ("moving object",)
    assert ("aesthetic", 0.25, "taste 7") in [(one.name, one.value, one.model) for one in sample.record.scores]
    (state,) = Path(tmp_path / "run").glob("*-detect/stage.json")
    cards = {one["name"]: one["options"] for one in json.loads(state.read_text())["models"]}
    assert (cards["words"], cards["taste"]) == ({"words": ["moving object"]}, {})
    assert "taste" in (tmp_path / "run/README.md").read_text()
