"""Options of the reader of text overlays, and what a run says about it; imports no model library."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from vpdata.models.ports import ModelCard


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOverlaySettings:
    """How densely clips are sampled, and how sure the reading must be."""

    sample_fps: float = 0.5
    """Frames per second that are read; each takes about 0.3 s of one core."""
    short_side_px: int = 736
    """Frames are read at this short side, to which the detector would enlarge smaller ones."""
    min_score: float = 0.5
    """Readings below this confidence are no text; in [0, 1]."""
    num_threads: int = 1
    """Of ONNX Runtime, on the CPU."""

    def __post_init__(self) -> None:
        if self.sample_fps <= 0:
            raise ValueError(f"sample_fps: got {self.sample_fps}, wanted more than 0")
        for name, least in (("short_side_px", 32), ("num_threads", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted at least {least}")
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score: got {self.min_score}, wanted a number from 0 to 1")

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        package = version("rapidocr")
        return ModelCard(
            role=role,
            name="rapidocr-PP-OCRv6-small",
            revision=package,
            licence="Apache-2.0",
            source=f"rapidocr {package}",
            options={
                "sample_fps": self.sample_fps,
                "short_side_px": self.short_side_px,
                "min_score": self.min_score,
            },
        )
