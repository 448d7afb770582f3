"""The backbone without any trained part: at every step the known latents are put back (the paper's "Cog-Inp").

Latent replacement as in RePaint (Lugmayr et al. 2022, without its resampling): after each step the latents of cells
without a masked pixel become those of the video, as noisy as the rest is. Unlike the paper's, it sees the mask as
latent frames do, as the union over their frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from benchmark.methods.port import Kind, Prompts
from benchmark.methods.weights import of_backbone, of_first_frame
from benchmark.methods.windows import fill_in_windows
from benchmark.results import Frames
from vpdata.backbones.identity_adapter import IdentitySource
from vpdata.backbones.inpainting import Context, InpaintingBackbone
from vpdata.backbones.loading import load_backbone, load_codec, load_text_encoder, read_spec
from vpdata.backbones.port import Backbone, Conditions
from vpdata.backbones.settings import BackboneSettings
from vpdata.inpaint.any_length import Masks
from vpdata.inpaint.diffusion import DiffusionWindows, SamplingSettings
from vpdata.inpaint.first_frame import FirstFrameSettings, ModelFirstFrame
from vpdata.inpaint.fit import Size, model_size
from vpdata.inpaint.prompts import PromptEmbedder
from vpdata.inpaint.settings import BACKBONE, WindowSettings
from vpdata.models.gpu import torch_device


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneAloneSettings:
    """Which backbone, and how it is sampled."""

    backbone: BackboneSettings = field(default_factory=lambda: BackboneSettings(weights=BACKBONE))
    num_steps: int = 50
    guidance: float = 6.0
    """Scale of classifier-free guidance; 1 is none."""
    seed: int = 42
    vae_tiling: bool = False
    """Encode and decode frames in blended tiles: less memory, and slightly other pixels."""
    windows: WindowSettings = field(default_factory=WindowSettings)
    first_frame: FirstFrameSettings | None = None
    """Paints the first frame's hole for image-to-video backbones; None: the first frame must be given."""

    def __post_init__(self) -> None:
        self.sampling  # noqa: B018  checks the numbers

    @property
    def sampling(self) -> SamplingSettings:
        """With known latents kept."""
        return SamplingSettings(num_steps=self.num_steps, guidance=self.guidance, seed=self.seed, keep_known=True)


class BackboneAlone:
    """A `Method`."""

    def __init__(self, settings: BackboneAloneSettings) -> None:
        self._settings = settings
        self._model = _Uninstructed(load_backbone(settings.backbone))
        self._codec = load_codec(settings.backbone, tiled=settings.vae_tiling)
        self._embedder = PromptEmbedder(
            lambda: load_text_encoder(settings.backbone), device=torch_device(settings.backbone.device)
        )

    def inpaint(self, frames: Frames, masks: Masks, prompts: Prompts) -> Frames:
        settings, backbone = self._settings, self._model.backbone
        painter = None
        if settings.first_frame is not None and backbone.spec.takes_first_frame:
            painter = ModelFirstFrame(settings.first_frame, prompt=prompts.video)
        windows = DiffusionWindows(
            self._model,
            self._codec,
            self._embedder.prompts({0: prompts.video}),
            settings.sampling,
            first_frame=painter,
        )
        return fill_in_windows(
            windows,
            frames,
            masks,
            size=_size(Size(height_px=frames.shape[1], width_px=frames.shape[2]), backbone, settings.windows),
            settings=settings.windows,
            stride_t=backbone.spec.stride_t,
        )


class _Uninstructed(InpaintingBackbone):
    """The backbone in the place of one with a context encoder; it does not look at the context."""

    def __init__(self, backbone: Backbone) -> None:
        nn.Module.__init__(self)
        self.backbone = backbone
        self.identity = None

    def forward(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        conditions: Conditions,
        context: Context,
        source: IdentitySource | None = None,
    ) -> Tensor:
        return self.backbone.predict(noisy, timesteps, conditions)


def _size(video: Size, backbone: Backbone, settings: WindowSettings) -> Size:
    if backbone.only_size_px is None:
        return model_size(video, backbone.spec, area_px=settings.area_px)
    height, width = backbone.only_size_px
    return Size(height_px=height, width_px=width)


def _weights(settings: BackboneAloneSettings) -> Mapping[str, str]:
    return {**of_backbone(settings.backbone), **of_first_frame(settings.first_frame)}


def _needs_first_frame(settings: BackboneAloneSettings) -> bool:
    return settings.first_frame is None and read_spec(settings.backbone).takes_first_frame


KIND = Kind(settings=BackboneAloneSettings, load=BackboneAlone, weights=_weights, needs_first_frame=_needs_first_frame)
