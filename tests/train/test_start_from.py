"""A training that starts from the encoder of another."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.backbones.small import small_backbone
from tests.train.fixtures import settings_for
from tests.train.processes import FINGERPRINT, train_here
from tests.train.test_loop import curve
from vpdata.backbones.context_encoder import ContextEncoderSettings
from vpdata.backbones.injector import InjectionSettings
from vpdata.errors import BackendError, ConfigError
from vpdata.train.train import open_trainee
from vpdata.train.trainee import Trainee


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    output = tmp_path_factory.mktemp("first")
    train_here(settings_for(output, num_steps=4))
    return output


def opened(first: Path, *, fingerprint: str = FINGERPRINT, dtype: torch.dtype = torch.float32, **changes) -> Trainee:
    backbone = small_backbone("wan")
    backbone.transformer.to(dtype)
    settings = settings_for(first / "unused", start_from=str(first / "context_encoder"), **changes)
    return open_trainee(settings, backbone, fingerprint)


def test_training_starts_where_the_other_ended_and_goes_on_learning(first, tmp_path):
    settings = settings_for(tmp_path, start_from=str(first / "context_encoder"), num_steps=12, seed=42)
    assert train_here(settings) == "finished"
    losses = curve(tmp_path, "validation")
    assert losses[0] == curve(first, "validation")[4]
    assert losses[12] < losses[0]


def test_no_bit_of_the_weights_is_lost_on_a_backbone_of_half_precision(first):
    parameters = opened(first, dtype=torch.bfloat16).parameters()
    saved = load_file(first / "context_encoder" / "model.safetensors")
    assert parameters.keys() == saved.keys()
    assert all(torch.equal(parameters[name], tensor) for name, tensor in saved.items())


@pytest.mark.parametrize(
    "other", [{"encoder": ContextEncoderSettings(num_layers=4)}, {"injection": InjectionSettings(schedule="first")}]
)
def test_encoder_of_other_settings_is_refused(first, other):
    with pytest.raises(ConfigError, match=r"trained with other settings: got .*wanted {'num_layers': 2} and {'sched"):
        opened(first, **other)


def test_encoder_of_another_vae_is_refused(first):
    with pytest.raises(BackendError, match="another VAE or text encoder"):
        opened(first, fingerprint="f" * 16)
