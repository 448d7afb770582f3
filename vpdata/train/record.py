"""What a training was started with: the same in all its processes, and in `run.yaml` for sessions that go on."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from vpdata import __version__
from vpdata.backbones.saving import CONFIG_FILE, WEIGHTS_FILE
from vpdata.backbones.settings import BackboneSettings
from vpdata.config import fill, public, to_plain
from vpdata.dataset.split import identities
from vpdata.errors import ConfigError, RunError
from vpdata.models.weights import read_lock, weights_folder
from vpdata.storage import Folder
from vpdata.train.checkpoints import whole_steps
from vpdata.train.metrics import last_step
from vpdata.train.settings import TrainSettings
from vpdata.train.world import World

_log = logging.getLogger(__name__)

_FILE = "run.yaml"
_SPLITS = "splits"
"""Which files `data.split` named. Other ones bind nobody: what they hold out decides, and `windows` tells of that."""
_MAY_CHANGE = (
    "output",
    "stop_at_step",
    "max_bad_steps",
    "parallel",
    "checkpoints",
    "watch",
    "ray",
    "backbone.device",
    "data.latents",
    "data.run",
    "data.loader.micro_batch_size",
    "data.loader.num_threads",
    "data.loader.num_ahead",
    "data.loader.max_damaged_frac",
)
"""Settings that another session may have otherwise: none of them decides what is learnt."""
_MAY_CHANGE_WITH_A_NOTE = ("optimizer",)
"""They do decide, but a training that has diverged must be able to go on with a lower learning rate."""
_MAY_DIFFER = ("output", "data.latents", "data.run", "data.loader.num_threads", "data.loader.num_ahead")
"""Settings that processes of one training may have otherwise: where a machine finds the same data, how it reads."""
_STAGES = ("context_encoder", "id_adapter")
"""What a finished training leaves is in a folder named by its stage."""


def refuse_differing_settings(settings: TrainSettings, *, world: World) -> None:
    """RunError unless all processes have the same settings and code. Called by all ranks together."""
    _refuse_differing({"code": _code(), "settings": _public(settings)}, world)


def claim(settings: TrainSettings, *, facts: Mapping[str, str], world: World) -> None:
    """Make the output folder and write `run.yaml`, or check that what was trained there is the same training.

    `facts` decide what is learnt too, beside the settings and the files that they name. ConfigError for a folder that
    cannot be written to, RunError for that of another training, and where ranks differ. Called by all ranks together.
    """
    folder = Path(settings.output)
    with world.together("reading what decides the training"):
        now = _now(settings, facts)
    _refuse_differing(now, world)
    with world.together(f"preparing {folder}"):
        if not world.is_main:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / _FILE).exists():
                if _has_trained(folder):
                    _refuse_another(folder, now)
                else:
                    _log.info("%s holds a training that came to nothing, and is taken for this one", folder)
            aside = folder / f".aside-{_FILE}"
            recorded = {"code": _code(), _SPLITS: identities(settings.data.splits), **now}
            aside.write_text(yaml.safe_dump(recorded, sort_keys=False))
            aside.replace(folder / _FILE)
        except OSError as error:
            raise ConfigError(f"cannot write the training to {folder}: {error.strerror or error}") from error


def check_same(settings: TrainSettings, *, facts: Mapping[str, str]) -> None:
    """RunError unless the output folder holds the training of these settings, or part of it."""
    folder = Path(settings.output)
    _recorded(folder)
    _refuse_another(folder, _now(settings, facts))


def check_settings(settings: TrainSettings) -> None:
    """As `check_same`, for a process that does not look at the windows."""
    recorded = _recorded(Path(settings.output))
    check_same(settings, facts={"windows": recorded["windows"]})


def recorded_splits(output: Path) -> list[dict[str, str]] | None:
    """`identities` of the splits of the training in a folder; None where that is not known."""
    return _recorded(output).get(_SPLITS) if (output / _FILE).exists() else None


def _refuse_differing(facts: Mapping[str, Any], world: World) -> None:
    """RunError, on all ranks the same, that names what differs on the first rank that is unlike the main one."""
    wanted, *others = world.of_all(facts)
    for rank, got in enumerate(others, start=1):
        if changed := _differing(wanted, got, free=_MAY_DIFFER):
            raise RunError(
                f"rank {rank} does not train what rank 0 does: {', '.join(sorted(changed.values()))}; start all "
                "processes with the same code, settings and data"
            )


def _has_trained(folder: Path) -> bool:
    """Whether a training in this folder came to anything: what failed before its first checkpoint owns no folder.

    Its metrics tell too, of checkpoints on a disk that is not there now.
    """
    if whole_steps(folder / "checkpoints") or any((folder / stage).exists() for stage in _STAGES):
        return True
    return last_step(folder) > _recorded(folder)["settings"]["checkpoints"]["every_steps"]


def _recorded(folder: Path) -> dict[str, Any]:
    if not (folder / _FILE).exists():
        raise RunError(f"{folder} holds no training: it has no {_FILE}")
    return yaml.safe_load((folder / _FILE).read_text())


def _refuse_another(folder: Path, now: Mapping[str, Any]) -> None:
    before = _recorded(folder)
    # Filled in, so that a setting that is new since then is taken for its default.
    before.pop("code")
    before.pop(_SPLITS, None)
    before["settings"] = _public(fill(TrainSettings, before["settings"], where=f"{folder}/{_FILE}"))
    changed = _differing(before, now, free=_MAY_CHANGE)
    for name in [name for name in changed if name.split(".")[0] in _MAY_CHANGE_WITH_A_NOTE]:
        _log.warning("going on with another setting: %s", changed.pop(name))
    if changed:
        longer = "; to train on behind its last step, start another training from it: start_from"
        raise RunError(
            f"{folder} holds another training: {', '.join(sorted(changed.values()))}; go on with what its {_FILE} "
            f"says, or choose another output{longer if 'num_steps' in changed else ''}"
        )


def _now(settings: TrainSettings, facts: Mapping[str, str]) -> dict[str, Any]:
    """What `run.yaml` holds. Paths are there by their last part only, so what they lead to is told by its content."""
    now = {"settings": _public(settings), **facts, "transformer": _transformer(settings.backbone)}
    for name in ("context_encoder", "start_from"):
        folder: str | None = getattr(settings, name)
        if folder is not None:
            now[f"{name}_sha256"] = hashlib.sha256(_encoder_weights(name, folder)).hexdigest()
    return now


def _encoder_weights(name: str, folder: str) -> bytes:
    """ConfigError for a folder that no training of an encoder has finished."""
    files = Folder(folder)
    if not files.exists(CONFIG_FILE):
        inner = files.child("context_encoder")
        where = inner.uri if inner.exists(CONFIG_FILE) else "such as runs/context_encoder/context_encoder"
        raise ConfigError(
            f"{name}: got {folder}, which has no {CONFIG_FILE}, wanted the folder that a finished stage "
            f"context_encoder wrote in its output: {where}"
        )
    return files.read(WEIGHTS_FILE)


def _transformer(backbone: BackboneSettings) -> str | None:
    """16 hex of the frozen transformers: their hashes in the lock file, or else configs and sizes of their files.

    None for a tiny backbone, which follows from its settings.
    """
    if backbone.tiny is not None:
        return None
    assert backbone.weights is not None
    files = weights_folder(backbone.weights, backbone.revision)
    parts = ("transformer", "transformer_2")
    if lock := read_lock(files):
        facts = {name: one.sha256 for name, one in lock.files.items() if name.split("/")[0] in parts}
    else:
        facts = {part: _described(files.child(part)) for part in parts}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _described(part: Folder) -> dict[str, str | int]:
    configs: dict[str, str | int] = {name: part.read(name).decode() for name in part.names(".json")}
    return configs | {name: part.size(name) for name in part.names(".safetensors")}


def _code() -> dict[str, str]:
    return {"vpdata": __version__, "torch": str(torch.__version__)}


def _public(settings: TrainSettings) -> dict[str, Any]:
    return public(to_plain(settings))


def _differing(before: Mapping[str, Any], now: Mapping[str, Any], *, free: tuple[str, ...]) -> dict[str, str]:
    """What is not the same but for settings that are `free`, by name: "name got ..., wanted ..."."""
    old, new = dict(_leaves(before)), dict(_leaves(now))
    names = [
        name
        for name in old | new
        if not any(f"{name}.".startswith(f"settings.{one}.") for one in free) and old.get(name) != new.get(name)
    ]
    plain = {name: name.removeprefix("settings.") for name in names}
    return {plain[name]: f"{plain[name]} got {new.get(name)}, wanted {old.get(name)}" for name in names}


def _leaves(node: Any, where: str = "") -> list[tuple[str, Any]]:
    if not isinstance(node, Mapping):
        return [(where, node)]
    return [leaf for key, value in node.items() for leaf in _leaves(value, f"{where}.{key}".strip("."))]
