"""Options of the models that run through open_clip, and what a run says about each; imports no model library."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from vpdata.models.catalogue import licence_of
from vpdata.models.ports import ModelCard
from vpdata.models.torch_settings import Dtype, FetchedSettings
from vpdata.models.vocabularies import read_vocabulary
from vpdata.models.weights import fetched_revision
from vpdata.records import ScoreName


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSettings(FetchedSettings):
    """Which CLIP model."""

    weights: str = "timm/vit_large_patch14_clip_224.openai"
    """Hub id or folder of a checkpoint in open_clip's layout; the default is OpenAI's ViT-L/14."""
    dtype: Dtype = "bfloat16"

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        return self._card(role, {})

    def _card(self, role: str, asked: Mapping[str, object]) -> ModelCard:
        options = {"dtype": self.dtype, **asked}
        return self.weights_card(role, name=self.weights_name, package="open_clip_torch", options=options)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSampledSettings(ClipSettings):
    """As `ClipSettings`, and how densely clips are looked at."""

    sample_fps: float = 1.0
    """Frames per second that are looked at."""

    def __post_init__(self) -> None:
        if self.sample_fps <= 0:
            raise ValueError(f"sample_fps: got {self.sample_fps}, wanted more than 0")

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        return self._card(role, {"sample_fps": self.sample_fps})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScoresSettings(ClipSampledSettings):
    """As `ClipSampledSettings`, and what is measured."""

    aesthetic_head: str | None = None
    """Name or folder of LAION's head, which is for OpenAI's weights; None: `aesthetic` is not measured."""
    safety: bool = True
    """False: `unsafe` is not measured, as it must be beside the scorer `nsfw`."""

    def __post_init__(self) -> None:
        # Zero-argument super() does not reach the parent of a slotted dataclass.
        ClipSampledSettings.__post_init__(self)
        if self.aesthetic_head is None and not self.safety:
            raise ValueError("got neither an aesthetic_head nor safety: wanted something to measure")

    @property
    def scores(self) -> tuple[ScoreName, ...]:
        """What is measured."""
        measured: dict[ScoreName, bool] = {"aesthetic": self.aesthetic_head is not None, "unsafe": self.safety}
        return tuple(name for name, is_on in measured.items() if is_on)

    def card(self, role: str) -> ModelCard:
        """What a run says about this model, and about its head."""
        asked = {name: getattr(self, name) for name in ("sample_fps", "aesthetic_head", "safety")}
        head = self.aesthetic_head
        if head is None:
            return self._card(role, asked)
        card = self._card(role, asked | {"aesthetic_head_revision": fetched_revision(head) or "local"})
        return replace(card, licence=f"{card.licence}; of the aesthetic head: {licence_of(head) or 'unknown'}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipTagsSettings(ClipSettings):
    """As `ClipSettings`, and what a clip's tags are chosen from."""

    batch_size: int = 64
    """Images in one forward pass, over the borders of clips."""
    vocabulary: str = "lvis"
    """A list of `vpdata.models.vocabularies`, or the path of a `.txt` file with one name a line."""
    templates: tuple[str, ...] = ("a photo of a {}.", "a video frame of a {}.", "a scene with a {} in it.")
    """Texts in which a name takes the place of the braces; a name's embedding is their mean (Radford et al. 2021)."""
    max_tags: int = 10
    """The best are kept."""
    min_cosine: float = 0.18
    """Of a name with the frame that it fits best, in [-1, 1]. ViT-L/14 gives what is not there about 0.15."""
    cache_folder: str | None = None
    """Path or uri for the embeddings of vocabularies; None: on this node's own disk, beside the weights."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_tags"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted at least 1")
        if not self.templates or any(template.count("{}") != 1 for template in self.templates):
            raise ValueError(f"templates: got {list(self.templates)}, wanted texts with one {{}} for the name in each")
        if not -1 <= self.min_cosine <= 1:
            raise ValueError(f"min_cosine: got {self.min_cosine}, wanted a number from -1 to 1")

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        names = "\n".join(read_vocabulary(self.vocabulary))
        asked = {
            "vocabulary": self.vocabulary,
            "vocabulary_sha256": hashlib.sha256(names.encode("utf-8")).hexdigest(),
            "templates": self.templates,
            "max_tags": self.max_tags,
            "min_cosine": self.min_cosine,
        }
        return self._card(role, asked)
