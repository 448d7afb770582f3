"""The rows of `ablation.yaml`, and the methods that they are with the trained parts that are here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.bench import Subset
from benchmark.methods.settings import MethodSettings
from benchmark.report.published import NUM_COLUMNS
from benchmark.studies.altered_masks import MaskAlteration
from vpdata.backbones.identity_saving import CONFIG_FILE as ADAPTER_FILE
from vpdata.backbones.saving import CONFIG_FILE as ENCODER_FILE
from vpdata.config import fill, read_yaml
from vpdata.errors import BackendError
from vpdata.inpaint.settings import InpaintSettings, with_trained
from vpdata.models.weights import fetched_revision, is_path, refuse_missing

TABLE = Path(__file__).with_name("ablation.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """What the paper got."""

    table: str
    values: tuple[float, ...]
    """As in `benchmark.report.published.Quoted`."""

    def __post_init__(self) -> None:
        if len(self.values) != NUM_COLUMNS:
            raise ValueError(f"got {len(self.values)} values, wanted {NUM_COLUMNS}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationRow:
    """One row of the study."""

    label: str
    subset: Subset
    encoder: str | None = None
    """Folder inside the folder of trained parts."""
    id_adapter: str | None = None
    train: str | None = None
    """The setting under which `vpdata train` makes this encoder; None: the defaults."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Over the settings of `vpdata inpaint` that all rows share."""
    masks: MaskAlteration | None = None
    unavailable: str | None = None
    """Why no weights can fill this row."""
    published: PublishedRow

    def __post_init__(self) -> None:
        if (self.encoder is None) == (self.unavailable is None):
            raise ValueError("got encoder and unavailable, or none of the two; wanted exactly one")


def read_rows(path: str | Path = TABLE) -> dict[str, AblationRow]:
    """Rows by name, in their order. ConfigError for what is unknown or wrong."""
    return {name: fill(AblationRow, row, where=f"{path}: {name}") for name, row in read_yaml(path).items()}


def method_of(
    row: AblationRow, shared: Mapping[str, Any], trained: Path, run_in: MethodSettings
) -> MethodSettings | str:
    """The method that the row is, run as `run_in` says; or which weights are missing, and how they are made."""
    if row.encoder is None:
        return row.unavailable or ""
    if not (trained / row.encoder / "context_encoder" / ENCODER_FILE).is_file():
        return _how_to_train("context_encoder", row.train, trained / row.encoder)
    if row.id_adapter and not (trained / row.id_adapter / "id_adapter" / ADAPTER_FILE).is_file():
        return _how_to_train("id_adapter", None, trained / row.id_adapter)
    options = with_trained({**shared, **row.options}, str(trained / row.encoder))
    options |= {"id_adapter": None}
    if row.id_adapter is not None:
        options["id_adapter"] = str(trained / row.id_adapter / "id_adapter")
    settings = fill(InpaintSettings, options, where="options")
    weights = settings.backbone.weights
    if weights is not None and not is_path(weights) and fetched_revision(weights) is None:
        try:
            refuse_missing([(weights, settings.backbone.revision)])
        except BackendError as error:
            return str(error)
    return MethodSettings(
        kind="vpdata",
        options=options,
        give_first_frame=run_in.give_first_frame,
        cpus=run_in.cpus,
        gpus=run_in.gpus,
        workers=run_in.workers,
    )


def _how_to_train(stage: str, setting: str | None, folder: Path) -> str:
    given = f" --set {setting}" if setting else ""
    return f"no weights in {folder}; vpdata train --config configs/train/{stage}.yaml{given} --set output={folder}"
