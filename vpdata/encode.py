"""Encoding a run from one config: what `vpdata encode` and `pipelines/encode_latents.py` share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vpdata import config as configs
from vpdata.backbones.settings import BackboneSettings
from vpdata.config import to_plain
from vpdata.dataset.latents import LatentFacts
from vpdata.dataset.split import read_split
from vpdata.dataset.unsplit import warn_of_unsplit
from vpdata.engine import EngineSettings
from vpdata.engine.encode import EncodeSummary, encode_run
from vpdata.options import EncodeOptions
from vpdata.stages.encode import Encode, EncodeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeData:
    """Which clips are encoded, and in what portions."""

    split: str
    """Uri of the benchmark's list of what is held out (see `vpdata.dataset.split`), or "none"."""
    clips_per_shard: int = 32
    """A shard is one piece of work: with the default windows about 20 to 30 MB a clip."""

    def __post_init__(self) -> None:
        if self.clips_per_shard < 1:
            raise ValueError(f"clips_per_shard: got {self.clips_per_shard}, wanted at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeConfig:
    """One YAML file such as `configs/train/encode.yaml`."""

    backbone: BackboneSettings
    data: EncodeData
    encode: EncodeSettings = field(default_factory=EncodeSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    """Its settings of parts, shards and duplicates have no meaning here."""


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> EncodeConfig:
    """The settings in a YAML file with `--set` overrides applied."""
    return configs.fill(EncodeConfig, configs.with_overrides(configs.read_yaml(path), overrides))


def run(options: EncodeOptions, config: EncodeConfig) -> EncodeSummary:
    """Encode until every clip has its windows or its reason."""
    stage = Encode(config.encode, config.backbone)
    spec = stage.spec
    facts = LatentFacts(
        fingerprint=stage.fingerprint,
        family=spec.family,
        latent_channels=spec.latent_channels,
        stride_t=spec.stride_t,
        stride_px=spec.stride_px,
        text_dim=spec.text_dim,
        takes_first_frame=spec.takes_first_frame,
    )
    weights = config.backbone.weights
    warn_of_unsplit([options.run_uri], [config.data.split])
    return encode_run(
        options.run_uri,
        options.output_uri,
        stage=stage,
        facts=facts,
        split=read_split(config.data.split),
        clips_per_shard=config.data.clips_per_shard,
        engine=config.engine,
        config=to_plain(config),
        weights=[] if weights is None else [(weights, config.backbone.revision)],
        kind=options.engine,
        redo=options.redo,
    )
