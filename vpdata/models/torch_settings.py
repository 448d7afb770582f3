"""Options that models on torch share, and what a run says about such a model. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from vpdata.config import public, to_plain
from vpdata.models.catalogue import licence_of
from vpdata.models.ports import ModelCard
from vpdata.models.weights import fetched_revision, hub_snapshot

Device = Literal["cuda", "cpu"]
Dtype = Literal["bfloat16", "float16", "float32"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedSettings:
    """Options of every model whose weights are fetched."""

    weights: str
    """Hub id, name in the catalogue, or the path of a folder of your own."""
    revision: str | None = None
    """Commit, branch or tag of the hub id; None: what was fetched."""
    licence: str | None = None
    """Of the weights, for the record; None: as the catalogue of `vpdata models list` says."""
    device: Device = "cuda"

    @property
    def asked(self) -> dict[str, object]:
        """For a card: the options that can change a result by more than rounding, and that it does not tell anyway."""
        told = {"weights", "revision", "licence", "device", "batch_size", "compile"}
        return {name: value for name, value in to_plain(self).items() if name not in told}

    @property
    def weights_name(self) -> str:
        """Hub id or name of the weights, of a folder in the hub's cache too; of any other the last part of its path."""
        snapshot = hub_snapshot(self.weights)
        return snapshot[0] if snapshot else public(self.weights)

    def weights_card(self, role: str, *, name: str, package: str, options: Mapping[str, object]) -> ModelCard:
        """A card with `weights_name`, and the version of the package that opens the weights.

        The revision is what was fetched, or of a folder in the hub's cache its commit; before that what is asked for,
        "local" where nothing is. PackageNotFoundError where the package is not installed.
        """
        hub_id, commit = hub_snapshot(self.weights) or (self.weights, "local")
        return ModelCard(
            role=role,
            name=name,
            revision=fetched_revision(self.weights, self.revision) or self.revision or commit,
            licence=self.licence or licence_of(hub_id) or "unknown; the option `licence` may say",
            source=f"{self.weights_name}, {package} {version(package)}",
            options=public(options),
        )
