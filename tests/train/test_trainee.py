"""What is trained is what is saved."""

import pytest
import torch

from tests.train.test_parallel import trainee_on
from vpdata.train.trainee import assert_only_trainable


@pytest.mark.parametrize("name", ["cogvideox-5b", "wan"])
def test_all_that_is_not_saved_is_frozen(name):
    trainee = trainee_on(name)
    assert_only_trainable(trainee)
    trained = [value for value in trainee.model.parameters() if value.requires_grad]
    assert sum(value.numel() for value in trained) == trainee.num_parameters > 0


def test_trained_parameter_outside_of_what_is_saved_is_named():
    trainee = trainee_on("wan")
    next(iter(trainee.backbone.transformer.parameters())).requires_grad_(True)
    with pytest.raises(AssertionError, match="scale_shift_table"):
        assert_only_trainable(trainee)


def test_trained_parameters_are_float32_whatever_the_backbone_is():
    assert {value.dtype for value in trainee_on("wan").parameters().values()} == {torch.float32}
