"""Settings of a training that cannot be meant."""

import pytest

from tests.train.fixtures import settings_for
from vpdata.backbones.context_encoder import ContextEncoderSettings
from vpdata.backbones.identity_adapter import IdentitySettings
from vpdata.backbones.injector import InjectionSettings
from vpdata.backbones.settings import BackboneSettings
from vpdata.media.mask_mix import MaskMix
from vpdata.train.data import DataSettings
from vpdata.train.online_batches import OnlineSettings


def test_negative_seed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got seed -1, wanted 0 or more"):
        settings_for(tmp_path, seed=-1)


@pytest.mark.parametrize(
    "ignored",
    [
        {"encoder": ContextEncoderSettings(num_layers=4)},
        {"injection": InjectionSettings(schedule="first")},
        {"start_from": "another"},
    ],
)
def test_what_the_encoder_of_stage_2_already_has_is_no_setting_of_it(ignored, tmp_path):
    (name,) = ignored
    with pytest.raises(ValueError, match=f"got {name} in the stage id_adapter, wanted none"):
        settings_for(tmp_path, stage="id_adapter", context_encoder="somewhere", **ignored)


@pytest.mark.parametrize("ignored", [{"identity": IdentitySettings(rank=4)}, {"identity_scheme": "same_window"}])
def test_settings_of_the_adapter_are_none_of_stage_1(ignored, tmp_path):
    (name,) = ignored
    with pytest.raises(ValueError, match=f"got {name} in the stage context_encoder, wanted none"):
        settings_for(tmp_path, **ignored)


def test_masks_of_latents_are_drawn_when_they_are_encoded():
    online = OnlineSettings(masks=MaskMix(continued_frac=0.5))
    with pytest.raises(ValueError, match=r"drawn by `vpdata encode`, whose config has .*`encode.masks`"):
        DataSettings(latents="latents", online=online, split="none")
    DataSettings(run="run", online=online, split="none")


def test_identity_is_not_read_by_the_expert_for_high_noise(tmp_path):
    two = BackboneSettings(tiny="wan2.2-a14b", expert="high_noise", device="cpu", dtype="float32")
    with pytest.raises(ValueError, match=r"got backbone.expert high_noise .* wanted low_noise"):
        settings_for(tmp_path, stage="id_adapter", context_encoder="somewhere", backbone=two)
    settings_for(tmp_path, backbone=two)
