import numpy as np
import pytest
import torch

from vpdata.backbones.latent_masks import cells, pack, union_over_groups
from vpdata.errors import ConfigError


def test_each_latent_frame_takes_the_union_of_the_frames_behind_it():
    mask = np.zeros((9, 4, 4), bool)
    for frame in range(9):
        mask[frame, frame // 4, frame % 4] = True
    unions = union_over_groups(mask, stride_t=4)
    assert [sorted(map(tuple, np.argwhere(union).tolist())) for union in unions] == [
        [(0, 0)],
        [(0, 1), (0, 2), (0, 3), (1, 0)],
        [(1, 1), (1, 2), (1, 3), (2, 0)],
    ]


def test_frames_that_fill_no_group_are_refused():
    with pytest.raises(ConfigError, match="8 frames, wanted 4k"):
        union_over_groups(np.zeros((8, 4, 4), bool), stride_t=4)


def test_packed_mask_holds_every_pixel_once():
    unions = torch.zeros(1, 2, 16, 24)
    unions[0, 1, 9, 17] = 1
    packed = pack(unions, stride_px=8)
    assert packed.shape == (1, 64, 2, 2, 3)
    # Pixel (9, 17) is row 1, column 1 of the cell in row 1, column 2.
    assert packed.nonzero().tolist() == [[0, 1 * 8 + 1, 1, 1, 2]]


def test_cell_is_masked_if_one_of_its_pixels_is():
    unions = torch.zeros(1, 1, 16, 16)
    unions[0, 0, 3, 12] = 1
    assert cells(pack(unions, stride_px=8)).squeeze().tolist() == [[0, 1], [0, 0]]
