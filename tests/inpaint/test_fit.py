import numpy as np
import pytest

from vpdata.backbones.spec import BackboneSpec
from vpdata.errors import ConfigError
from vpdata.inpaint.fit import Size, model_size, scale_frames, scale_masks

SPEC = BackboneSpec(
    family="wan",
    num_blocks=2,
    dim=8,
    num_heads=1,
    patch=(1, 2, 2),
    latent_channels=16,
    stride_t=4,
    stride_px=8,
    text_length=4,
    text_dim=4,
    takes_first_frame=False,
    joins_text=False,
)


@pytest.mark.parametrize(
    ("video", "wanted"),
    [((480, 720), (480, 720)), ((1080, 1920), (448, 784)), ((1920, 1080), (784, 448)), ((601, 601), (592, 592))],
)
def test_model_size_keeps_the_aspect_in_whole_tokens(video, wanted):
    height, width = video
    size = model_size(Size(height_px=height, width_px=width), SPEC, area_px=480 * 720)
    assert (size.height_px, size.width_px) == wanted
    assert abs(size.height_px * size.width_px / (480 * 720) - 1) < 0.05


def test_sliver_of_a_video_is_refused():
    with pytest.raises(ConfigError, match="narrower than a token"):
        model_size(Size(height_px=2, width_px=16000), SPEC, area_px=480 * 720)


def test_frames_that_shrink_are_averaged():
    frames = np.zeros((1, 4, 4, 3), np.uint8)
    frames[0, :2, :2] = [[[0], [40]], [[80], [120]]]
    assert scale_frames(frames, Size(height_px=2, width_px=2))[0, :, :, 0].tolist() == [[60, 0], [0, 0]]


def test_frames_of_the_right_size_keep_every_bit():
    frames = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), dtype=np.uint8)
    assert scale_frames(frames, Size(height_px=6, width_px=8)) is frames


def test_mask_that_shrinks_loses_no_pixel():
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 37, 11] = True
    assert np.argwhere(scale_masks(mask, Size(height_px=8, width_px=8))).tolist() == [[0, 4, 1]]


@pytest.mark.parametrize(("height", "width"), [(25, 70), (70, 25), (17, 64), (90, 11)])
def test_mask_of_which_one_side_shrinks_loses_no_pixel(height, width):
    rows, columns = np.mgrid[:64, :64]
    for at in range(64):
        for line in (rows == at, columns == at):
            assert scale_masks(line[None], Size(height_px=height, width_px=width)).any()


def test_frame_of_which_one_side_shrinks_is_averaged_along_it():
    frames = np.zeros((1, 8, 4, 3), np.uint8)
    frames[0, ::4] = 200
    assert np.unique(scale_frames(frames, Size(height_px=2, width_px=6))).tolist() == [50]


def test_mask_that_grows_covers_at_least_what_it_did():
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 1:3, 1:3] = True
    grown = scale_masks(mask, Size(height_px=16, width_px=16))[0]
    assert grown[4:12, 4:12].all()
    assert not grown[:2].any()
