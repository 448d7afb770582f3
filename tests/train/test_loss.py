"""The velocity loss, by hand computation."""

import pytest
import torch

from vpdata.train.loss import LossSettings, sums_by_bin, velocity_loss


def hole_of(*cells: int) -> torch.Tensor:
    """[B, 1, 1, 2, 4] with that many cells of each sample masked, from the first on."""
    return torch.stack([(torch.arange(8) < count).float().reshape(1, 1, 2, 4) for count in cells])


def test_hole_term_does_not_depend_on_the_size_of_the_hole():
    target = torch.zeros(2, 3, 1, 2, 4)
    loss = velocity_loss(target + 2, target, hole_of(1, 8), settings=LossSettings(masked_weight=0.5))
    assert loss.everywhere.tolist() == [4, 4]
    assert loss.hole.tolist() == [4, 4]
    assert loss.total.tolist() == [6, 6]


def test_hole_term_sees_only_the_hole():
    prediction = torch.zeros(1, 1, 1, 2, 4)
    prediction[..., 0, 0] = 4  # in the hole of two cells
    prediction[..., 1, 3] = 8  # outside
    loss = velocity_loss(prediction, torch.zeros_like(prediction), hole_of(2), settings=LossSettings())
    assert loss.hole.item() == 16 / 2
    assert loss.everywhere.item() == (16 + 64) / 8


def test_sample_without_a_hole_has_no_hole_term_and_a_finite_gradient():
    prediction = torch.ones(1, 1, 1, 2, 4, requires_grad=True)
    loss = velocity_loss(prediction, torch.zeros_like(prediction), hole_of(0), settings=LossSettings())
    loss.total.sum().backward()
    assert loss.hole.item() == 0
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()


def test_half_precision_is_summed_in_float32():
    target = torch.zeros(1, 16, 4, 64, 64, dtype=torch.bfloat16)
    loss = velocity_loss(target + 1, target, torch.ones(1, 1, 4, 64, 64), settings=LossSettings())
    assert loss.everywhere.item() == 1
    assert loss.total.dtype == torch.float32


def test_losses_are_summed_by_bin():
    sums, counts = sums_by_bin(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([2, 0, 2]), num_bins=4)
    assert sums.tolist() == [2, 0, 5, 0]
    assert counts.tolist() == [1, 0, 2, 0]


def test_negative_weight_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        LossSettings(masked_weight=-1)
