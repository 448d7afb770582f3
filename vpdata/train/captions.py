"""Which caption a sample is trained with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from vpdata.dataset.latents import CLIP_TEXT
from vpdata.train import randomness


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSettings:
    """How captions are chosen."""

    drop_frac: float = 0.1
    """Share of the samples that get the empty caption, which classifier-free guidance needs."""
    object_frac: float = 0.5
    """Share of the samples with a hole at one object that get the object's caption, not the clip's."""

    def __post_init__(self) -> None:
        for name in ("drop_frac", "object_frac"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"got {name} {getattr(self, name)}, wanted 0 to 1")


def caption_of(
    tracks: Sequence[int], *, kind: str, texts: Collection[str], settings: TextSettings, seed: int, ordinal: int
) -> str | None:
    """The name of a caption among `texts`: the clip's, or the id of the one track in the hole; None: the empty one.

    A hole that is everything but the object gets no caption of the object.
    """
    drop, choice = (
        float(randomness.uniform(purpose, seed=seed, ordinals=[ordinal])) for purpose in ("text", "caption")
    )
    if drop < settings.drop_frac:
        return None
    names = [str(track) for track in tracks]
    has_own = len(names) == 1 and names[0] in texts and kind != "inverted"
    if has_own and (choice < settings.object_frac or CLIP_TEXT not in texts):
        return names[0]
    return CLIP_TEXT if CLIP_TEXT in texts else None
