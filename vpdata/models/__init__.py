"""Which model plays which role under which name. A model's library is imported when it is loaded, not before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Literal, Protocol

from vpdata.config import ModelChoice, fill, nearest
from vpdata.errors import ConfigError
from vpdata.extras import Extra, needs
from vpdata.models.own import is_own, own_card, own_model, own_scores, own_settings
from vpdata.models.ports import ModelCard
from vpdata.records import ScoreName

Role = Literal["shot_detector", "tagger", "detector", "mask_tracker", "captioner", "scorer", "text_scorer", "embedder"]


class ModelSettings(Protocol):
    """What the options of a model offer: a frozen dataclass whose module imports no model library."""

    def card(self, role: str) -> ModelCard:
        """Name, revision and licence."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a model is, as "module:name" in this package."""

    settings: str
    """The class of its options."""
    model: str
    """What is called with them, and loads it."""
    extra: Extra = "models"
    """What has its packages; those of the base install are in every extra's."""
    scores: tuple[ScoreName, ...] = ()
    """What a scorer measures; () for other roles, and where `scores` of its options says."""


_CLIP, _HUGGING_FACE = "openclip.settings", "huggingface.settings"
_MOTIONS: tuple[ScoreName, ...] = ("motion", "camera_motion", "object_motion")
_LOOKS: tuple[ScoreName, ...] = ("sharpness", "exposure", "contrast", "black_border_frac", "static_frac")
MODELS: dict[Role, dict[str, Entry]] = {
    "shot_detector": {
        "scenedetect": Entry("scenedetect:SceneDetectSettings", "scenedetect:SceneDetectShots"),
        "transnetv2": Entry("transnetv2_settings:TransNetV2Settings", "transnetv2:TransNetV2Shots"),
    },
    "tagger": {
        "fixed": Entry("embedded.tags:FixedTagsSettings", "embedded.tags:FixedTags"),
        "openclip": Entry(f"{_CLIP}:ClipTagsSettings", "openclip.tags:ClipTags"),
        "vlm": Entry(f"{_HUGGING_FACE}:VlmTaggerSettings", "huggingface.vlm:VlmTagger"),
    },
    "detector": {
        "embedded": Entry("embedded.detector:EmbeddedDetectorSettings", "embedded.detector:EmbeddedDetector"),
        "grounding-dino": Entry(f"{_HUGGING_FACE}:GroundingDinoSettings", "huggingface.grounding_dino:GroundingDino"),
        "owlv2": Entry(f"{_HUGGING_FACE}:Owlv2Settings", "huggingface.owlv2:Owlv2"),
    },
    "mask_tracker": {
        "embedded": Entry("embedded.tracker:FlowTrackerSettings", "embedded.tracker:FlowTracker"),
        "sam2": Entry("sam2_settings:Sam2Settings", "huggingface.sam2:Sam2"),
        "sam2-package": Entry("sam2_settings:Sam2PackageSettings", "sam2_package:Sam2Package", "sam2"),
    },
    "captioner": {
        "embedded": Entry("embedded.captioner:MeasuredCaptionerSettings", "embedded.captioner:MeasuredCaptioner"),
        "vlm": Entry(f"{_HUGGING_FACE}:VlmSettings", "huggingface.vlm:VlmCaptioner"),
        "openai": Entry("openai_captioner:OpenAICaptionerSettings", "openai_captioner:OpenAICaptioner"),
    },
    "scorer": {
        "embedded": Entry(
            "embedded.measures:FrameMeasuresSettings", "embedded.measures:FrameMeasures", scores=(*_MOTIONS, *_LOOKS)
        ),
        "nsfw": Entry(f"{_HUGGING_FACE}:NsfwSettings", "huggingface.nsfw:NsfwClassifier", scores=("unsafe",)),
        "openclip": Entry(f"{_CLIP}:ClipScoresSettings", "openclip.scores:ClipScores"),
        "raft": Entry("raft_settings:RaftSettings", "raft:RaftMotion", scores=_MOTIONS),
        "text_overlay": Entry(
            "text_overlay_settings:TextOverlaySettings", "text_overlay:TextOverlay", scores=("text_overlay_frac",)
        ),
    },
    "text_scorer": {
        "openclip": Entry(f"{_CLIP}:ClipSettings", "openclip.scores:ClipAlignment", scores=("text_alignment",))
    },
    "embedder": {"openclip": Entry(f"{_CLIP}:ClipSampledSettings", "openclip.scores:ClipEmbedder")},
}


def maker(role: Role, choice: ModelChoice) -> Callable[[], Any]:
    """A picklable call without arguments that loads the model; the choice is checked now."""
    describe(role, choice)
    return partial(_load, role, choice)


def describe(role: Role, choice: ModelChoice) -> ModelCard:
    """The card of a model, without loading it or its library; ConfigError for an unknown name or option.

    BackendError where its package is not installed; ConfigError for a model of the user's own that cannot be imported,
    or lacks what it must have.
    """
    settings = settings_of(role, choice)
    if is_own(choice.name):
        return own_card(role, choice.name, settings)
    with _needs_its_extra(role, choice):
        return settings.card(role)


def settings_of(role: Role, choice: ModelChoice) -> ModelSettings:
    """The options of a model with its defaults; errors as from `describe`."""
    where = f"{role} {choice.name!r} options"
    if is_own(choice.name):
        return fill(own_settings(role, choice.name), choice.options, where=where)
    with _needs_its_extra(role, choice):
        return fill(_imported(_find(role, choice).settings), choice.options, where=where)


def scores_of(role: Role, choice: ModelChoice) -> tuple[ScoreName, ...]:
    """What a scorer measures of every clip, without loading it; () for other roles. Errors as from `describe`."""
    if is_own(choice.name):
        return own_scores(role, choice.name, settings_of(role, choice)) if role == "scorer" else ()
    return _find(role, choice).scores or getattr(settings_of(role, choice), "scores", ())


def check_name(role: Role, choice: ModelChoice) -> None:
    """ConfigError for the name of no model; one of the user's own is looked up by `describe`."""
    if not is_own(choice.name):
        _find(role, choice)


def _load(role: Role, choice: ModelChoice) -> Any:
    settings = settings_of(role, choice)
    if is_own(choice.name):
        return own_model(role, choice.name, settings)
    with _needs_its_extra(role, choice):
        model = _imported(_find(role, choice).model)
    return model(settings)


def _find(role: Role, choice: ModelChoice) -> Entry:
    known = MODELS[role]
    if choice.name not in known:
        listed = f"; known: {', '.join(known)}, and your own package.module:SettingsClass"
        tail = nearest(choice.name, known) or listed
        raise ConfigError(f"unknown {role} {choice.name!r}{tail}")
    return known[choice.name]


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"vpdata.models.{module}"), name)


def _needs_its_extra(role: Role, choice: ModelChoice) -> AbstractContextManager[None]:
    return needs(_find(role, choice).extra, f"{role} {choice.name!r}")
