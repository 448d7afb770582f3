import numpy as np
import pytest
import torch

pytest.importorskip("peft")

from diffusers.hooks import group_offloading
from safetensors.torch import load_file, save_file

from tests.inpaint.trained import SMALL, save_adapter, save_encoder, tiny
from vpdata.backbones.loading import load_backbone
from vpdata.errors import BackendError, ConfigError
from vpdata.inpaint.inpainter import Inpainter

torch.set_num_threads(1)


def inpainter(folder, name="wan", **more) -> Inpainter:
    return Inpainter.from_pretrained(tiny=name, context_encoder=folder, device="cpu", dtype="float32", **SMALL | more)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder"), "wan", weight=0.1)


@pytest.fixture(scope="module")
def wan(encoder):
    return inpainter(encoder)


def video_and_mask(num_frames=12, height=90, width=130):
    video = np.random.default_rng(0).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)
    mask = np.zeros(video.shape[:3], bool)
    mask[:, 30:60, 40:70] = True
    return video, mask


@pytest.mark.parametrize(("num_frames", "height", "width"), [(1, 64, 96), (9, 64, 96), (12, 91, 131), (23, 120, 60)])
def test_any_length_and_size_comes_back_as_it_was_but_for_the_hole(wan, num_frames, height, width):
    video, mask = video_and_mask(num_frames, height, width)
    mask[:, :, 58:] = False
    made = wan(video, mask, "a red ball")
    assert made.shape == video.shape
    known = np.ones_like(mask)
    known[:, 20:70, 30:] = False
    assert np.array_equal(made[known], video[known])
    assert not np.array_equal(made[mask], video[mask])


def test_raw_frames_are_the_models_everywhere(wan):
    video, mask = video_and_mask()
    raw = wan(video, mask, "a red ball", raw=True)
    assert raw.shape == video.shape
    assert not np.array_equal(raw[:, :10], video[:, :10])
    made = wan(video, mask, "a red ball")
    assert np.array_equal(made[mask], raw[mask])


def test_empty_mask_returns_the_video_and_says_so(wan, caplog):
    video, mask = video_and_mask()
    made = wan(video, np.zeros_like(mask), "a red ball")
    assert np.array_equal(made, video)
    assert "the mask is empty" in caplog.text


def test_prompts_hold_from_their_frame_on(wan):
    video, mask = video_and_mask(13)
    one = wan(video, mask, "a red ball")
    two = wan(video, mask, {0: "a red ball", 10: "a green dog on the grass"})
    assert np.array_equal(one[:4], two[:4])
    assert not np.array_equal(one[9:], two[9:])
    with pytest.raises(ConfigError, match="wanted one that holds from frame 0"):
        wan(video, mask, {3: "a red ball"})
    with pytest.raises(ConfigError, match="from frame 13 on"):
        wan(video, mask, {0: "a red ball", 13: "a green dog"})


@pytest.mark.parametrize("name", ["cogvideox", "wan", "ltx", "hunyuan"])
def test_guidance_leads_away_from_the_negative_prompt(name, tmp_path):
    folder = save_encoder(tmp_path, name, weight=0.1)
    video, mask = video_and_mask(9)
    # A latent frame of LTX is eight frames.
    windows = {"num_frames": 17, "overlap_frames": 9, "area_px": 64 * 96}

    def made(guidance, negative_prompt):
        sampling = {"num_steps": 2, "guidance": guidance, "negative_prompt": negative_prompt}
        return inpainter(folder, name, sampling=sampling, windows=windows)(video, mask, "a red ball")

    plain, away = made(1, ""), made(3, "a red ball")
    # From the prompt itself guidance leads nowhere.
    assert np.abs(away.astype(int) - plain).max() <= 1
    assert not np.array_equal(made(3, ""), plain)
    assert not np.array_equal(made(3, "a green dog"), made(3, ""))


@pytest.mark.parametrize("wrong", ["length", "size", "dtype"])
def test_masks_that_do_not_fit_are_refused_by_shape(wan, wrong):
    video, mask = video_and_mask()
    masks = {"length": mask[:-1], "size": mask[:, 1:], "dtype": mask.astype(np.uint8)}
    with pytest.raises(ConfigError, match=r"wanted bool \[12, 90, 130\]"):
        wan(video, masks[wrong], "a red ball")


def test_encoder_of_another_backbone_is_refused(encoder):
    with pytest.raises(BackendError, match="is for another backbone"):
        inpainter(encoder, "cogvideox")


def test_unknown_setting_is_refused(encoder):
    with pytest.raises(ConfigError, match="num_step"):
        inpainter(encoder, sampling={"num_step": 2})


def test_more_steps_than_timesteps_are_refused(tmp_path, encoder):
    folder = save_encoder(tmp_path, "cogvideox")
    for num_steps in (1001, 2000):
        with pytest.raises(ConfigError, match=rf"num_steps: got {num_steps}, more than .* timesteps"):
            inpainter(folder, "cogvideox", sampling={"num_steps": num_steps})
    inpainter(folder, "cogvideox", sampling={"num_steps": 1000})
    # A rectified flow is sampled at any time.
    inpainter(encoder, sampling={"num_steps": 2000})


def test_id_adapter_is_not_compiled(encoder, tmp_path):
    with pytest.raises(ConfigError, match=r"memory\.compile"):
        inpainter(encoder, id_adapter=tmp_path, memory={"compile": True})


def test_first_frame_is_asked_for_where_the_backbone_needs_it(tmp_path):
    folder = save_encoder(tmp_path, "cogvideox-i2v")
    model = inpainter(folder, "cogvideox-i2v")
    video, mask = video_and_mask(9)
    with pytest.raises(ConfigError, match="must be given a first frame"):
        model(video, mask, "a red ball")
    filled = np.zeros((180, 260, 3), np.uint8)
    assert model(video, mask, "a red ball", first_frame=filled).shape == video.shape
    with pytest.raises(ConfigError, match="another aspect"):
        model(video, mask, "a red ball", first_frame=filled[:90])


def test_text_to_video_backbone_refuses_a_first_frame(wan):
    video, mask = video_and_mask()
    with pytest.raises(ConfigError, match="takes none"):
        wan(video, mask, "a red ball", first_frame=video[0])


def save_style(folder, name="wan", *, seed=1):
    """A LoRA trained by nobody, written by peft and diffusers alone."""
    from diffusers import WanPipeline
    from peft import LoraConfig, get_peft_model_state_dict

    transformer = load_backbone(tiny(name)).transformer
    torch.manual_seed(seed)
    transformer.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_k", "to_v"]))
    for parameter_name, parameter in transformer.named_parameters():
        if "lora_" in parameter_name:
            torch.nn.init.normal_(parameter, std=0.5)
    WanPipeline.save_lora_weights(folder, transformer_lora_layers=get_peft_model_state_dict(transformer))
    return folder


def test_style_changes_the_result_and_scale_0_does_not(encoder, wan, tmp_path):
    video, mask = video_and_mask(9)
    plain = wan(video, mask, "a red ball")
    style = save_style(tmp_path)
    styled = inpainter(encoder, styles=[{"weights": str(style), "scale": 1.0}])
    unstyled = inpainter(encoder)
    unstyled.load_lora(style, scale=0.0)
    assert not np.array_equal(styled(video, mask, "a red ball"), plain)
    assert np.array_equal(unstyled(video, mask, "a red ball"), plain)
    unstyled.load_lora(style / "pytorch_lora_weights.safetensors")
    assert np.array_equal(unstyled(video, mask, "a red ball"), styled(video, mask, "a red ball"))


def test_style_of_another_backbone_is_refused(tmp_path):
    model = inpainter(save_encoder(tmp_path / "encoder", "cogvideox"), "cogvideox")
    style = save_style(tmp_path / "style")
    with pytest.raises(BackendError, match="style"):
        model.load_lora(style)


def test_style_loaded_after_the_id_adapter_is_the_same_as_before_it(encoder, tmp_path):
    adapter = save_adapter(tmp_path / "id", "wan")
    style = save_style(tmp_path / "style")
    before = inpainter(encoder, id_adapter=adapter, styles=[{"weights": str(style)}])
    after = inpainter(encoder, id_adapter=adapter)
    video, mask = video_and_mask(13)
    without_style = after(video, mask, "a red ball")
    after.load_lora(style)
    styled = after(video, mask, "a red ball")
    assert np.array_equal(styled, before(video, mask, "a red ball"))
    assert not np.array_equal(styled, without_style)
    only_style = inpainter(encoder, styles=[{"weights": str(style)}])
    assert not np.array_equal(styled[9:], only_style(video, mask, "a red ball")[9:])


def test_style_that_is_refused_takes_nothing_away(encoder, tmp_path):
    model = inpainter(encoder, id_adapter=save_adapter(tmp_path / "id", "wan"))
    video, mask = video_and_mask(13)
    before = model(video, mask, "a red ball")
    wrong = save_style(tmp_path / "style", "wan-ti2v") / "pytorch_lora_weights.safetensors"
    tensors = {name: tensor[:, :1].contiguous() for name, tensor in load_file(wrong).items()}
    save_file(tensors, wrong)
    for style in (tmp_path / "missing.safetensors", wrong):
        with pytest.raises(BackendError, match="style"):
            model.load_lora(style)
        assert np.array_equal(model(video, mask, "a red ball"), before)


def test_layers_of_the_id_adapter_are_offloaded_behind_a_style_too(encoder, tmp_path, monkeypatch):
    """What comes to the GPU is counted by diffusers' own hooks, which a CPU has too."""
    num_onloaded = 0
    onload = group_offloading.ModuleGroup.onload_

    def counted(group):
        nonlocal num_onloaded
        num_onloaded += 1
        onload(group)

    monkeypatch.setattr(group_offloading.ModuleGroup, "onload_", counted)
    adapter, style = save_adapter(tmp_path / "id", "wan"), save_style(tmp_path / "style")
    layers = {"memory": {"offload": "layers"}, "id_adapter": adapter}
    before = inpainter(encoder, **layers, styles=[{"weights": str(style)}])
    after = inpainter(encoder, **layers)
    after.load_lora(style)
    video, mask = video_and_mask(13)
    made = before(video, mask, "a red ball")
    wanted, num_onloaded = num_onloaded, 0
    assert np.array_equal(after(video, mask, "a red ball"), made)
    assert num_onloaded == wanted


def test_memory_that_the_plan_is_expected_to_take_is_said(encoder, caplog):
    with caplog.at_level("INFO"):
        for tiling in (False, True):
            windows = {"num_frames": 5, "overlap_frames": 1, "area_px": 480 * 720}
            inpainter(encoder, memory={"vae_tiling": tiling}, windows=windows)
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("memory: ")]
    # The VAE's share is nearly all of it: eight arrays of 128 channels of eight frames, two bytes each.
    assert said == [
        "memory: offload none, vae_tiling False: about 5.7 GB at the peak, by an estimate",
        "memory: offload none, vae_tiling True: about 1.4 GB at the peak, by an estimate",
    ]


@pytest.mark.parametrize("memory", [{"offload": "layers"}, {"offload": "text_encoder"}, {"attention": "math"}])
def test_memory_options_change_no_more_than_rounding(encoder, wan, memory):
    video, mask = video_and_mask(9)
    saved = inpainter(encoder, memory=memory)(video, mask, "a red ball")
    assert np.abs(saved.astype(int) - wan(video, mask, "a red ball")).max() <= 1


@pytest.mark.slow
def test_compiled_blocks_make_the_same_video(encoder, wan):
    video, mask = video_and_mask(9)
    compiled = inpainter(encoder, memory={"compile": True})(video, mask, "a red ball")
    assert np.abs(compiled.astype(int) - wan(video, mask, "a red ball")).max() <= 1
