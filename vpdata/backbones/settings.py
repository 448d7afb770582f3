"""Which backbone is meant: fetched weights, a folder, or a small random one. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vpdata.backbones.spec import Expert
from vpdata.models.torch_settings import Device, Dtype

TinyName = Literal[
    "cogvideox",
    "cogvideox-i2v",
    "cogvideox1.5",
    "cogvideox1.5-i2v",
    "wan",
    "wan-i2v",
    "wan-ti2v",
    "wan2.2-a14b",
    "ltx",
    "ltx-0.9.5",
    "hunyuan",
    "hunyuan-i2v",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSettings:
    """A pretrained video diffusion transformer with its VAE and text encoder; exactly one of `weights` and `tiny`."""

    weights: str | None = None
    """Hub id, or absolute path, of a pipeline in diffusers' layout: transformer/, vae/, text_encoder/, tokenizer/."""
    revision: str | None = None
    """Commit, branch or tag of the hub id; None: what was fetched."""
    tiny: TinyName | None = None
    """A small random one of that kind instead, which fetches nothing: for tests and demonstrations."""
    tiny_seed: int = 0
    """Decides the weights of a tiny one."""
    expert: Expert | None = None
    """Which transformer of a checkpoint with two is meant; latents and texts are the same for both."""
    first_frame: bool = False
    """Give an LTX the first frame too, since its checkpoints make video from text and from an image alike."""
    frame_rate: float | None = None
    """Frames per second that an LTX is told, whose positions count seconds; None: the 25 of its pipelines. Other
    families are told none."""
    device: Device = "cuda"
    dtype: Dtype = "bfloat16"
    """Of the weights; what a checkpoint wants in float32 stays so."""

    def __post_init__(self) -> None:
        if (self.weights is None) == (self.tiny is None):
            raise ValueError(f"got weights {self.weights} and tiny {self.tiny}, wanted exactly one of the two")
        if self.tiny is not None and self.revision is not None:
            raise ValueError(f"got revision {self.revision} for the tiny {self.tiny}, which has none")
        if self.frame_rate is not None and self.frame_rate <= 0:
            raise ValueError(f"got frame_rate {self.frame_rate}, wanted more than 0, or null")
