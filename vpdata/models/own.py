"""A model of the user's own: its settings class, outside of this package, is named `module:Class` in a config."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, get_args

from vpdata.errors import ConfigError
from vpdata.models import ports
from vpdata.records import ScoreName

PORTS: dict[str, type] = {
    "shot_detector": ports.ShotDetector,
    "tagger": ports.Tagger,
    "detector": ports.Detector,
    "mask_tracker": ports.MaskTracker,
    "captioner": ports.Captioner,
    "scorer": ports.Scorer,
    "text_scorer": ports.TextScorer,
    "embedder": ports.Embedder,
}
"""What a model of a role must do."""


def is_own(name: str) -> bool:
    """Whether a config names a model outside of this package so."""
    return ":" in name


def own_settings(role: str, name: str) -> type:
    """The class of the options: a dataclass with `card(role)`, `load(role)` and, for a scorer, `scores`.

    ConfigError where it cannot be imported, or is no such class.
    """
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise ConfigError(f"{role}: got the name {name!r}, wanted package.module:SettingsClass")
    with _importing(role, name):
        kind = getattr(import_module(module), attribute, None)
    if kind is None:
        raise ConfigError(f"{role} {name!r}: the module {module} has no {attribute}")
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        raise ConfigError(f"{role} {name!r}: got {kind!r}, wanted a dataclass, whose fields are the model's options")
    wanted = ["card", "load", *(["scores"] if role == "scorer" else [])]
    _refuse_missing(role, name, kind, wanted)
    return kind


def own_card(role: str, name: str, settings: Any) -> ports.ModelCard:
    """What the settings say of their model; ConfigError where that is no card."""
    card = settings.card(role)
    if not isinstance(card, ports.ModelCard):
        raise ConfigError(f"{role} {name!r}: card({role!r}) gave {card!r}, wanted a vpdata.models.ports.ModelCard")
    try:
        json.dumps(card.options)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{role} {name!r}: the options of card({role!r}) are no JSON: {error}; got {card.options!r}"
        ) from error
    return card


def own_scores(role: str, name: str, settings: Any) -> tuple[ScoreName, ...]:
    """What a scorer says that it measures; ConfigError where that is none of the scores there are."""
    scores = tuple(settings.scores)
    if not scores or set(scores) - set(get_args(ScoreName)):
        raise ConfigError(f"{role} {name!r}: got the scores {scores}, wanted some of {', '.join(get_args(ScoreName))}")
    return scores


def own_model(role: str, name: str, settings: Any) -> Any:
    """The loaded model; ConfigError where it lacks what its role's port has, or a package."""
    with _importing(role, name):
        model = settings.load(role)
    port = PORTS[role]
    _refuse_missing(role, name, model, [*inspect.get_annotations(port), *vars(port)])
    return model


@contextmanager
def _importing(role: str, name: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"{role} {name!r} cannot be imported ({error}); install it, or put its folder into PYTHONPATH, on this "
            "machine and on every node that runs workers"
        ) from error


def _refuse_missing(role: str, name: str, found: object, wanted: list[str]) -> None:
    missing = [one for one in wanted if not one.startswith("_") and not hasattr(found, one)]
    if missing:
        what = f"{found.__name__} has" if isinstance(found, type) else f"load({role!r}) gave a model with"
        raise ConfigError(
            f"{role} {name!r}: {what} no {', '.join(missing)}; docs/models.md says what a model of your own must have"
        )
