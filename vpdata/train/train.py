"""One training from its settings to its output, on whatever processes call it together."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from vpdata.backbones.injector import schedule
from vpdata.backbones.loading import fingerprint, load_backbone, read_spec
from vpdata.backbones.port import Backbone
from vpdata.backbones.saving import load_context_encoder, parameter_share
from vpdata.dataset.lease import LeaseProof
from vpdata.models.gpu import torch_dtype
from vpdata.train.batch import Batches
from vpdata.train.checkpoints import Checkpoints
from vpdata.train.data import open_data
from vpdata.train.id_adapter import id_adapter_trainee
from vpdata.train.loop import Loop, Outcome
from vpdata.train.metrics import MetricsLog
from vpdata.train.output import held_output
from vpdata.train.parallel import lay_out, refuse_dtype
from vpdata.train.record import claim, recorded_splits, refuse_differing_settings
from vpdata.train.settings import TrainSettings
from vpdata.train.stopping import stop_requests
from vpdata.train.trainee import Trainee, assert_only_trainable, context_encoder_trainee
from vpdata.train.world import World, joined_world

_log = logging.getLogger(__name__)


def train(settings: TrainSettings) -> Outcome:
    """Train, or go on training, in every process that calls this together; a process group that exists is used.

    The output folder then holds checkpoints, `metrics.jsonl`, and after the last step the trained part. A SIGTERM to
    any process saves and stops them all.
    """
    spec = read_spec(settings.backbone)  # names weights that are missing before anybody waits, and makes a tiny one
    if settings.stage == "context_encoder":  # before an output is claimed that no other depth could go on with
        schedule(settings.injection, num_blocks=spec.num_blocks, num_hints=settings.encoder.num_layers)
    with (
        stop_requests() as stop,
        joined_world(settings.backbone.device) as world,
        held_output(Path(settings.output), world=world) as lease,
    ):
        refuse_differing_settings(settings, world=world)
        refuse_dtype(settings.backbone.dtype, device=world.device, mode=settings.parallel.mode)
        data = open_data(
            settings.data,
            backbone=settings.backbone,
            output=Path(settings.output),
            pairs=settings.stage == "id_adapter",
            seed=settings.seed,
            world=world,
        )
        claim(settings, facts={"windows": data.digest}, world=world)
        with world.together("opening the backbone"):
            backbone = load_backbone(settings.backbone)
        return fit(
            settings,
            backbone=backbone,
            fingerprint=fingerprint(settings.backbone),
            batches=data.train,
            validation=data.validation,
            world=world,
            stop=stop,
            lease=lease,
        )


def fit(
    settings: TrainSettings,
    *,
    backbone: Backbone,
    fingerprint: str,
    batches: Batches,
    validation: Batches | None,
    world: World,
    stop: threading.Event,
    lease: LeaseProof | None = None,
) -> Outcome:
    """Train from the newest checkpoint on, and write the trained part when all steps are done.

    `fingerprint`: that of the VAE and text encoder behind the batches; `lease`: of the output folder, where it is held.
    Called by all ranks together, each with its own batches and the same backbone.
    """
    folder = Path(settings.output)
    with world.together("opening what is trained"):
        trainee = open_trainee(settings, backbone, fingerprint)
    assert_only_trainable(trainee)
    share = parameter_share(trainee.parameters().values(), backbone)
    _log.info(
        "%s: %d parameters are trained, %.2f %% of the backbone's", trainee.name, trainee.num_parameters, 100 * share
    )
    warmup_steps = settings.optimizer.warmup_steps
    if warmup_steps >= settings.num_steps:
        _log.warning(
            "optimizer.warmup_steps %d of num_steps %d: the learning rate never comes to its top, as in a trial",
            *(warmup_steps, settings.num_steps),
        )
    model = lay_out(trainee, settings=settings.parallel, dtype=settings.backbone.dtype, world=world)
    loop = Loop(
        trainee=trainee,
        model=model,
        batches=batches,
        validation=validation,
        settings=settings,
        dtype=torch_dtype(settings.backbone.dtype),
        world=world,
        checkpoints=Checkpoints(folder / "checkpoints", settings=settings.checkpoints, world=world, lease=lease),
        log=MetricsLog(folder, settings=settings.watch, world=world),
        optimizer=_optimizer(trainee, settings),
        scaler=torch.amp.GradScaler(world.device.type, enabled=settings.backbone.dtype == "float16"),  # pyright: ignore[reportPrivateImportUsage]
    )
    outcome = loop.run(stop)
    if outcome is Outcome.FINISHED:
        _save(trainee, folder / trainee.name, world=world)
    return outcome


def open_trainee(settings: TrainSettings, backbone: Backbone, fingerprint: str) -> Trainee:
    """What the stage trains, as it is before the first step."""
    splits = recorded_splits(Path(settings.output))
    if settings.context_encoder is None:
        return context_encoder_trainee(
            backbone,
            encoder=settings.encoder,
            injection=settings.injection,
            fingerprint=fingerprint,
            start_from=settings.start_from,
            splits=splits,
        )
    return id_adapter_trainee(
        load_context_encoder(settings.context_encoder, backbone, fingerprint=fingerprint),
        identity=settings.identity,
        scheme=settings.identity_scheme,
        seed=settings.seed,
        splits=splits,
    )


def _save(trainee: Trainee, folder: Path, *, world: World) -> None:
    """Write what was trained, gathered on the main process where it is sharded."""
    whole = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    tensors: dict[str, Any] = get_model_state_dict(trainee.trainable, options=whole)
    with world.together(f"writing {folder}"):
        if world.is_main:
            trainee.save(folder, tensors)


def _optimizer(trainee: Trainee, settings: TrainSettings) -> torch.optim.AdamW:
    options = settings.optimizer
    return torch.optim.AdamW(
        trainee.parameters().values(),
        lr=options.learning_rate,
        betas=options.betas,
        weight_decay=options.weight_decay,
        fused=True,
    )
