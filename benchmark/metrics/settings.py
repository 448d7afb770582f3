"""What is measured and with which networks; imports no model library."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vpdata.models.torch_settings import Device

Protocol = Literal["clean", "paper"]
"""`clean` measures each region by itself; `paper` is VideoPainter's published code, defects included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipChoice:
    """A CLIP, of pictures and texts or of pictures alone."""

    weights: str = "timm/vit_large_patch14_clip_224.openai"
    """Hub id or folder of a checkpoint in open_clip's layout; the default is OpenAI's ViT-L/14, as in the paper."""
    revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LpipsChoice:
    """The network of `lpips`."""

    trunk: Literal["squeeze", "alex"] = "squeeze"
    """What the paper takes, and what LPIPS' authors recommend."""
    trunk_weights: str = "squeezenet1_1"
    """Name or folder of torchvision's weights of that trunk."""
    head_weights: str = "lpips-squeeze"
    """Name or folder of its calibration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FvidChoice:
    """The network of `fvid`."""

    network: Literal["i3d", "r3d_18", "mc3_18", "r2plus1d_18"] = "i3d"
    weights: str = "i3d-rgb-imagenet"
    """Name or folder with its parameters in `model.safetensors`."""
    revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSettings:
    """All that decides a score beside the videos."""

    protocol: Protocol = "clean"
    dilate_px: tuple[int, ...] = (0,)
    """Radii by which the hole grows before regions are taken and known pixels put back; one set of scores for each."""
    clip: ClipChoice = field(default_factory=ClipChoice)
    """Of all metrics that ask CLIP, but the one below."""
    paper_consistency: ClipChoice = ClipChoice(weights="timm/vit_base_patch32_clip_224.openai")
    """Of `temporal_consistency` under the paper's protocol, whose code takes OpenAI's ViT-B/32 there."""
    lpips: LpipsChoice = field(default_factory=LpipsChoice)
    fvid: FvidChoice = field(default_factory=FvidChoice)
    device: Device | None = None
    """None: a GPU if torch finds one."""

    def __post_init__(self) -> None:
        if not self.dilate_px or min(self.dilate_px) < 0 or len(set(self.dilate_px)) < len(self.dilate_px):
            raise ValueError(f"got dilate_px {list(self.dilate_px)}, wanted different numbers from 0 on")
