import gc
import json
import shutil

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import (
    AutoencoderKL,
    AutoPipelineForInpainting,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxFillPipeline,
    FluxTransformer2DModel,
    StableDiffusionInpaintPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from tests.models.local_hub import LocalHub
from vpdata.errors import BackendError, ConfigError
from vpdata.inpaint.first_frame import FirstFrameSettings, GivenFirstFrame, ModelFirstFrame, check_aspect, read_image
from vpdata.inpaint.fit import Size
from vpdata.models.fetch import fetch
from vpdata.storage import Folder

torch.set_num_threads(1)


def frame_and_mask():
    frame = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    mask = np.zeros((64, 96), bool)
    mask[10:40, 20:60] = True
    return frame, mask


def clip_tokenizer(folder):
    """One that knows the letter a, from the two files that CLIP's is published as."""
    folder.mkdir(exist_ok=True)
    words = ["<|startoftext|>", "<|endoftext|>", "a</w>", "a"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


_CLIP_SIZES = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


def clip_text_model():
    return CLIPTextModel(CLIPTextConfig(vocab_size=4, bos_token_id=0, eos_token_id=1, **_CLIP_SIZES))


@pytest.fixture(scope="module")
def pipeline_folder(tmp_path_factory):
    """A tiny image-inpainting pipeline, made and saved by diffusers alone."""
    root = tmp_path_factory.mktemp("image-model")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = StableDiffusionInpaintPipeline(
            vae=AutoencoderKL(
                block_out_channels=(8, 8),
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                norm_num_groups=4,
            ),
            text_encoder=clip_text_model(),
            tokenizer=clip_tokenizer(root / "clip"),
            unet=UNet2DConditionModel(
                block_out_channels=(8, 8),
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                layers_per_block=1,
                sample_size=64,
                in_channels=9,
                cross_attention_dim=8,
                attention_head_dim=4,
                norm_num_groups=4,
            ),
            scheduler=DDIMScheduler(steps_offset=1),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(root / "pipeline", safe_serialization=True)
    return root / "pipeline"


@pytest.fixture(scope="module")
def flux_folder(tmp_path_factory):
    """A tiny FLUX.1 Fill, made and saved by diffusers alone."""
    root = tmp_path_factory.mktemp("flux")
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = FluxFillPipeline(
            transformer=FluxTransformer2DModel(
                # Of a token: 2 x 2 latents of 4 channels, those of what is known, and 8 x 8 pixels of mask for each.
                in_channels=16 + 16 + 4 * 64,
                out_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=1,
                joint_attention_dim=8,
                pooled_projection_dim=8,
                axes_dims_rope=(4, 4, 8),
                guidance_embeds=True,
            ),
            vae=AutoencoderKL(
                block_out_channels=(8,) * 4,
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                norm_num_groups=4,
                shift_factor=0.1,
                use_quant_conv=False,
                use_post_quant_conv=False,
            ),
            text_encoder=clip_text_model(),
            tokenizer=clip_tokenizer(root / "clip"),
            text_encoder_2=T5EncoderModel(T5Config(vocab_size=4, **sizes)),
            tokenizer_2=T5Tokenizer(vocab=[(piece, 0.0) for piece in ("<pad>", "</s>", "<unk>", "▁a")], extra_ids=0),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        )
    pipeline.save_pretrained(root / "pipeline", safe_serialization=True)
    return root / "pipeline"


def settings(folder, **more):
    return FirstFrameSettings(weights=str(folder), num_steps=2, device="cpu", dtype="float32", **more)


def test_model_fills_the_hole_and_leaves_the_rest(pipeline_folder):
    frame, mask = frame_and_mask()
    made = ModelFirstFrame(settings(pipeline_folder), prompt="a").paint(frame, mask)
    assert made.dtype == np.uint8
    assert np.array_equal(made[~mask], frame[~mask])
    assert np.abs(made[mask].astype(int) - frame[mask]).mean() > 5
    assert np.array_equal(ModelFirstFrame(settings(pipeline_folder), prompt="a").paint(frame, mask), made)
    other = ModelFirstFrame(settings(pipeline_folder, seed=1), prompt="a").paint(frame, mask)
    assert not np.array_equal(other, made)


@pytest.mark.parametrize("folder", ["pipeline_folder", "flux_folder"])
def test_what_is_published_is_fetched_and_fills_the_hole(folder, request, tmp_path, monkeypatch):
    made = request.getfixturevalue(folder)
    files = {path.relative_to(made).as_posix(): path.read_bytes() for path in made.rglob("*") if path.is_file()}
    # The files of CLIP's tokenizer as they are published: transformers 5 saves others.
    del files["tokenizer/tokenizer.json"]
    for name in ("vocab.json", "merges.txt"):
        files[f"tokenizer/{name}"] = (made.parent / "clip" / name).read_bytes()
    hub = LocalHub(tmp_path / "hub")
    hub.publish("lab/fill", files)
    monkeypatch.setenv("VPDATA_WEIGHTS", str(tmp_path / "shared"))
    fetch("lab/fill", to=Folder(tmp_path / "shared"), hub=hub)
    shutil.rmtree(hub.root)
    frame, mask = frame_and_mask()
    fetched, own = (ModelFirstFrame(settings(where), prompt="a").paint(frame, mask) for where in ("lab/fill", made))
    assert np.array_equal(fetched, own)


@pytest.mark.parametrize(("threshold", "is_flagged"), [(-5.0, True), (5.0, False)])
def test_picture_that_its_safety_checker_blacks_out_is_no_first_frame(pipeline_folder, tmp_path, threshold, is_flagged):
    """The checker flags what is nearer to a concept, as a cosine in [-1, 1], than the concept's threshold."""
    vision = _CLIP_SIZES | {"image_size": 32, "patch_size": 16}
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(projection_dim=8, vision_config=vision, text_config=dict(_CLIP_SIZES))
    )
    torch.nn.init.constant_(checker.concept_embeds_weights, threshold)
    torch.nn.init.constant_(checker.special_care_embeds_weights, 5.0)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    pipeline = AutoPipelineForInpainting.from_pretrained(
        pipeline_folder, safety_checker=checker, feature_extractor=processor
    )
    pipeline.save_pretrained(tmp_path)
    frame, mask = frame_and_mask()
    painter = ModelFirstFrame(settings(tmp_path), prompt="a")
    if is_flagged:
        with pytest.raises(BackendError, match=r"safety checker.*first_frame\.seed.*--first-frame"):
            painter.paint(frame, mask)
    else:
        assert painter.paint(frame, mask)[mask].any()


def test_image_model_that_does_not_fit_is_named_with_the_way_out(flux_folder, monkeypatch):
    def too_large(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(FluxTransformer2DModel, "forward", too_large)
    with pytest.raises(BackendError, match=r"does not hold .*--first-frame.*first_frame\.weights"):
        ModelFirstFrame(settings(flux_folder), prompt="a").paint(*frame_and_mask())


def test_image_model_is_let_go_before_the_video_is_made(flux_folder):
    """By the weights that are alive: those that hold themselves would wait for the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        ModelFirstFrame(settings(flux_folder), prompt="a").paint(*frame_and_mask())
        alive = [one for one in gc.get_objects() if type(one) in (FluxTransformer2DModel, AutoencoderKL)]
    finally:
        gc.enable()
    assert not alive


def test_folder_that_is_no_pipeline_is_refused(tmp_path):
    frame, mask = frame_and_mask()
    with pytest.raises(BackendError, match=r"no model_index\.json"):
        ModelFirstFrame(settings(tmp_path), prompt="a").paint(frame, mask)
    (tmp_path / "model_index.json").write_text('{"_class_name": "OsSystem"}')
    with pytest.raises(BackendError, match="cannot be loaded"):
        ModelFirstFrame(settings(tmp_path), prompt="a").paint(frame, mask)


def test_given_picture_is_scaled_and_used_in_the_hole_alone():
    frame, mask = frame_and_mask()
    made = GivenFirstFrame(np.full((128, 192, 3), 7, np.uint8)).paint(frame, mask)
    assert (made[mask] == 7).all()
    assert np.array_equal(made[~mask], frame[~mask])


def test_part_of_a_frame_is_not_taken_for_a_frame():
    check_aspect(np.zeros((721, 1280, 3), np.uint8), Size(height_px=360, width_px=640))
    with pytest.raises(ConfigError, match="another aspect"):
        check_aspect(np.zeros((720, 720, 3), np.uint8), Size(height_px=360, width_px=640))


def test_first_frame_of_anamorphic_video_may_have_stored_or_shown_pixels():
    sizes = Size(height_px=576, width_px=1024), Size(height_px=576, width_px=720)
    for width in (720, 1024):
        check_aspect(np.zeros((576, width, 3), np.uint8), *sizes)
    with pytest.raises(ConfigError, match="1024 x 576 px or 720 x 576 px"):
        check_aspect(np.zeros((576, 576, 3), np.uint8), *sizes)


def test_picture_files_are_read_as_rgb_and_others_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "red.png"), np.full((4, 6, 3), (0, 0, 255), np.uint8))
    assert read_image(tmp_path / "red.png")[0, 0].tolist() == [255, 0, 0]
    (tmp_path / "text.png").write_text("no picture")
    for name in ("text.png", "missing.png"):
        with pytest.raises(ConfigError, match=name):
            read_image(tmp_path / name)
