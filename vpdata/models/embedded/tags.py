"""A fixed vocabulary: the same labels for every clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vpdata import __version__
from vpdata.config import to_plain
from vpdata.models.ports import Frames, ModelCard


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedTagsSettings:
    """Options of `FixedTags`."""

    labels: tuple[str, ...] = ()
    """What to look for in every clip, best first; empty: everything the detector knows."""

    def __post_init__(self) -> None:
        if any(not label.strip() for label in self.labels):
            raise ValueError(f"labels: got an empty label in {list(self.labels)}, wanted words")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels: got a repeated label in {list(self.labels)}, wanted each once")

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        return ModelCard(
            role=role,
            name="fixed",
            revision=__version__,
            licence="Apache-2.0",
            source=f"vpdata {__version__}",
            options=to_plain(self),
        )


class FixedTags:
    """A `Tagger` that looks at nothing and answers with its settings."""

    def __init__(self, settings: FixedTagsSettings) -> None:
        self._labels = settings.labels

    def tags(self, clips: Sequence[Frames]) -> list[tuple[str, ...]]:
        return [self._labels] * len(clips)
