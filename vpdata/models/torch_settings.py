"""Options that models on torch share, and what a run says about such a model. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from vpdata.config import public, to_plain
from vpdata.models.catalogue import licence_of
from vpdata.models.ports import ModelCard
from vpdata.models.weights import fetched_revision

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

    def weights_card(self, role: str, *, name: str, package: str, options: Mapping[str, object]) -> ModelCard:
        """A card with the weights' id, or the last part of their path, and the version of the package that opens them.

        The revision is what was fetched; before that what is asked for, "local" where nothing is. PackageNotFoundError
        where the package is not installed.
        """
        return ModelCard(
            role=role,
            name=name,
            revision=fetched_revision(self.weights, self.revision) or self.revision or "local",
            licence=self.licence or licence_of(self.weights) or "unknown; the option `licence` may say",
            source=f"{public(self.weights)}, {package} {version(package)}",
            options=public(options),
        )
