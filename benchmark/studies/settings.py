"""Sizes of the learning study: minutes on a CPU, or hours on one GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vpdata.models.torch_settings import Device

Size = Literal["tiny", "small", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderVariant:
    """One context encoder that the study trains."""

    num_layers: int = 2
    background_only: bool = False
    """Off by default, unlike in the published model: this backbone carries little into the hole by itself."""
    seed: int = 0
    """Of its training: data order, holes, noise, timesteps."""
    is_short: bool = True
    """Trained for `variant_steps`: enough to compare variants with each other."""

    @property
    def name(self) -> str:
        """For folders and logs."""
        tokens = "background" if self.background_only else "all"
        return f"encoder-n{self.num_layers}-{tokens}-seed{self.seed}" + ("-short" if self.is_short else "")

    @property
    def label(self) -> str:
        """For tables."""
        tokens = "background tokens" if self.background_only else "all tokens"
        return f"encoder, N = {self.num_layers}, {tokens}, seed {self.seed}" + (", short" if self.is_short else "")


DEFAULT = EncoderVariant(is_short=False)
SHORT = EncoderVariant()
"""What the other variants are compared with."""
VARIANTS = (
    DEFAULT,
    SHORT,
    EncoderVariant(seed=1),
    EncoderVariant(num_layers=1),
    EncoderVariant(num_layers=4),
    EncoderVariant(background_only=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySettings:
    """One size of the study."""

    side_px: int
    """Height and width of a frame."""
    channels: int
    """Of the latents."""
    num_heads: int
    head_dim: int
    num_blocks: int
    num_train_clips: int
    num_test_clips: int
    batch_size: int
    pretrain_steps: int
    encoder_steps: int
    variant_steps: int
    """Of the short trainings."""
    adapter_steps: int
    is_compiled: bool = True
    """Whether blocks are compiled for training, which takes a minute and makes a step of the small size 1.5 times as
    fast on a CPU."""
    sampling_steps: int = 2
    """Euler steps, the same for every method that samples: what scores best on other clips (`sampling.py`). Few, since
    the score is the distance from the truth, from which a blurred guess is less far than a sharp one."""
    learning_rate: float = 4e-3
    num_noises: int = 2
    """Noise seeds every held-out clip is filled with by every method that samples."""
    device: Device = "cpu"
    """Of the models; clips and codec are on the CPU."""


SIZES: dict[Size, StudySettings] = {
    "tiny": StudySettings(
        side_px=32,
        channels=16,
        num_heads=2,
        head_dim=16,
        num_blocks=4,
        num_train_clips=12,
        num_test_clips=6,
        batch_size=4,
        pretrain_steps=3,
        encoder_steps=3,
        variant_steps=2,
        adapter_steps=3,
        is_compiled=False,
        num_noises=1,
    ),
    "small": StudySettings(
        side_px=32,
        channels=8,
        num_heads=3,
        head_dim=32,
        num_blocks=4,
        num_train_clips=2400,
        num_test_clips=60,
        batch_size=16,
        pretrain_steps=10_000,
        encoder_steps=14_000,
        variant_steps=2_000,
        adapter_steps=400,
    ),
    "full": StudySettings(
        side_px=128,
        channels=32,
        num_heads=8,
        head_dim=64,
        num_blocks=12,
        num_train_clips=20_000,
        num_test_clips=300,
        batch_size=64,
        pretrain_steps=30_000,
        encoder_steps=30_000,
        variant_steps=10_000,
        adapter_steps=4_000,
        learning_rate=1e-3,
        num_noises=3,
        device="cuda",
    ),
}
"""`tiny` shows in seconds that every line runs; its figures mean nothing."""
