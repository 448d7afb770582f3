import json

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from vpdata.errors import BackendError, ConfigError
from vpdata.inpaint.first_frame import FirstFrameSettings, GivenFirstFrame, ModelFirstFrame, check_aspect, read_image
from vpdata.inpaint.fit import Size

torch.set_num_threads(1)


def frame_and_mask():
    frame = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    mask = np.zeros((64, 96), bool)
    mask[10:40, 20:60] = True
    return frame, mask


@pytest.fixture(scope="module")
def pipeline_folder(tmp_path_factory):
    """A tiny image-inpainting pipeline, made and saved by diffusers alone."""
    root = tmp_path_factory.mktemp("image-model")
    words = ["<|startoftext|>", "<|endoftext|>", "a</w>", "a"]
    (root / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (root / "merges.txt").write_text("#version: 0.2\n")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = StableDiffusionInpaintPipeline(
            vae=AutoencoderKL(
                block_out_channels=(8, 8),
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                norm_num_groups=4,
            ),
            text_encoder=CLIPTextModel(
                CLIPTextConfig(
                    vocab_size=4,
                    hidden_size=8,
                    intermediate_size=8,
                    num_hidden_layers=1,
                    num_attention_heads=2,
                    bos_token_id=0,
                    eos_token_id=1,
                )
            ),
            tokenizer=CLIPTokenizer(str(root / "vocab.json"), str(root / "merges.txt"), model_max_length=77),
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
