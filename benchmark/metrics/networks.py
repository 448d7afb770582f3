"""The networks that metrics need, opened once; what is not here is named with the command that fetches it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmark.metrics.settings import ClipChoice, ScoreSettings
from benchmark.metrics.temporal import FLOW
from vpdata.config import public
from vpdata.errors import BackendError
from vpdata.extras import how_to_install
from vpdata.models.weights import Wanted, fetched_revision, is_path, locked, refuse_missing, weights_folder

if TYPE_CHECKING:
    import torch

    from benchmark.metrics.features import VideoFeatures
    from benchmark.metrics.lpips import Lpips
    from vpdata.models.openclip.loading import ClipModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """None for a network that is not here."""

    lpips: Lpips | None = None
    clip: ClipModel | None = None
    consistency: ClipModel | None = None
    """Of `temporal_consistency`; another one than `clip` under the paper's protocol only."""
    fvid: VideoFeatures | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    """Metric to why it cannot be measured, with the command that helps."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Metric to what it is measured with, revision included."""


def open_networks(settings: ScoreSettings) -> Networks:
    """Load what is here. BackendError for weights that are here but damaged, or of another architecture or revision."""
    wanted = _wanted(settings)
    missing = {metric: why for metric, weights in wanted.items() if (why := _why_missing(weights))}
    names = {metric: ", ".join(map(_named, weights)) for metric, weights in wanted.items()}
    return Networks(
        lpips=None if "lpips" in missing else _open_lpips(settings),
        clip=None if "clip_similarity" in missing else _open_clip(settings.clip, settings),
        consistency=None if "temporal_consistency" in missing else _open_clip(_consistency(settings), settings),
        fvid=None if "fvid" in missing else _open_fvid(settings),
        missing=missing,
        models={**names, "fvid": f"{fvid_network(settings)}: {names['fvid']}", "warping_error": FLOW},
    )


def fvid_network(settings: ScoreSettings) -> str:
    """The network and, where it is not the default, the protocol: what a folder of features is called.

    Each protocol is scored with its own dilations, so neither may overwrite what the other's report reads.
    """
    return settings.fvid.network if settings.protocol == "clean" else f"{settings.fvid.network}-{settings.protocol}"


def _consistency(settings: ScoreSettings) -> ClipChoice:
    return settings.paper_consistency if settings.protocol == "paper" else settings.clip


def _wanted(settings: ScoreSettings) -> dict[str, list[Wanted]]:
    consistency, clip = ([(one.weights, one.revision)] for one in (_consistency(settings), settings.clip))
    return {
        "lpips": [(settings.lpips.trunk_weights, None), (settings.lpips.head_weights, None)],
        "clip_similarity": clip,
        **({"masked_clip_similarity": clip} if settings.protocol == "paper" else {}),
        "temporal_consistency": consistency,
        "fvid": [(settings.fvid.weights, settings.fvid.revision)],
    }


def _why_missing(weights: Sequence[Wanted]) -> str | None:
    if find_spec("torch") is None or find_spec("open_clip") is None:
        return f"it needs packages that are not installed; {how_to_install('bench')}"
    # Of any revision: weights of another one than was asked for are a mistake in the settings, not missing.
    if absent := [one for one in weights if not is_path(one[0]) and fetched_revision(one[0]) is None]:
        try:
            refuse_missing(absent)
        except BackendError as error:
            return str(error)
    return None


def _named(wanted: Wanted) -> str:
    """With the commit that was fetched, or what the files of the user's own folder hash to."""
    revision = fetched_revision(*wanted) or (_content_of(wanted[0]) if is_path(wanted[0]) else "missing")
    return f"{public(wanted[0])}@{revision[:12]}"


def _content_of(path: str) -> str:
    folder = weights_folder(path)
    files = locked(folder, folder.names(".safetensors"))
    return hashlib.sha256(repr(sorted((name, file.sha256) for name, file in files.items())).encode()).hexdigest()


def _device(settings: ScoreSettings) -> torch.device:
    import torch

    from vpdata.models.gpu import torch_device

    # By default a GPU rounds the inputs of convolutions to 10 bits, and scores would hang on where they were computed.
    torch.backends.cudnn.allow_tf32 = False
    return torch_device(settings.device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _open_lpips(settings: ScoreSettings) -> Lpips:
    from benchmark.metrics.lpips import Lpips

    choice = settings.lpips
    return Lpips(
        choice.trunk,
        trunk_weights=choice.trunk_weights,
        head_weights=choice.head_weights,
        device=_device(settings),
    )


def _open_clip(choice: ClipChoice, settings: ScoreSettings) -> ClipModel:
    from vpdata.models.openclip.loading import load_clip

    device = "cuda" if _device(settings).type == "cuda" else "cpu"
    return load_clip(choice.weights, choice.revision, device=device, dtype="float32")


def _open_fvid(settings: ScoreSettings) -> VideoFeatures:
    from benchmark.metrics.features import VideoFeatures

    choice = settings.fvid
    network = "i3d-paper" if settings.protocol == "paper" and choice.network == "i3d" else choice.network
    return VideoFeatures(network, weights=choice.weights, revision=choice.revision, device=_device(settings))
