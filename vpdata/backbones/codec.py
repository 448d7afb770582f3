"""The frozen VAEs: from pixels to the latents that a backbone was trained on, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from diffusers.models.autoencoders.autoencoder_kl_ltx import AutoencoderKLLTXVideo
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch import Tensor
from transformers import BaseImageProcessor, CLIPVisionModel

from vpdata.backbones.port import FirstFrame
from vpdata.backbones.spec import BackboneSpec
from vpdata.errors import ConfigError

_GIVEN_MASK_CHANNELS = 4
"""Of Wan's image-to-video checkpoints: which video frames behind a latent frame are given."""


class LatentCodec(ABC):
    """A VAE with the normalisation of its family. Results are on its device and in its dtype.

    Encoding takes the mode of the posterior, so equal pixels give equal latents. A causal VAE treats the first frame of
    what it is given in a way of its own: a window's latents are those of the window alone, never a part of a longer
    video's.
    """

    def __init__(
        self,
        vae: AutoencoderKLCogVideoX | AutoencoderKLHunyuanVideo | AutoencoderKLLTXVideo | AutoencoderKLWan,
        *,
        spec: BackboneSpec,
        tiled: bool,
    ) -> None:
        """`tiled` encodes and decodes large frames in blended tiles: less memory, and slightly other latents."""
        self.spec = spec
        self._vae: Any = vae.requires_grad_(False).eval()
        # One window at a time, so that what else is in the batch changes neither bits nor memory.
        self._vae.enable_slicing()
        if tiled:
            self._vae.enable_tiling()

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """Windows `[B, 3, F, H, W]` in [-1, 1] to normalised latents `[B, C, F', h, w]`.

        ConfigError for a number of frames or a size that the family does not take.
        """
        if video.ndim != 5 or video.shape[1] != 3:
            raise ConfigError(f"got video of shape {list(video.shape)}, wanted [B, 3, F, H, W]")
        num_frames, height_px, width_px = video.shape[2:]
        self.spec.latent_shape(num_frames, height_px, width_px)
        return self._normalise(self._mode(video).float()).to(self._vae.dtype)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latents `[B, C, F', h, w]` to windows `[B, 3, F, H, W]` in [-1, 1]."""
        num_frames = (latents.shape[2] - 1) * self.spec.stride_t + 1
        raw = self._denormalise(latents.to(self._vae.device).float()).to(self._vae.dtype)
        # CogVideoX expands the first of an even number of latent frames like the others, to 4 frames instead of 1.
        return self._decoded(raw)[:, :, -num_frames:].clamp(-1, 1)

    @abstractmethod
    def first_frame(self, frame: Tensor, *, num_frames: int) -> FirstFrame:
        """The given first frame `[B, 3, H, W]` in [-1, 1] of a window of `num_frames`, as the backbone takes it.

        ConfigError where the backbone takes none.
        """

    @abstractmethod
    def _normalise(self, latents: Tensor) -> Tensor: ...

    @abstractmethod
    def _denormalise(self, latents: Tensor) -> Tensor: ...

    def _mode(self, video: Tensor) -> Tensor:
        return self._vae.encode(video.to(self._vae.device, self._vae.dtype)).latent_dist.mode()

    def _decoded(self, raw: Tensor) -> Tensor:
        return self._vae.decode(raw).sample

    def _check_first_frame(self, frame: Tensor, num_frames: int) -> None:
        if not self.spec.takes_first_frame:
            raise ConfigError(f"this {self.spec.family} makes video from text and takes no first frame")
        if frame.ndim != 4 or frame.shape[1] != 3:
            raise ConfigError(f"got a first frame of shape {list(frame.shape)}, wanted [B, 3, H, W]")
        self.spec.latent_shape(num_frames, *frame.shape[2:])


class ScaledCodec(LatentCodec):
    """CogVideoX and Hunyuan: one factor scales all channels.

    CogVideoX 1.5 divides by it where the first frame is given, as it was trained.
    """

    def __init__(
        self, vae: AutoencoderKLCogVideoX | AutoencoderKLHunyuanVideo, *, spec: BackboneSpec, tiled: bool = False
    ) -> None:
        super().__init__(vae, spec=spec, tiled=tiled)
        self._scale = float(vae.config["scaling_factor"])
        self._inverts_first_frame = bool(vae.config.get("invert_scale_latents"))

    @torch.no_grad()
    def first_frame(self, frame: Tensor, *, num_frames: int) -> FirstFrame:
        """Latents `[B, C, F', h, w]` of the frame by itself, with zeros for all later frames."""
        self._check_first_frame(frame, num_frames)
        latents = self._mode(frame.unsqueeze(2))
        latents = latents / self._scale if self._inverts_first_frame else latents * self._scale
        batch, channels, _, rows, columns = latents.shape
        later = latents.new_zeros(batch, channels, self.spec.latent_frames(num_frames) - 1, rows, columns)
        return FirstFrame(latents=torch.cat([latents, later], dim=2))

    def _normalise(self, latents: Tensor) -> Tensor:
        return latents * self._scale

    def _denormalise(self, latents: Tensor) -> Tensor:
        return latents / self._scale


class WanCodec(LatentCodec):
    """Mean and standard deviation of each channel."""

    def __init__(
        self,
        vae: AutoencoderKLWan,
        *,
        spec: BackboneSpec,
        input_channels: int,
        image_encoder: CLIPVisionModel | None = None,
        image_processor: BaseImageProcessor | None = None,
        tiled: bool = False,
    ) -> None:
        """`input_channels` of the transformer tell how it takes a first frame; Wan 2.1 has an image encoder for it."""
        super().__init__(vae, spec=spec, tiled=tiled)
        self._mean = _channels(vae.config["latents_mean"], vae.device)
        self._std = _channels(vae.config["latents_std"], vae.device)
        self._replaces_first_frame = input_channels == spec.latent_channels
        self._image_encoder = None if image_encoder is None else image_encoder.requires_grad_(False).eval()
        self._image_processor: Any = image_processor

    @torch.no_grad()
    def first_frame(self, frame: Tensor, *, num_frames: int) -> FirstFrame:
        """Wan 2.2 TI2V: latents `[B, C, 1, h, w]` of the frame by itself.

        Wan 2.1: `[B, 4 + C, F', h, w]`, which frames are given, and the latents of the frame followed by grey; and the
        tokens that the image encoder makes of the frame.
        """
        self._check_first_frame(frame, num_frames)
        if self._replaces_first_frame:
            return FirstFrame(latents=self.encode(frame.unsqueeze(2)))
        batch, _, height_px, width_px = frame.shape
        grey = frame.new_zeros(batch, 3, num_frames - 1, height_px, width_px)
        latents = self.encode(torch.cat([frame.unsqueeze(2), grey], dim=2))
        given = torch.zeros_like(latents[:, :_GIVEN_MASK_CHANNELS])
        given[:, :, 0] = 1
        return FirstFrame(latents=torch.cat([given, latents], dim=1), image_tokens=self._image_tokens(frame))

    def _image_tokens(self, frame: Tensor) -> Tensor | None:
        """`[B, 257, D]`, the last but one hidden state of CLIP's image encoder; None for a Wan without one."""
        if self._image_encoder is None:
            return None
        pixels = ((frame.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        inputs = self._image_processor(images=list(pixels.cpu()), return_tensors="pt").pixel_values
        encoder = self._image_encoder
        return encoder(inputs.to(encoder.device, encoder.dtype), output_hidden_states=True).hidden_states[-2]

    def _normalise(self, latents: Tensor) -> Tensor:
        return (latents - self._mean) / self._std

    def _denormalise(self, latents: Tensor) -> Tensor:
        return latents * self._std + self._mean


class LTXCodec(LatentCodec):
    """Mean and standard deviation of each channel, which stand among the VAE's weights, and one factor beside them."""

    def __init__(self, vae: AutoencoderKLLTXVideo, *, spec: BackboneSpec, tiled: bool = False) -> None:
        super().__init__(vae, spec=spec, tiled=tiled)
        mean, std = (value.float().view(1, -1, 1, 1, 1) for value in (vae.latents_mean, vae.latents_std))
        self._mean, self._std = mean, std / vae.config["scaling_factor"]

    @torch.no_grad()
    def first_frame(self, frame: Tensor, *, num_frames: int) -> FirstFrame:
        """Latents `[B, C, 1, h, w]` of the frame by itself."""
        self._check_first_frame(frame, num_frames)
        return FirstFrame(latents=self.encode(frame.unsqueeze(2)))

    def _normalise(self, latents: Tensor) -> Tensor:
        return (latents - self._mean) / self._std

    def _denormalise(self, latents: Tensor) -> Tensor:
        return latents * self._std + self._mean

    def _decoded(self, raw: Tensor) -> Tensor:
        """From 0.9.1 on it is told of noise in the latents, here of none, and adds some of its own, always the same."""
        no_noise = raw.new_zeros(1) if self._vae.config["timestep_conditioning"] else None
        windows = []
        # One at a time: the library mixes up latents and noise of several.
        for latents in raw.split(1):
            with torch.random.fork_rng(devices=[raw.device] if raw.device.type == "cuda" else []):
                torch.manual_seed(0)
                windows.append(self._vae.decode(latents, no_noise).sample)
        return torch.cat(windows)


def _channels(values: list[float], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device).view(1, -1, 1, 1, 1)
