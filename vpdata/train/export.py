"""The trained part as of a checkpoint, in the folder that a finished training leaves."""

from __future__ import annotations

from pathlib import Path

from vpdata.backbones.loading import fingerprint, load_backbone
from vpdata.errors import ConfigError, RunError
from vpdata.train.checkpoints import load_trained, whole_steps
from vpdata.train.record import check_settings
from vpdata.train.settings import TrainSettings
from vpdata.train.train import open_trainee


def export_step(settings: TrainSettings, step: int, folder: Path) -> None:
    """Write to `folder` what the training would have left, had `step` been its last; the training may go on meanwhile.

    RunError where there is no whole checkpoint of that step, or one of another training; ConfigError for a folder that
    holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"got --export-to {folder}, which is not empty, wanted a new folder: nothing is overwritten")
    check_settings(settings)
    checkpoints = Path(settings.output, "checkpoints")
    trainee = open_trainee(settings, load_backbone(settings.backbone), fingerprint(settings.backbone))
    if step not in whole_steps(checkpoints) or not load_trained(checkpoints, step, trainee):
        raise RunError(f"{checkpoints} has no checkpoint of step {step}, only of {whole_steps(checkpoints)}")
    trainee.save(folder, {name: value.detach().cpu() for name, value in trainee.parameters().items()})
