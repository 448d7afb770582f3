from functools import cache

import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import (
    CogVideoXImageToVideoPipeline,
    CogVideoXVideoToVideoPipeline,
    DiffusionPipeline,
    HunyuanSkyreelsImageToVideoPipeline,
    LTXImageToVideoPipeline,
    WanImageToVideoPipeline,
    WanVideoToVideoPipeline,
)
from PIL import Image
from torch.nn.functional import interpolate

from vpdata.backbones.loading import load_codec
from vpdata.backbones.settings import BackboneSettings
from vpdata.backbones.tiny import tiny_folder
from vpdata.errors import ConfigError

torch.set_num_threads(1)

NAMES = (
    "cogvideox",
    "cogvideox-i2v",
    "cogvideox1.5",
    "cogvideox1.5-i2v",
    "wan",
    "wan-i2v",
    "wan-ti2v",
    "ltx",
    "ltx-0.9.5",
    "hunyuan",
    "hunyuan-i2v",
)


@cache
def codec(name: str):
    return load_codec(BackboneSettings(tiny=name, device="cpu", dtype="float32"))


@cache
def pipeline(name: str):
    """As diffusers itself opens it, but for the spread of CogVideoX's posterior, which its pipelines draw from."""
    opened = DiffusionPipeline.from_pretrained(tiny_folder(name, 0), local_files_only=True)
    if name.startswith("cogvideox"):
        output = opened.vae.encoder.conv_out.conv
        with torch.no_grad():
            output.weight[16:], output.bias[16:] = 0.0, -30.0
    return opened


def video(*, frames: int = 9, batch: int = 1, height: int = 64, width: int = 96) -> torch.Tensor:
    coarse = torch.randn(batch, 3, 3, 4, 6, generator=torch.Generator().manual_seed(7))
    return interpolate(coarse, size=(frames, height, width), mode="trilinear").clamp(-1, 1)


def test_cogvideox_latents_are_those_of_the_video_to_video_pipeline():
    given = pipeline("cogvideox")
    parts = {name: part for name, part in given.components.items() if name != "transformer"}
    theirs = CogVideoXVideoToVideoPipeline(**parts, transformer=given.transformer)
    window, timestep = video(frames=17), torch.tensor([0])
    noisy = theirs.prepare_latents(
        window,
        height=64,
        width=96,
        dtype=torch.float32,
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(1),
        timestep=timestep,
    )
    random = torch.Generator().manual_seed(1)
    torch.randn(1, 16, 5, 8, 12, generator=random)  # what the pipeline drew from the posterior
    noise = torch.randn(1, 5, 16, 8, 12, generator=random)
    ours = codec("cogvideox").encode(window).transpose(1, 2)
    torch.testing.assert_close(given.scheduler.add_noise(ours, noise, timestep), noisy, atol=1e-4, rtol=1e-4)


def test_wan_latents_are_those_of_the_video_to_video_pipeline():
    given = pipeline("wan")
    parts = ("tokenizer", "text_encoder", "transformer", "vae", "scheduler")
    theirs = WanVideoToVideoPipeline(**{part: getattr(given, part) for part in parts})
    window, timestep = video(frames=17), torch.tensor([1])
    noisy = theirs.prepare_latents(
        window,
        height=64,
        width=96,
        dtype=torch.float32,
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(1),
        timestep=timestep,
    )
    noise = torch.randn(1, 16, 5, 8, 12, generator=torch.Generator().manual_seed(1))
    ours = codec("wan").encode(window)
    torch.testing.assert_close(given.scheduler.add_noise(ours, noise, timestep), noisy, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["cogvideox", "cogvideox1.5"])
@pytest.mark.parametrize("frames", [3, 4])
def test_cogvideox_decodes_as_its_pipeline_to_the_frames_of_the_window(name, frames):
    latents = torch.randn(1, 16, frames, 8, 12, generator=torch.Generator().manual_seed(2))
    num_frames = 4 * (frames - 1) + 1
    theirs = pipeline(name).decode_latents(latents.transpose(1, 2))[:, :, -num_frames:].clamp(-1, 1)
    torch.testing.assert_close(codec(name).decode(latents), theirs)


@pytest.mark.parametrize("name", ["wan", "wan-ti2v"])
def test_wan_decodes_as_its_pipeline(name):
    arguments = {"height": 64, "width": 96, "num_frames": 9, "num_inference_steps": 1, "guidance_scale": 1.0}

    def run(output_type: str) -> torch.Tensor:
        generator = torch.Generator().manual_seed(3)
        return pipeline(name)("a cat", **arguments, generator=generator, output_type=output_type).frames

    pipeline(name).set_progress_bar_config(disable=True)
    theirs = run("pt").transpose(1, 2)
    ours = (codec(name).decode(run("latent")) + 1) / 2
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["cogvideox-i2v", "cogvideox1.5-i2v"])
@pytest.mark.parametrize("num_frames", [13, 17])
def test_cogvideox_first_frame_is_that_of_the_image_to_video_pipeline(name, num_frames):
    theirs = pipeline(name)
    assert isinstance(theirs, CogVideoXImageToVideoPipeline)
    frame = video(batch=2)[:, :, 0]
    _, latents = theirs.prepare_latents(
        frame,
        batch_size=2,
        num_frames=num_frames,
        height=64,
        width=96,
        dtype=torch.float32,
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(1),
    )
    # CogVideoX 1.5 puts the first of an odd number of frames in front again, which is the backbone's affair.
    latents = latents.transpose(1, 2)[:, :, -((num_frames - 1) // 4 + 1) :]
    ours = codec(name).first_frame(frame, num_frames=num_frames)
    torch.testing.assert_close(ours.latents, latents, atol=1e-5, rtol=1e-5)
    assert ours.image_tokens is None


@pytest.mark.parametrize("name", ["wan-i2v", "wan-ti2v"])
def test_wan_first_frame_is_that_of_the_image_to_video_pipeline(name):
    given = pipeline(name)
    parts = {part: given.components.get(part) for part in ("image_encoder", "image_processor", "transformer")}
    theirs = WanImageToVideoPipeline(
        tokenizer=given.tokenizer,
        text_encoder=given.text_encoder,
        vae=given.vae,
        scheduler=given.scheduler,
        expand_timesteps=name == "wan-ti2v",
        **parts,
    )
    frame = video(batch=2)[:, :, 0]
    # With a batch the pipeline repeats the latents of the first image.
    for row in frame.split(1):
        prepared = theirs.prepare_latents(
            row,
            batch_size=1,
            num_channels_latents=codec(name).spec.latent_channels,
            height=64,
            width=96,
            num_frames=13,
            dtype=torch.float32,
            device=torch.device("cpu"),
            generator=torch.Generator().manual_seed(1),
        )
        ours = codec(name).first_frame(row, num_frames=13)
        torch.testing.assert_close(ours.latents, prepared[1], atol=1e-5, rtol=1e-5)
    both = codec(name).first_frame(frame, num_frames=13).latents
    torch.testing.assert_close(both[1:], ours.latents)


@pytest.mark.parametrize("name", ["ltx", "ltx-0.9.5"])
def test_ltx_first_frame_is_that_of_the_image_to_video_pipeline(name):
    given = pipeline(name)
    theirs = LTXImageToVideoPipeline(**given.components)
    # Its posterior has a spread, which the pipeline draws from: none is left of it.
    given.vae.encoder.conv_out.conv.bias.data[-1] = -30.0
    given.vae.encoder.conv_out.conv.weight.data[-1] = 0.0
    frame = video(batch=2)[:, :, 0]
    latents, is_given = theirs.prepare_latents(
        frame,
        batch_size=2,
        num_channels_latents=32,
        height=64,
        width=96,
        num_frames=17,
        dtype=torch.float32,
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(1),
    )
    settings = BackboneSettings(tiny=name, first_frame=True, device="cpu", dtype="float32")
    ours = load_codec(settings).first_frame(frame, num_frames=17)
    assert ours.latents.shape == (2, 32, 1, 2, 3)
    packed = ours.latents.flatten(2).transpose(1, 2)
    torch.testing.assert_close(latents[is_given > 0].view(2, 6, 32), packed, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["ltx", "ltx-0.9.5"])
def test_ltx_decodes_as_its_pipeline_and_alike_each_time(name):
    latents = torch.randn(2, 32, 2, 2, 3, generator=torch.Generator().manual_seed(3))
    given, decoded = pipeline(name), codec(name).decode(latents)
    raw = given._denormalize_latents(latents, given.vae.latents_mean, given.vae.latents_std, 1.0)
    for place in range(2):
        torch.manual_seed(0)  # of the noise that its decoder adds
        with torch.no_grad():
            theirs = given.vae.decode(
                raw[place : place + 1], torch.zeros(1) if name == "ltx-0.9.5" else None, return_dict=False
            )[0]
        torch.testing.assert_close(decoded[place : place + 1], theirs.clamp(-1, 1), atol=1e-5, rtol=1e-5)
    state = torch.random.get_rng_state()
    assert torch.equal(codec(name).decode(latents), decoded)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_hunyuan_first_frame_is_that_of_the_image_to_video_pipeline():
    theirs = pipeline("hunyuan-i2v")
    assert isinstance(theirs, HunyuanSkyreelsImageToVideoPipeline)
    # Its posterior has a spread, which the pipeline draws from: none is left of it.
    output = theirs.vae.quant_conv
    output.weight.data[16:], output.bias.data[16:] = 0.0, -30.0
    frame = video(batch=2)[:, :, 0]
    _, latents = theirs.prepare_latents(
        frame,
        batch_size=2,
        num_channels_latents=16,
        height=64,
        width=96,
        num_frames=13,
        dtype=torch.float32,
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(1),
    )
    ours = codec("hunyuan-i2v").first_frame(frame, num_frames=13)
    torch.testing.assert_close(ours.latents, latents, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("frames", [4, 13])
def test_hunyuan_decodes_to_the_frames_of_the_window(frames):
    """Windows of more than 16 frames are encoded and decoded in pieces, as its pipeline does."""
    latents = torch.randn(1, 16, frames, 4, 6, generator=torch.Generator().manual_seed(2))
    vae = pipeline("hunyuan").vae
    with torch.no_grad():
        theirs = vae.decode(latents / vae.config.scaling_factor).sample.clamp(-1, 1)
    ours = codec("hunyuan").decode(latents)
    torch.testing.assert_close(ours, theirs)
    assert ours.shape == (1, 3, 4 * frames - 3, 32, 48)
    assert codec("hunyuan").encode(ours).shape == latents.shape


def test_wan_image_tokens_are_those_of_the_pipeline_for_the_same_picture():
    pixels = torch.randint(0, 256, (2, 64, 96, 3), generator=torch.Generator().manual_seed(4), dtype=torch.uint8)
    pictures = [Image.fromarray(one.numpy()) for one in pixels]
    theirs = pipeline("wan-i2v").encode_image(pictures)
    ours = codec("wan-i2v").first_frame(pixels.permute(0, 3, 1, 2) / 127.5 - 1, num_frames=5)
    assert ours.image_tokens is not None
    assert ours.image_tokens.shape == (2, 257, 32)
    torch.testing.assert_close(ours.image_tokens, theirs, atol=1e-5, rtol=1e-5)


def test_wan_without_an_image_encoder_gives_no_image_tokens(tmp_path):
    """Wan 2.2's image-to-video checkpoints have none."""
    from vpdata.backbones.codec import WanCodec

    spec, vae = codec("wan-i2v").spec, pipeline("wan-i2v").vae
    first = WanCodec(vae, spec=spec, input_channels=36).first_frame(video()[:, :, 0], num_frames=9)
    assert first.image_tokens is None
    assert first.latents.shape == (1, 20, 3, 8, 12)


def test_cogvideox_scales_by_one_factor_and_wan_by_channel():
    factor = pipeline("cogvideox").vae.config.scaling_factor
    with torch.no_grad():
        raw = pipeline("cogvideox").vae.encode(video()).latent_dist.mode()
    torch.testing.assert_close(codec("cogvideox").encode(video()), raw * factor)
    vae = pipeline("wan").vae
    with torch.no_grad():
        raw = vae.encode(video()).latent_dist.mode()
    latents = codec("wan").encode(video())
    for channel, (mean, std) in enumerate(zip(vae.config.latents_mean, vae.config.latents_std, strict=True)):
        torch.testing.assert_close(latents[:, channel], (raw[:, channel] - mean) / std)


@pytest.mark.parametrize("name", NAMES)
def test_tiny_latents_are_about_unit(name):
    latents = codec(name).encode(video(frames=17))
    assert 0.5 < float(latents.std()) < 2


@pytest.mark.parametrize("name", ["wan", "wan-ti2v", "ltx", "ltx-0.9.5"])
def test_a_latent_frame_of_a_causal_family_does_not_see_later_frames(name):
    stride_t = codec(name).spec.stride_t
    window = video(frames=3 * stride_t + 1)
    torch.testing.assert_close(codec(name).encode(window)[:, :, :2], codec(name).encode(window[:, :, : stride_t + 1]))


@pytest.mark.parametrize("name", NAMES)
def test_the_first_frame_of_a_window_is_encoded_unlike_a_later_one(name):
    stride_t = codec(name).spec.stride_t
    window = video(frames=3 * stride_t + 1)
    shifted = codec(name).encode(window[:, :, stride_t:])
    within = codec(name).encode(window)[:, :, 1:]
    assert shifted.shape == within.shape
    assert not torch.allclose(shifted[:, :, 0], within[:, :, 0], atol=1e-2)


@pytest.mark.parametrize("name", ["cogvideox", "wan"])
def test_latents_do_not_depend_on_the_batch_or_on_the_random_state(name):
    windows = video(batch=2)
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    together = codec(name).encode(windows)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(together, torch.cat([codec(name).encode(one) for one in windows.split(1)]))


@pytest.mark.parametrize("name", ["cogvideox", "wan"])
def test_tiles_change_latents_of_large_frames_only(name):
    settings = BackboneSettings(tiny=name, device="cpu", dtype="float32")
    tiled = load_codec(settings, tiled=True)
    small = (32, 48) if name == "cogvideox" else (64, 96)
    large = (64, 96) if name == "cogvideox" else (64, 288)
    for (height, width), equal in ((small, True), (large, False)):
        window = video(frames=5, height=height, width=width)
        assert torch.equal(tiled.encode(window), codec(name).encode(window)) == equal


def test_windows_that_the_family_does_not_take_are_refused():
    with pytest.raises(ConfigError, match=r"window of 12 frames.*4k \+ 1: 9 or 13"):
        codec("wan").encode(video(frames=12))
    with pytest.raises(ConfigError, match=r"width of 104 px.*multiples of 16"):
        codec("wan").encode(video(width=104))
    with pytest.raises(ConfigError, match=r"height of 48 px.*multiples of 32"):
        codec("wan-ti2v").encode(video(height=48))
    with pytest.raises(ConfigError, match=r"shape \[3, 9, 64, 96\]"):
        codec("wan").encode(video()[0])


def test_a_first_frame_for_a_text_to_video_backbone_is_refused():
    with pytest.raises(ConfigError, match="cogvideox makes video from text"):
        codec("cogvideox").first_frame(video()[:, :, 0], num_frames=9)
    with pytest.raises(ConfigError, match="wan makes video from text"):
        codec("wan").first_frame(video()[:, :, 0], num_frames=9)


def test_a_first_frame_of_the_wrong_shape_is_refused():
    with pytest.raises(ConfigError, match=r"wanted \[B, 3, H, W\]"):
        codec("wan-i2v").first_frame(video(), num_frames=9)
