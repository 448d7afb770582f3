"""Which model plays which role under which name. Nothing heavy is imported before a model is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal, Protocol

from vpdata.config import ModelChoice, fill, nearest
from vpdata.errors import BackendError, ConfigError
from vpdata.models.ports import ModelCard

Role = Literal["shot_detector", "tagger", "detector", "mask_tracker", "captioner", "scorer", "text_scorer", "embedder"]


class ModelClass(Protocol):
    """What the class of a model offers beside its port."""

    Settings: ClassVar[type]
    """Frozen dataclass of its options."""

    def __call__(self, settings: Any) -> Any:
        """Load it."""
        ...

    def card(self, settings: Any) -> ModelCard:
        """Name, revision and licence, without loading anything (a static method of the class)."""
        ...


def _scenedetect() -> Any:
    from vpdata.models.scenedetect import SceneDetectShots

    return SceneDetectShots


def _transnetv2() -> Any:
    from vpdata.models.transnetv2 import TransNetV2Shots

    return TransNetV2Shots


def _embedded_measures() -> Any:
    from vpdata.models.embedded.measures import FrameMeasures

    return FrameMeasures


def _raft() -> Any:
    from vpdata.models.raft import RaftMotion

    return RaftMotion


def _text_overlay() -> Any:
    from vpdata.models.text_overlay import TextOverlay

    return TextOverlay


def _clip_scores() -> Any:
    from vpdata.models.openclip.scores import ClipScores

    return ClipScores


def _clip_alignment() -> Any:
    from vpdata.models.openclip.scores import ClipAlignment

    return ClipAlignment


def _clip_embedder() -> Any:
    from vpdata.models.openclip.scores import ClipEmbedder

    return ClipEmbedder


def _fixed_tags() -> Any:
    from vpdata.models.embedded.tags import FixedTags

    return FixedTags


def _embedded_detector() -> Any:
    from vpdata.models.embedded.detector import EmbeddedDetector

    return EmbeddedDetector


def _grounding_dino() -> Any:
    from vpdata.models.huggingface.grounding_dino import GroundingDino

    return GroundingDino


def _owlv2() -> Any:
    from vpdata.models.huggingface.owlv2 import Owlv2

    return Owlv2


def _embedded_tracker() -> Any:
    from vpdata.models.embedded.tracker import FlowTracker

    return FlowTracker


def _sam2() -> Any:
    from vpdata.models.huggingface.sam2 import Sam2

    return Sam2


def _sam2_package() -> Any:
    from vpdata.models.sam2_package import Sam2Package

    return Sam2Package


def _embedded_captioner() -> Any:
    from vpdata.models.embedded.captioner import MeasuredCaptioner

    return MeasuredCaptioner


def _openai_captioner() -> Any:
    from vpdata.models.openai_captioner import OpenAICaptioner

    return OpenAICaptioner


def _vlm_captioner() -> Any:
    from vpdata.models.huggingface.vlm import VlmCaptioner

    return VlmCaptioner


def _clip_tags() -> Any:
    from vpdata.models.openclip.tags import ClipTags

    return ClipTags


def _vlm_tagger() -> Any:
    from vpdata.models.huggingface.vlm import VlmTagger

    return VlmTagger


MODELS: dict[Role, dict[str, Callable[[], Any]]] = {
    "shot_detector": {"scenedetect": _scenedetect, "transnetv2": _transnetv2},
    "tagger": {"fixed": _fixed_tags, "openclip": _clip_tags, "vlm": _vlm_tagger},
    "detector": {"embedded": _embedded_detector, "grounding-dino": _grounding_dino, "owlv2": _owlv2},
    "mask_tracker": {"embedded": _embedded_tracker, "sam2": _sam2, "sam2-package": _sam2_package},
    "captioner": {"embedded": _embedded_captioner, "vlm": _vlm_captioner, "openai": _openai_captioner},
    "scorer": {
        "embedded": _embedded_measures,
        "openclip": _clip_scores,
        "raft": _raft,
        "text_overlay": _text_overlay,
    },
    "text_scorer": {"openclip": _clip_alignment},
    "embedder": {"openclip": _clip_embedder},
}


def maker(role: Role, choice: ModelChoice) -> Callable[[], Any]:
    """A picklable call without arguments that loads the model; the choice is checked now."""
    describe(role, choice)
    return partial(_load, role, choice)


def describe(role: Role, choice: ModelChoice) -> ModelCard:
    """The card of a model, without loading it; ConfigError for an unknown name or option."""
    model = _find(role, choice)
    return model.card(_settings(role, choice, model))


def _load(role: Role, choice: ModelChoice) -> Any:
    model = _find(role, choice)
    return model(_settings(role, choice, model))


def _settings(role: Role, choice: ModelChoice, model: Any) -> Any:
    return fill(model.Settings, choice.options, where=f"{role} {choice.name!r} options")


def _find(role: Role, choice: ModelChoice) -> Any:
    known = MODELS[role]
    if choice.name not in known:
        tail = nearest(choice.name, known) or f"; known: {', '.join(known)}"
        raise ConfigError(f"unknown {role} {choice.name!r}{tail}")
    try:
        return known[choice.name]()
    except ImportError as error:
        raise BackendError(
            f"{role} {choice.name!r} needs a package that is not installed ({error}); pip install 'vpdata[models]'"
        ) from error
