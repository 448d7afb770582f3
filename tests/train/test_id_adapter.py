"""Stage 2: the ID adapter on a frozen context encoder."""

import json
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.backbones.small import small_backbone
from tests.train.fixtures import RandomBatches, settings_for
from tests.train.processes import FINGERPRINT, train_here, train_in_processes
from tests.train.test_loop import curve
from vpdata.backbones.identity import Scope
from vpdata.backbones.identity_adapter import IdentitySettings
from vpdata.backbones.identity_saving import load_id_adapter
from vpdata.backbones.saving import load_context_encoder
from vpdata.errors import BackendError, ConfigError
from vpdata.train.id_adapter import id_adapter_trainee
from vpdata.train.loss import LossSettings
from vpdata.train.parallel import ParallelSettings, lay_out
from vpdata.train.settings import TrainSettings
from vpdata.train.step import training_loss
from vpdata.train.trainee import Trainee, assert_only_trainable
from vpdata.train.world import joined_world

IDENTITY = IdentitySettings(rank=4, alpha=4, max_tokens=16)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def context_encoder(tmp_path_factory) -> Path:
    """What stage 1 leaves."""
    torch.set_num_threads(1)
    output = tmp_path_factory.mktemp("stage1")
    train_here(settings_for(output, num_steps=4))
    return output / "context_encoder"


def settings(output: Path, context_encoder: Path, **changes: object) -> TrainSettings:
    return settings_for(
        output, stage="id_adapter", context_encoder=str(context_encoder), **{"identity": IDENTITY} | changes
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory, context_encoder) -> Path:
    torch.set_num_threads(1)
    output = tmp_path_factory.mktemp("stage2")
    train_here(settings(output, context_encoder), pairs=True)
    return output


def test_loss_on_held_out_pairs_goes_down(whole):
    losses = curve(whole, "validation")
    assert losses[12] < losses[6]


def test_saved_adapter_opens_with_one_call_and_has_learnt(whole):
    adapter = load_id_adapter(whole / "id_adapter", small_backbone("wan"))
    assert adapter.settings == IDENTITY
    assert all(parameter.any() for parameter in adapter.parameters())


def test_training_that_is_stopped_and_goes_on_repeats_the_curve_bit_by_bit(whole, context_encoder, tmp_path):
    assert train_here(settings(tmp_path, context_encoder, stop_at_step=6), pairs=True) == "stopped"
    assert train_here(settings(tmp_path, context_encoder), pairs=True) == "finished"
    assert curve(tmp_path) == curve(whole)


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_learns(whole, context_encoder, tmp_path, mode):
    parallel = ParallelSettings(mode=mode, checkpoint_every=1)
    both = settings(tmp_path, context_encoder, parallel=parallel)
    assert train_in_processes(both, num_processes=2, micro=1, pairs=True) == [0, 0]
    assert curve(tmp_path) == pytest.approx(curve(whole), rel=1e-4)
    assert (tmp_path / "id_adapter" / "pytorch_lora_weights.safetensors").exists()


@pytest.mark.parametrize("scope", ["id_only", "joint"])
@pytest.mark.parametrize("scheme", ["other_window", "same_window"])
def test_only_the_adapter_is_trained_and_all_of_it_in_the_end(context_encoder, tmp_path, scheme, scope):
    model = load_context_encoder(context_encoder, small_backbone("wan"), fingerprint=FINGERPRINT)
    identity = IdentitySettings(rank=4, alpha=4, scope=scope)
    splits = [{"name": "mine.parquet", "sha256": "0" * 64}]
    trainee = id_adapter_trainee(model, identity=identity, scheme=scheme, seed=1, splits=splits)
    assert_only_trainable(trainee)
    (batch,) = next(RandomBatches(model.backbone, pairs=True).epoch(0))
    step = training_loss(trainee, trainee.model, batch, seed=1, dtype=torch.float32, settings=LossSettings())
    step.loss.total.mean().backward()
    for key, parameter in trainee.parameters().items():
        # A new adapter's second matrices are zero, and all gradients of its first ones behind them.
        assert parameter.grad is not None, key
        assert parameter.grad.any() == ("lora_B" in key), key
    trainee.save(tmp_path, trainee.parameters())
    assert json.loads((tmp_path / "id_adapter_config.json").read_text())["training_data"] == {"splits": splits}


def trained_adapter(context_encoder: Path, *, dtype: torch.dtype, scope: Scope) -> Trainee:
    """On a backbone whose weights bfloat16 can hold, in any dtype."""
    backbone = small_backbone("wan")
    backbone.transformer.to(torch.bfloat16).to(dtype)
    model = load_context_encoder(context_encoder, backbone, fingerprint=FINGERPRINT)
    trainee = id_adapter_trainee(model, identity=replace(IDENTITY, scope=scope), scheme="other_window", seed=1)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for parameter in trainee.parameters().values():
            torch.nn.init.normal_(parameter, std=0.2)
    return trainee


def test_training_in_bfloat16_computes_what_inference_does_and_nearly_what_float32_does(context_encoder):
    def prediction(trainee: Trainee, dtype: torch.dtype) -> torch.Tensor:
        (batch,) = next(RandomBatches(trainee.backbone, pairs=True).epoch(0))
        batch = batch.to("cpu", torch.bfloat16).to("cpu", dtype)
        with torch.no_grad():
            return trainee.predict(trainee.model, batch, batch.video.flip(3), torch.tensor([300.0, 800.0])).float()

    exact = prediction(trained_adapter(context_encoder, dtype=torch.float32, scope="joint"), torch.float32)
    trainee = trained_adapter(context_encoder, dtype=torch.bfloat16, scope="joint")
    in_inference = prediction(trainee, torch.bfloat16)
    with joined_world("cpu") as world:
        lay_out(trainee, settings=ParallelSettings(), dtype="bfloat16", world=world)
        assert torch.equal(prediction(trainee, torch.bfloat16), in_inference)
    # One rounding is off by at most 2**-9, and by these blocks some go one after another.
    assert (in_inference - exact).norm() / exact.norm() < 2**-6


def test_joint_adapter_in_bfloat16_keeps_no_copies_in_float32(context_encoder):
    def kept_bytes(scope: Scope) -> int:
        kept: dict[int, torch.Tensor] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        trainee = trained_adapter(context_encoder, dtype=torch.bfloat16, scope=scope)
        (batch,) = next(RandomBatches(trainee.backbone, pairs=True).epoch(0))
        with joined_world("cpu") as world, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model = lay_out(trainee, settings=ParallelSettings(), dtype="bfloat16", world=world)
            step = training_loss(trainee, model, batch, seed=1, dtype=torch.bfloat16, settings=LossSettings())
            step.loss.total.mean().backward()
        assert {parameter.grad.dtype for parameter in trainee.parameters().values()} == {torch.float32}
        return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())

    # In bfloat16 what the projections are given is there already, or two bytes a number. In float32 it is 1.3 times.
    assert kept_bytes("joint") < 1.15 * kept_bytes("id_only")


@pytest.mark.parametrize("scheme", ["other_window", "same_window"])
def test_flops_count_the_pass_that_gathers_identity(context_encoder, scheme):
    model = load_context_encoder(context_encoder, small_backbone("wan"), fingerprint=FINGERPRINT)
    (batch,) = next(RandomBatches(model.backbone, pairs=True).epoch(0))
    shape = tuple(batch.video.shape[1:])
    # As many tokens as the window has: what `same_window` gathers where the hole is the whole frame.
    num_tokens = prod(model.backbone.spec.grid(shape))
    identity = IdentitySettings(rank=4, alpha=4, max_tokens=num_tokens)
    trainee = id_adapter_trainee(model, identity=identity, scheme=scheme, seed=1)
    batch = replace(batch, packed_mask=torch.ones_like(batch.packed_mask))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        step = training_loss(trainee, trainee.model, batch, seed=1, dtype=torch.float32, settings=LossSettings())
        step.loss.total.mean().backward()
    # The window of `other_window` is shorter than the bound.
    assert 1.0 <= len(batch) * trainee.sample_flops(shape) / counter.get_total_flops() < 1.2


def test_first_weights_are_the_same_in_every_process(context_encoder):
    def first_weights(disturbance: int) -> list[torch.Tensor]:
        torch.manual_seed(disturbance)
        model = load_context_encoder(context_encoder, small_backbone("wan"))
        before = torch.get_rng_state()
        trainee = id_adapter_trainee(model, identity=IDENTITY, scheme="other_window", seed=1)
        assert torch.equal(torch.get_rng_state(), before)
        return [parameter.detach() for parameter in trainee.parameters().values()]

    for one, other in zip(first_weights(1), first_weights(2), strict=True):
        assert torch.equal(one, other)


def test_batch_without_a_source_is_refused(context_encoder):
    model = load_context_encoder(context_encoder, small_backbone("wan"))
    trainee = id_adapter_trainee(model, identity=IDENTITY, scheme="other_window", seed=1)
    (batch,) = next(RandomBatches(model.backbone).epoch(0))
    with pytest.raises(ConfigError, match="no source"):
        training_loss(trainee, trainee.model, batch, seed=1, dtype=torch.float32, settings=LossSettings())


def test_encoder_of_another_vae_is_refused(context_encoder, tmp_path):
    backbone = small_backbone("wan")
    with pytest.raises(BackendError, match="another VAE or text encoder"):
        load_context_encoder(context_encoder, backbone, fingerprint="f" * 16)


def test_stage_2_without_a_context_encoder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="starts from the folder of a trained context encoder"):
        settings_for(tmp_path, stage="id_adapter")


def test_stage_1_with_a_context_encoder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="starts from the folder of a trained context encoder"):
        settings_for(tmp_path, context_encoder="somewhere")


def test_compiling_for_identity_tokens_is_refused(tmp_path):
    with pytest.raises(ValueError, match="number of identity tokens"):
        settings(tmp_path, tmp_path, parallel=ParallelSettings(compile=True))
