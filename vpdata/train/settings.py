"""One YAML file of `configs/train/`: what is trained, on what, for how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vpdata.backbones.context_encoder import ContextEncoderSettings
from vpdata.backbones.identity_adapter import IdentitySettings
from vpdata.backbones.injector import InjectionSettings
from vpdata.backbones.settings import BackboneSettings
from vpdata.train.checkpoints import CheckpointSettings
from vpdata.train.data import DataSettings
from vpdata.train.id_adapter import Scheme
from vpdata.train.loss import LossSettings
from vpdata.train.metrics import WatchSettings
from vpdata.train.parallel import ParallelSettings
from vpdata.train.schedule import OptimizerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySettings:
    """Of `--launcher ray` only."""

    num_workers: int = 1
    """Processes, each with one GPU unless backbone.device is cpu."""
    cpus_per_worker: float = 4
    max_failures: int = 3
    """How often workers are started again that were lost, or whose storage failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """A training of one stage."""

    stage: Literal["context_encoder", "id_adapter"] = "context_encoder"
    output: str
    """Folder that every process can write to; a training that was interrupted goes on from what is in it."""
    num_steps: int
    """Optimizer steps of the whole training; the learning rate is at zero behind the last."""
    stop_at_step: int | None = None
    """Save and stop before this step; the training goes on when this is taken away or raised."""
    data: DataSettings
    seed: int = 42
    """Decides data order, noise, timesteps and caption drop-out; 0 or more."""
    max_bad_steps: int = 10
    """Steps in a row whose loss or gradient is no number, after which training gives up; each is skipped."""
    backbone: BackboneSettings
    encoder: ContextEncoderSettings = field(default_factory=ContextEncoderSettings)
    """Of the stage context_encoder."""
    injection: InjectionSettings = field(default_factory=InjectionSettings)
    """Of the stage context_encoder."""
    start_from: str | None = None
    """Folder of a trained context encoder, whose weights the stage context_encoder starts from; its backbone, `encoder`
    and `injection` must be the same. Null: from copies of the backbone's blocks."""
    context_encoder: str | None = None
    """Folder that the stage context_encoder wrote; the stage id_adapter starts from it."""
    identity: IdentitySettings = field(default_factory=IdentitySettings)
    """Of the stage id_adapter."""
    identity_scheme: Scheme = "other_window"
    """Of the stage id_adapter."""
    loss: LossSettings = field(default_factory=LossSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    parallel: ParallelSettings = field(default_factory=ParallelSettings)
    checkpoints: CheckpointSettings = field(default_factory=CheckpointSettings)
    watch: WatchSettings = field(default_factory=WatchSettings)
    ray: RaySettings = field(default_factory=RaySettings)

    def __post_init__(self) -> None:
        if self.num_steps < 1 or self.max_bad_steps < 1:
            raise ValueError(
                f"got num_steps {self.num_steps} and max_bad_steps {self.max_bad_steps}, wanted 1 or more of each"
            )
        if self.seed < 0:
            raise ValueError(f"got seed {self.seed}, wanted 0 or more")
        if (self.stage == "id_adapter") != (self.context_encoder is not None):
            raise ValueError(
                f"got the stage {self.stage} with context_encoder {self.context_encoder}: the stage id_adapter, and "
                "no other, starts from the folder of a trained context encoder"
            )
        self._refuse_what_the_other_stage_reads()
        if self.stage == "id_adapter" and self.backbone.expert == "high_noise":
            raise ValueError(
                "got backbone.expert high_noise in the stage id_adapter, wanted low_noise: identity is read from "
                "nearly clean latents, which the expert for high noise never sees"
            )
        if self.stage == "id_adapter" and self.parallel.compile:
            raise ValueError(
                "got parallel.compile in the stage id_adapter, wanted none: each sample has another number of identity "
                "tokens, and blocks would be compiled for each"
            )
        if "://" in self.output:
            raise ValueError(f"got output {self.output}, wanted a folder on a disk that all processes share")

    def _refuse_what_the_other_stage_reads(self) -> None:
        """ValueError for a setting that this stage would take and ignore."""
        if self.stage == "id_adapter":
            foreign = {"encoder": ContextEncoderSettings(), "injection": InjectionSettings(), "start_from": None}
            why = "its encoder is the one in context_encoder, as that was trained"
        else:
            foreign = {"identity": IdentitySettings(), "identity_scheme": "other_window"}
            why = "the stage id_adapter alone reads it"
        for name, default in foreign.items():
            if getattr(self, name) != default:
                raise ValueError(f"got {name} in the stage {self.stage}, wanted none: {why}")
