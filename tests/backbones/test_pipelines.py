"""A tiny checkpoint makes, through our parts, the latents that the library's own pipeline makes of the same noise."""

import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import DiffusionPipeline, LTXImageToVideoPipeline, LTXPipeline

from vpdata.backbones.loading import load_backbone, load_codec, load_text_encoder
from vpdata.backbones.port import Conditions
from vpdata.backbones.sampler import KnownLatents, guided, sample
from vpdata.backbones.settings import BackboneSettings
from vpdata.backbones.text_encoder import pad_text
from vpdata.backbones.tiny import tiny_folder

torch.set_num_threads(1)

SIZE = {"height": 64, "width": 96, "num_frames": 17}


class Ours:
    """A tiny backbone that samples 64 x 96 pixels."""

    def __init__(self, name: str, **settings: object) -> None:
        chosen = BackboneSettings(tiny=name, device="cpu", dtype="float32", **settings)
        self.backbone, self.codec = load_backbone(chosen), load_codec(chosen)
        self._texts = load_text_encoder(chosen)
        self._picture = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1

    @property
    def picture(self) -> torch.Tensor:
        """The first frame, `[1, 3, H, W]` in [-1, 1]."""
        return self._picture

    @torch.no_grad()
    def sample(self, noise: torch.Tensor, *, guidance: float, num_steps: int) -> torch.Tensor:
        backbone, first = self.backbone, None
        if backbone.spec.takes_first_frame:
            first = self.codec.first_frame(self._picture, num_frames=17)

        def told(caption: str) -> Conditions:
            text = pad_text(self._texts.encode([caption]), length=backbone.spec.text_length)
            return Conditions(text=text, first_frame=first)

        known = None
        if backbone.num_given_frames(told("")):
            assert first is not None
            clean = torch.cat([first.latents, noise[:, :, 1:]], dim=2)
            hole = torch.ones_like(noise[:, :1])
            hole[:, :, :1] = 0
            known = KnownLatents(clean=clean, hole=hole)
        return sample(
            guided(
                lambda noisy, at: backbone.predict(noisy, at, told("a red ball")),
                lambda noisy, at: backbone.predict(noisy, at, told("")),
                scale=guidance,
            ),
            noise,
            backbone.objective_for(tuple(noise.shape)),
            num_steps=num_steps,
            known=known,
        )


@pytest.mark.parametrize("first_frame", [False, True])
def test_ltx_samples_what_its_pipelines_do(first_frame):
    given = DiffusionPipeline.from_pretrained(tiny_folder("ltx", 0), local_files_only=True)
    ours = Ours("ltx", first_frame=first_frame)
    noise = torch.randn(1, 32, 3, 2, 3, generator=torch.Generator().manual_seed(2))
    arguments = {"prompt": "a red ball", "negative_prompt": "", "guidance_scale": 3.0, "num_inference_steps": 4}
    latents, start = noise, {}
    theirs = LTXPipeline(**given.components)
    if first_frame:
        theirs = LTXImageToVideoPipeline(**given.components)
        first = ours.codec.first_frame(ours.picture, num_frames=17).latents
        latents, start = torch.cat([first, noise[:, :, 1:]], dim=2), {"image": ours.picture}
    theirs.set_progress_bar_config(disable=True)
    packed = LTXPipeline._pack_latents(latents)
    wanted = theirs(**arguments, **SIZE, **start, latents=packed, output_type="latent").frames
    made = ours.sample(noise, guidance=3.0, num_steps=4)
    torch.testing.assert_close(LTXPipeline._pack_latents(made), wanted, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("first_frame", [False, True])
def test_later_releases_of_ltx_sample_what_their_pipeline_does(first_frame):
    theirs = DiffusionPipeline.from_pretrained(tiny_folder("ltx-0.9.5", 0), local_files_only=True)
    theirs.set_progress_bar_config(disable=True)
    ours = Ours("ltx-0.9.5", first_frame=first_frame)
    # Its posterior has a spread, which the pipeline draws from: none is left of it.
    spread = theirs.vae.encoder.conv_out.conv
    spread.weight.data[-1], spread.bias.data[-1] = 0.0, -30.0
    wanted = theirs(
        prompt="a red ball",
        negative_prompt="",
        guidance_scale=3.0,
        num_inference_steps=5,
        # Its default draws anew for the first frame at every step.
        image_cond_noise_scale=0.0,
        generator=torch.Generator().manual_seed(2),
        output_type="latent",
        **SIZE,
        **({"image": ours.picture} if first_frame else {}),
    ).frames
    noise = torch.randn(1, 32, 3, 2, 3, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(ours.sample(noise, guidance=3.0, num_steps=5), wanted, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("name", ["hunyuan", "hunyuan-i2v"])
def test_hunyuan_samples_what_its_pipelines_do(name):
    """With guidance by a pass without text, and the distilled guidance at a scale of 1."""
    theirs = DiffusionPipeline.from_pretrained(tiny_folder(name, 0), local_files_only=True)
    theirs.set_progress_bar_config(disable=True)
    ours = Ours(name)
    noise = torch.randn(1, 16, 5, 8, 12, generator=torch.Generator().manual_seed(2))
    start = {}
    if name == "hunyuan-i2v":
        # Its posterior has a spread, which the pipeline draws from: none is left of it.
        theirs.vae.quant_conv.weight.data[16:], theirs.vae.quant_conv.bias.data[16:] = 0.0, -30.0
        start = {"image": ours.picture}
    wanted = theirs(
        prompt="a red ball",
        negative_prompt="",
        true_cfg_scale=3.0,
        guidance_scale=1.0,
        num_inference_steps=4,
        latents=noise,
        output_type="latent",
        **SIZE,
        **start,
    ).frames
    torch.testing.assert_close(ours.sample(noise, guidance=3.0, num_steps=4), wanted, atol=2e-3, rtol=2e-3)
