"""Starting a training: in this process, which torchrun or Slurm may have started many times, or on a Ray cluster."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from vpdata.config import fill, to_plain
from vpdata.errors import BackendError, ConfigError, RunError, StorageError, VpdataError
from vpdata.ray_init import join_ray, start_ray
from vpdata.train.loop import Outcome
from vpdata.train.settings import TrainSettings
from vpdata.train.train import train

_log = logging.getLogger(__name__)

Launcher = Literal["env", "ray"]


def launch(settings: TrainSettings, *, launcher: Launcher = "env") -> Outcome:
    """Train to the end or to a stop. "env": as one of the processes that torchrun or `srun` started, or alone."""
    return train(settings) if launcher == "env" else _train_on_ray(settings)


def _train_on_ray(settings: TrainSettings) -> Outcome:
    """The same `train` in each worker of Ray Train.

    The cluster is that of RAY_ADDRESS or of the job that this runs in, or else one on this machine. Lost workers are
    started again and go on from the newest checkpoint of ours: Ray keeps none.
    """
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    settings = replace(settings, output=str(Path(settings.output).resolve()))
    is_ours = not ray.is_initialized()
    if is_ours:
        _join_or_start()
    try:
        result = TorchTrainer(
            _worker,
            train_loop_config={"folder": os.getcwd(), "settings": to_plain(settings)},
            scaling_config=ScalingConfig(
                num_workers=settings.ray.num_workers,
                use_gpu=settings.backbone.device == "cuda",
                resources_per_worker={"CPU": settings.ray.cpus_per_worker},
            ),
            run_config=RunConfig(
                storage_path=str(Path(settings.output, "ray")),
                failure_config=FailureConfig(max_failures=settings.ray.max_failures),
            ),
        ).fit()
    except TrainingFailedError as error:
        raise BackendError(f"the training failed on Ray {settings.ray.max_failures + 1} times: {error}") from error
    finally:
        if is_ours:
            ray.shutdown()
    answer = result.return_value
    assert isinstance(answer, dict)
    if "error" in answer:
        raise RunError(answer["error"])
    return Outcome(answer["outcome"])


def _worker(config: dict[str, Any]) -> dict[str, str]:
    """`config`: plain settings, since Ray makes its own copy of dataclasses and fails at those with slots, and the
    `folder` from which relative paths are meant: Ray starts workers elsewhere.

    Our own errors are answers: they would come again, and Ray would start all workers again for them. Not so those of
    the storage, which may pass.
    """
    folder = config["folder"]
    if os.path.isdir(folder):
        os.chdir(folder)
    else:
        _log.warning(
            "%s, where the training was started, is not on this node: relative paths name nothing here", folder
        )
    try:
        return {"outcome": str(train(fill(TrainSettings, config["settings"])))}
    except StorageError:
        raise
    except VpdataError as error:
        return {"error": str(error)}


def _join_or_start() -> None:
    if address := os.environ.get("RAY_ADDRESS"):
        try:
            join_ray(address)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(f"cannot join the Ray cluster at RAY_ADDRESS={address}: {error}") from error
        return
    start_ray()
