"""The network behind FVID: Inception-v1 with its filters inflated to three dimensions, up to its last mixed block."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool3d, pad, relu

Triple = tuple[int, int, int]
_ONE, _THREE, _TWO = (1, 1, 1), (3, 3, 3), (2, 2, 2)


class I3d(nn.Module):
    """Carreira and Zisserman 2017 (https://arxiv.org/abs/1705.07750), RGB, trained on Kinetics-400.

    Its parameters have the names and shapes of the published `i3d_rgb_imagenet.pt`. `forward` takes [N, 3, T, H, W] and
    gives [N, 1024], the mean of `Mixed_5c` over time and place; the head of 400 classes is loaded and not used.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, (7, 7, 7), stride=_TWO)
        self.MaxPool3d_2a_3x3 = MaxPool((1, 3, 3), stride=(1, 2, 2))
        self.Conv3d_2b_1x1 = Unit(64, 64, _ONE)
        self.Conv3d_2c_3x3 = Unit(64, 192, _THREE)
        self.MaxPool3d_3a_3x3 = MaxPool((1, 3, 3), stride=(1, 2, 2))
        self.Mixed_3b = Mixed(192, (64, 96, 128, 16, 32, 32))
        self.Mixed_3c = Mixed(256, (128, 128, 192, 32, 96, 64))
        self.MaxPool3d_4a_3x3 = MaxPool(_THREE, stride=_TWO)
        self.Mixed_4b = Mixed(480, (192, 96, 208, 16, 48, 64))
        self.Mixed_4c = Mixed(512, (160, 112, 224, 24, 64, 64))
        self.Mixed_4d = Mixed(512, (128, 128, 256, 24, 64, 64))
        self.Mixed_4e = Mixed(512, (112, 144, 288, 32, 64, 64))
        self.Mixed_4f = Mixed(528, (256, 160, 320, 32, 128, 128))
        self.MaxPool3d_5a_2x2 = MaxPool(_TWO, stride=_TWO)
        self.Mixed_5b = Mixed(832, (256, 160, 320, 32, 128, 128))
        self.Mixed_5c = Mixed(832, (384, 192, 384, 48, 128, 128))
        self.logits = Logits(1024, 400)

    def forward(self, pixels: Tensor) -> Tensor:
        for name, layer in self.named_children():
            if name != "logits":
                pixels = layer(pixels)
        return pixels.mean(dim=(2, 3, 4))


class Unit(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, num_in: int, num_out: int, kernel: Triple, *, stride: Triple = _ONE) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(num_in, num_out, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(num_out, eps=1e-3)

    def forward(self, values: Tensor) -> Tensor:
        kernel, stride = self.conv3d.kernel_size, self.conv3d.stride
        return relu(self.bn(self.conv3d(_padded(values, kernel, stride))))


class MaxPool(nn.Module):
    """The maximum over windows that may reach over the edge, where there are zeros."""

    def __init__(self, kernel: Triple, *, stride: Triple) -> None:
        super().__init__()
        self._kernel, self._stride = kernel, stride

    def forward(self, values: Tensor) -> Tensor:
        return max_pool3d(_padded(values, self._kernel, self._stride), self._kernel, self._stride)


class Mixed(nn.Module):
    """Four branches side by side: 1, 1 and 3, 1 and 3, a maximum and 1."""

    def __init__(self, num_in: int, num_out: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.b0 = Unit(num_in, num_out[0], _ONE)
        self.b1a, self.b1b = Unit(num_in, num_out[1], _ONE), Unit(num_out[1], num_out[2], _THREE)
        self.b2a, self.b2b = Unit(num_in, num_out[3], _ONE), Unit(num_out[3], num_out[4], _THREE)
        self.b3a, self.b3b = MaxPool(_THREE, stride=_ONE), Unit(num_in, num_out[5], _ONE)

    def forward(self, values: Tensor) -> Tensor:
        branches = (
            self.b0(values),
            self.b1b(self.b1a(values)),
            self.b2b(self.b2a(values)),
            self.b3b(self.b3a(values)),
        )
        return torch.cat(branches, dim=1)


class Logits(nn.Module):
    """The head, of which only the parameters are there."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(num_in, num_out, _ONE)


def _padded(values: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Zeros around [N, C, T, H, W], as TensorFlow's SAME has them: ceil(size / stride) windows, the odd zero behind."""
    amounts: list[int] = []
    for size, length, step in zip(reversed(values.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        missing = max(0, (ceil(size / step) - 1) * step + length - size)
        amounts += [missing // 2, missing - missing // 2]
    return pad(values, amounts)
