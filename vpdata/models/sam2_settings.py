"""Options of the SAM 2 trackers, and what a run says about each; imports no model library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vpdata.models.ports import ModelCard
from vpdata.models.torch_settings import Dtype, FetchedSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Sam2Settings(FetchedSettings):
    """Options of the SAM 2 trackers."""

    weights: str = "facebook/sam2.1-hiera-large"
    """Hub id or folder; also published: -tiny, -small, -base-plus."""
    dtype: Dtype = "bfloat16"
    batch_size: int = 8
    """Frames whose features are computed at once; all objects of a frame are one batch whatever their number."""
    compile: bool = False
    """Compile the image encoder: minutes at the start, worth it from some hundred clips on."""
    overlap: Literal["allow", "exclusive"] = "allow"
    """Whether a pixel may belong to several objects, or to the one with the highest logit alone, among the objects of
    one call: with `track.max_rounds` above 1 a clip takes several, and an object of a later one may overlap others."""
    reprompt_below: float | None = None
    """When an object's score on a frame falls below this, in [0, 1], the box of its mask on the frame before is given
    as a second prompt and the frame is looked at again. None: never."""
    min_part_frac: float = 0.01
    """Parts of a mask smaller than this share of its area are removed."""
    min_hole_frac: float = 0.01
    """Holes in a mask smaller than this share of its area are filled."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size: got {self.batch_size}, wanted at least 1")
        for name in ("reprompt_below", "min_part_frac", "min_hole_frac"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name}: got {value}, wanted a number from 0 to 1")

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        return self.weights_card(role, name="sam2", package="transformers", options=self.asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sam2PackageSettings(Sam2Settings):
    """As `Sam2Settings`, for the package `sam2`."""

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        return self.weights_card(role, name="sam2-package", package="sam2", options=self.asked)
