"""One training from its settings to its output, on whatever processes call it together."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import torch
import yaml

from vpdata import __version__
from vpdata.backbones.port import Backbone
from vpdata.config import public, to_plain
from vpdata.errors import ConfigError, RunError
from vpdata.models.gpu import torch_dtype
from vpdata.train.batch import Batches
from vpdata.train.checkpoints import Checkpoints
from vpdata.train.loop import Loop, Outcome
from vpdata.train.metrics import MetricsLog
from vpdata.train.parallel import lay_out
from vpdata.train.settings import TrainSettings
from vpdata.train.trainee import Trainee, assert_only_trainable, context_encoder_trainee
from vpdata.train.world import World

_log = logging.getLogger(__name__)

_RUN = "run.yaml"
_MAY_CHANGE = ("output", "stop_at_step", "max_bad_steps", "parallel", "checkpoints", "watch", "data", "device")
"""Settings that another session of the same training may have otherwise: none of them decides what is learnt."""


def fit(
    settings: TrainSettings,
    *,
    backbone: Backbone,
    batches: Batches,
    validation: Batches | None,
    world: World,
    stop: threading.Event,
) -> Outcome:
    """Train from the newest checkpoint on, and write the trained part when all steps are done.

    Called by all ranks together, each with its own batches and the same backbone.
    """
    folder = Path(settings.output)
    world.agree_on_success(_prepare(folder, settings) if world.is_main else None, what=f"preparing {folder}")
    trainee = context_encoder_trainee(backbone, encoder=settings.encoder, injection=settings.injection)
    assert_only_trainable(trainee)
    model = lay_out(trainee, settings=settings.parallel, dtype=settings.backbone.dtype, world=world)
    loop = Loop(
        trainee=trainee,
        model=model,
        batches=batches,
        validation=validation,
        settings=settings,
        dtype=torch_dtype(settings.backbone.dtype),
        world=world,
        checkpoints=Checkpoints(folder / "checkpoints", settings=settings.checkpoints, world=world),
        log=MetricsLog(folder, settings=settings.watch, world=world),
        optimizer=_optimizer(trainee, settings),
        scaler=torch.amp.GradScaler(world.device.type, enabled=settings.backbone.dtype == "float16"),  # pyright: ignore[reportPrivateImportUsage]
        flops=lambda batch: 0.0,
    )
    return loop.run(stop)


def _optimizer(trainee: Trainee, settings: TrainSettings) -> torch.optim.AdamW:
    options = settings.optimizer
    return torch.optim.AdamW(
        trainee.parameters().values(),
        lr=options.learning_rate,
        betas=options.betas,
        weight_decay=options.weight_decay,
        fused=True,
    )


def _prepare(folder: Path, settings: TrainSettings) -> Exception | None:
    """Make the folder and write `run.yaml`; an error if it cannot be written to or belongs to another training."""
    path = folder / _RUN
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            wanted = yaml.safe_load(path.read_text())["settings"]
            changed = sorted(_differing(wanted, public(to_plain(settings))))
            if changed:
                return RunError(
                    f"{folder} holds a training with other settings of {', '.join(changed)}; go on with what its "
                    f"{_RUN} says, or choose another output"
                )
        facts = {"version": __version__, "torch": str(torch.__version__), "settings": public(to_plain(settings))}
        aside = folder / f".aside-{_RUN}"
        aside.write_text(yaml.safe_dump(facts, sort_keys=False))
        aside.replace(path)
    except OSError as error:
        return ConfigError(f"cannot write the training to {folder}: {error.strerror or error}")
    return None


def _differing(before: Any, now: Any, where: str = "") -> set[str]:
    """Dotted names of settings that decide what is learnt and are not the same."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in before | now if key not in _MAY_CHANGE]
        return {name for key in keys for name in _differing(before.get(key), now.get(key), f"{where}.{key}".strip("."))}
    # Tuples come back from YAML as lists.
    return set() if before == now else {where}
