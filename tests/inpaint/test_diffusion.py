import numpy as np
import pytest
import torch

pytest.importorskip("peft")

from vpdata.backbones.context_encoder import ContextEncoder, ContextEncoderSettings
from vpdata.backbones.identity_adapter import IdentityAdapter, IdentitySettings
from vpdata.backbones.injector import InjectionSettings
from vpdata.backbones.inpainting import InpaintingBackbone
from vpdata.backbones.loading import load_backbone, load_codec, load_text_encoder
from vpdata.backbones.port import Backbone, Conditions
from vpdata.backbones.sampler import sample
from vpdata.backbones.settings import BackboneSettings
from vpdata.backbones.text_encoder import pad_text
from vpdata.errors import ConfigError, RunError
from vpdata.inpaint.any_length import MadeWindow, Request, inpaint_any_length
from vpdata.inpaint.diffusion import DiffusionWindows, Prompts, SamplingSettings, as_frames, as_video
from vpdata.inpaint.windows import Window, plan_windows

torch.set_num_threads(1)

HEIGHT, WIDTH = 64, 96


def trained_adapter(backbone: Backbone) -> IdentityAdapter:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        adapter = IdentityAdapter(backbone, IdentitySettings(rank=2, alpha=2))
        for parameter in adapter.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return adapter


class Parts:
    """A tiny backbone with all that a window needs."""

    def __init__(self, name: str, *, identity: bool = False) -> None:
        settings = BackboneSettings(tiny=name, device="cpu", dtype="float32")
        self.codec = load_codec(settings)
        self.backbone = load_backbone(settings)
        texts = load_text_encoder(settings).encode(["a red ball", ""])
        self.text, self.empty = (pad_text([text], length=self.backbone.spec.text_length) for text in texts)
        encoder = ContextEncoder(self.backbone, ContextEncoderSettings(num_layers=2))
        adapter = trained_adapter(self.backbone) if identity else None
        self.model = InpaintingBackbone(self.backbone, encoder, InjectionSettings(), identity=adapter)

    def windows(self, first_frame=None, **settings) -> DiffusionWindows:
        return DiffusionWindows(
            self.model,
            self.codec,
            Prompts(of_window=lambda window: self.text, empty=self.empty),
            SamplingSettings(**{"num_steps": 2, "guidance": 3.0} | settings),
            first_frame=first_frame,
        )


@pytest.fixture(scope="module")
def wan() -> Parts:
    return Parts("wan")


def video_and_mask(num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    video = random.integers(0, 256, (num_frames, HEIGHT, WIDTH, 3), dtype=np.uint8)
    mask = np.zeros((num_frames, HEIGHT, WIDTH), bool)
    mask[:, 8:20, 10:30] = True
    return video, mask


def first_window(num_frames: int) -> Request:
    video, mask = video_and_mask(num_frames)
    window = Window(index=0, start=0, stop=num_frames, num_shared=0, num_known=0)
    return Request(window=window, frames=video, mask=mask)


class Grey:
    """A painter that fills the hole with one value."""

    def paint(self, frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.where(mask[..., None], np.uint8(128), frame)


def test_new_encoder_gives_what_the_backbone_alone_samples(wan):
    request = first_window(9)
    made = wan.windows(guidance=1.0).inpaint(request)
    digest_noise = wan.windows()._noise(torch.zeros(1, 16, 3, 8, 12), "window 0")
    alone = sample(
        lambda noisy, timesteps: wan.backbone.predict(noisy, timesteps, Conditions(text=wan.text)),
        digest_noise,
        wan.backbone.objective,
        num_steps=2,
    )
    wan.model.injector.clear()
    assert np.array_equal(made, as_frames(wan.codec.decode(alone)))


def test_any_length_with_one_window_equals_the_direct_call_bit_for_bit(wan):
    request = first_window(9)
    windows = plan_windows(9, window_frames=9, overlap_frames=5, stride_t=4)
    (made,) = inpaint_any_length(wan.windows(), iter(request.frames), iter(request.mask), windows)
    assert np.array_equal(made.frames, wan.windows().inpaint(request))


def test_seed_and_prompt_decide_the_result(wan):
    request = first_window(5)
    made = wan.windows().inpaint(request)
    assert np.array_equal(wan.windows().inpaint(request), made)
    assert not np.array_equal(wan.windows(seed=1).inpaint(request), made)


@pytest.mark.parametrize("num_frames", [1, 2, 7])
def test_number_of_frames_that_the_codec_does_not_take_comes_back_as_it_was(wan, num_frames):
    request = first_window(num_frames)
    assert wan.windows().inpaint(request).shape == request.frames.shape


def test_known_latents_are_kept_where_asked(wan):
    request = first_window(5)
    made = wan.windows(keep_known=True).inpaint(request)
    grey = as_video(request.frames)
    grey[torch.from_numpy(request.mask)[None, None].expand_as(grey)] = 0
    through_codec = as_frames(wan.codec.decode(wan.codec.encode(grey)))
    far = np.s_[:, :, 80:]
    near_kept = np.abs(made[far].astype(int) - through_codec[far]).mean()
    near_free = np.abs(wan.windows().inpaint(request)[far].astype(int) - through_codec[far]).mean()
    assert near_kept < near_free


@pytest.mark.parametrize("name", ["cogvideox-i2v", "wan-i2v", "wan-ti2v"])
def test_first_frame_is_painted_only_where_it_has_a_hole(name):
    parts = Parts(name)
    step = parts.backbone.spec.stride_px * parts.backbone.spec.patch[1]
    assert HEIGHT % step == 0
    request = first_window(9)
    with pytest.raises(ConfigError, match="must be given a first frame"):
        parts.windows().inpaint(request)
    assert parts.windows(first_frame=Grey()).inpaint(request).shape == request.frames.shape
    request.mask[0] = False
    assert parts.windows().inpaint(request).shape == request.frames.shape


def test_first_frame_that_stands_in_the_latents_is_not_sampled():
    parts = Parts("wan-ti2v")
    request = first_window(9)
    request.mask[0] = False
    made = parts.windows().inpaint(request)
    # A causal VAE makes frame 0 of the first latent frame alone.
    given = as_frames(parts.codec.decode(parts.codec.encode(as_video(request.frames[:1]))))
    np.testing.assert_allclose(made[:1].astype(int), given.astype(int), atol=1)


@pytest.mark.parametrize("name", ["wan", "cogvideox"])
def test_identity_is_taken_from_the_window_before_and_from_nowhere_else(name):
    parts = Parts(name, identity=True)
    plain = Parts(name)
    video, mask = video_and_mask(9)
    window = Window(index=1, start=4, stop=13, num_shared=5, num_known=5)
    before = Window(index=0, start=0, stop=9, num_shared=0, num_known=0)
    alone = Request(window=window, frames=video, mask=mask)
    assert np.array_equal(parts.windows().inpaint(alone), plain.windows().inpaint(alone))
    previous = MadeWindow(window=before, frames=video[::-1].copy(), mask=mask)
    with_identity = parts.windows().inpaint(Request(window=window, frames=video, mask=mask, previous=previous))
    assert not np.array_equal(with_identity, parts.windows().inpaint(alone))
    hidden = MadeWindow(window=before, frames=video[::-1].copy(), mask=np.zeros_like(mask))
    without = parts.windows().inpaint(Request(window=window, frames=video, mask=mask, previous=hidden))
    assert np.array_equal(without, parts.windows().inpaint(alone))


def test_model_that_gives_no_numbers_stops_by_name():
    parts = Parts("wan")
    with torch.no_grad():
        parts.model.encoder.outputs[0].bias.fill_(torch.nan)
    with pytest.raises(RunError, match=r"frames 0 to 9: .* no numbers"):
        parts.windows().inpaint(first_window(9))


def test_frames_survive_the_way_to_tensors_and_back():
    video, _ = video_and_mask(3)
    assert np.array_equal(as_frames(as_video(video)), video)
