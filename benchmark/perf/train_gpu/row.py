"""One row: a training of some steps by the trainer itself, and what its log says of them."""

from __future__ import annotations

import json
import statistics
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmark.perf.train_gpu.backbones import PUBLISHED, TINY_WINDOW, random_backbone
from benchmark.perf.train_gpu.latents import write_random_latents
from benchmark.perf.train_gpu.table import Measured
from vpdata.backbones.flops import encoder_step_flops
from vpdata.backbones.settings import BackboneSettings
from vpdata.models.gpu import torch_dtype
from vpdata.train.captions import TextSettings
from vpdata.train.checkpoints import CheckpointSettings
from vpdata.train.data import DataSettings
from vpdata.train.latent_batches import latent_batches
from vpdata.train.metrics import WatchSettings
from vpdata.train.parallel import ParallelSettings
from vpdata.train.planned import LoaderSettings
from vpdata.train.settings import TrainSettings
from vpdata.train.train import fit
from vpdata.train.world import joined_world

ROWS: Mapping[str, ParallelSettings] = {
    "eager": ParallelSettings(),
    "compiled": ParallelSettings(compile=True),
    "checkpoints": ParallelSettings(checkpoint_every=1, checkpoint_encoder=True),
    "compiled-checkpoints": ParallelSettings(compile=True, checkpoint_every=1, checkpoint_encoder=True),
}
NUM_WARM_UP = 3
"""Steps that are not measured: they compile, choose kernels and fill the allocator's pools."""


def measure(row: str, *, name: str, is_tiny: bool, num_steps: int, folder: Path) -> Measured:
    """Called in a process of its own, which the figure of the memory is about.

    RuntimeError if a step was left out because its loss was no number.
    """
    settings = _settings(row, is_tiny=is_tiny, num_steps=NUM_WARM_UP + num_steps, folder=folder)
    window = TINY_WINDOW if is_tiny else PUBLISHED[name].window
    try:
        with joined_world(settings.backbone.device) as world:
            backbone = random_backbone(
                name, is_tiny=is_tiny, device=world.device, dtype=torch_dtype(settings.backbone.dtype)
            )
            if world.device.type == "cuda":
                # The weights were made in float32, which is not the training's memory.
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats(world.device)
            # One epoch: at the start of another nothing is loaded ahead.
            dataset = write_random_latents(folder / "latents", backbone, window, num_windows=settings.num_steps)
            batches = latent_batches(
                dataset,
                text=TextSettings(),
                empty_text=torch.zeros(backbone.spec.text_length, backbone.spec.text_dim, dtype=torch.bfloat16),
                text_length=backbone.spec.text_length,
                loader=settings.data.loader,
                seed=settings.seed,
            )
            fit(
                settings,
                backbone=backbone,
                fingerprint=dataset.fingerprint,
                batches=batches,
                validation=None,
                world=world,
                stop=threading.Event(),
            )
            device = "CPU" if world.device.type == "cpu" else torch.cuda.get_device_name(world.device)
    except torch.cuda.OutOfMemoryError:
        return Measured(backbone=name, row=row, device=torch.cuda.get_device_name(), is_tiny=is_tiny)
    flops = encoder_step_flops(
        backbone.spec,
        backbone.transformer.config,  # pyright: ignore[reportArgumentType]  every model of diffusers has one
        backbone.spec.latent_shape(*window),
        num_layers=settings.encoder.num_layers,
        injection=settings.injection,
    )
    steps = _logged(folder / "training/metrics.jsonl")
    if len(steps) != settings.num_steps:
        raise RuntimeError(f"got {len(steps)} logged steps, wanted {settings.num_steps}: the loss was no number")
    measured = steps[NUM_WARM_UP:]
    took_s = sum(step["step_s"] for step in measured)
    return Measured(
        backbone=name,
        row=row,
        device=device,
        is_tiny=is_tiny,
        num_steps=len(measured),
        step_s=statistics.median(step["step_s"] for step in measured),
        slowest_s=max(step["step_s"] for step in measured),
        data_wait_frac=sum(step["step_s"] * step["data_wait_frac"] for step in measured) / took_s,
        peak_gb=measured[-1]["peak_memory_gb"],
        step_flops=flops.model,
    )


def _settings(row: str, *, is_tiny: bool, num_steps: int, folder: Path) -> TrainSettings:
    """Those of `configs/train/context_encoder.yaml` at one sample a step, on one process."""
    return TrainSettings(
        output=str(folder / "training"),
        num_steps=num_steps,
        # The weights are made here and never looked up by this name.
        backbone=BackboneSettings(
            weights="random", device="cpu" if is_tiny else "cuda", dtype="float32" if is_tiny else "bfloat16"
        ),
        data=DataSettings(latents=str(folder / "latents"), split="none", loader=LoaderSettings(batch_size=1)),
        parallel=ROWS[row],
        checkpoints=CheckpointSettings(every_steps=num_steps),
        watch=WatchSettings(log_every_steps=1, validation_steps=0),
    )


def _logged(file: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line["kind"] == "train"]
