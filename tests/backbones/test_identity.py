import pytest
import torch

pytest.importorskip("peft")

from tests.backbones.small import SMALL, inputs_for, small_backbone
from vpdata.backbones.identity import gather_positions
from vpdata.backbones.identity_adapter import IdentityAdapter, IdentitySettings, IdentitySource

torch.set_num_threads(1)


def adapter_on(name: str, *, scope: str = "id_only", trained: bool = False, max_tokens: int = 2048) -> IdentityAdapter:
    backbone = small_backbone(name)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        adapter = IdentityAdapter(backbone, IdentitySettings(rank=4, alpha=8, scope=scope, max_tokens=max_tokens))
        if trained:
            for parameter in adapter.parameters():
                torch.nn.init.normal_(parameter, std=0.2)
    return adapter


def source_for(adapter: IdentityAdapter, *, object_items: int = 2, first_latent_frame: int = -3) -> IdentitySource:
    inputs = inputs_for(adapter.backbone)
    cells = torch.zeros(2, 1, 3, 8, 12)
    cells[0, :, :, 2:5, 3:7] = 1
    if object_items == 2:
        cells[1, :, 1:, 0:2, 0:2] = 1
    return IdentitySource(
        latents=inputs.noisy.flip(-1),
        timesteps=torch.tensor([20.0, 20.0]),
        conditions=inputs.conditions,
        object_cells=cells,
        first_latent_frame=first_latent_frame,
    )


def predict(adapter: IdentityAdapter) -> torch.Tensor:
    inputs = inputs_for(adapter.backbone)
    return adapter.backbone.predict(inputs.noisy, inputs.timesteps, inputs.conditions)


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_id_only_without_identity_tokens_is_the_backbone_bit_for_bit_even_when_trained(name):
    inputs = inputs_for(backbone := small_backbone(name))
    wanted = backbone.predict(inputs.noisy, inputs.timesteps, inputs.conditions)
    assert torch.equal(predict(adapter_on(name, trained=True)), wanted)


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_new_joint_adapter_is_the_backbone_bit_for_bit(name):
    inputs = inputs_for(backbone := small_backbone(name))
    wanted = backbone.predict(inputs.noisy, inputs.timesteps, inputs.conditions)
    assert torch.equal(predict(adapter_on(name, scope="joint")), wanted)


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_captured_tokens_change_the_prediction_until_they_are_cleared(name):
    adapter = adapter_on(name)
    plain = predict(adapter)
    assert adapter.capture(source_for(adapter)) > 0
    assert not torch.equal(predict(adapter), plain)
    adapter.clear()
    assert torch.equal(predict(adapter), plain)


@torch.no_grad()
@pytest.mark.parametrize("name", ["cogvideox-5b", "wan", "ltx", "hunyuan"])
def test_tokens_of_the_same_window_at_its_own_place_count_twice_in_attention(name):
    """Truth by hand: every key twice, with equal values, leaves each softmax average as it was."""
    adapter = adapter_on(name)
    inputs = inputs_for(adapter.backbone)
    plain = predict(adapter)
    everything = IdentitySource(
        latents=inputs.noisy,
        timesteps=inputs.timesteps,
        conditions=inputs.conditions,
        object_cells=torch.ones(2, 1, 3, 8, 12),
        first_latent_frame=0,
    )
    adapter.capture(everything)
    if adapter.backbone.spec.joins_text:
        # Text keys count once, so only the video's share of the attention doubles.
        assert not torch.allclose(predict(adapter), plain, rtol=1e-4, atol=1e-4)
    else:
        torch.testing.assert_close(predict(adapter), plain, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", ["cogvideox-5b", "wan", "ltx", "hunyuan"])
def test_padded_tokens_of_a_batch_are_not_looked_at(name):
    adapter = adapter_on(name, trained=True)
    adapter.capture(source_for(adapter))
    together = predict(adapter)
    inputs, source = inputs_for(adapter.backbone), source_for(adapter)
    for item in range(2):
        one = inputs.slice(item, item + 1)
        adapter.capture(
            IdentitySource(
                latents=source.latents[item : item + 1],
                timesteps=source.timesteps[item : item + 1],
                conditions=one.conditions,
                object_cells=source.object_cells[item : item + 1],
                first_latent_frame=source.first_latent_frame,
            )
        )
        alone = adapter.backbone.predict(one.noisy, one.timesteps, one.conditions)
        torch.testing.assert_close(together[item : item + 1], alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_item_without_an_object_looks_at_nothing_but_itself():
    adapter = adapter_on("wan", trained=True)
    plain = predict(adapter)
    adapter.capture(source_for(adapter, object_items=1))
    with_identity = predict(adapter)
    assert not torch.allclose(with_identity[0], plain[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(with_identity[1], plain[1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["cogvideox-5b", "wan", "ltx", "hunyuan"])
def test_place_in_time_of_the_source_matters(name):
    adapter = adapter_on(name)
    predictions = []
    for frame in (-3, -9):
        adapter.capture(source_for(adapter, first_latent_frame=frame))
        predictions.append(predict(adapter))
    assert not torch.allclose(*predictions, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scope", ["id_only", "joint"])
@pytest.mark.parametrize("name", SMALL)
def test_every_second_matrix_receives_a_gradient_and_the_backbone_none(name, scope):
    adapter = adapter_on(name, scope=scope)
    adapter.capture(source_for(adapter))
    predict(adapter).square().mean().backward()
    trained = {id(parameter) for parameter in adapter.parameters()}
    for key, parameter in adapter.backbone.transformer.named_parameters():
        if id(parameter) not in trained:
            assert parameter.grad is None, key
        elif "lora_B" in key:
            assert parameter.grad.any(), key
        else:
            assert parameter.grad is not None, key
    assert all(parameter.dtype == torch.float32 for parameter in adapter.parameters())


@pytest.mark.parametrize("name", ["cogvideox-5b", "ltx", "hunyuan"])
def test_gradients_are_equal_with_activation_checkpoints(name):
    gradients = []
    for checkpointed in (False, True):
        adapter = adapter_on(name, trained=True)
        if checkpointed:
            adapter.backbone.transformer.enable_gradient_checkpointing()
        adapter.capture(source_for(adapter))
        predict(adapter).square().mean().backward()
        gradients.append([parameter.grad for parameter in adapter.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


@torch.no_grad()
def test_more_tokens_than_the_budget_are_thinned_out_evenly():
    tokens = torch.zeros(1, 100, dtype=torch.bool)
    tokens[0, 10:51] = True
    gathered = gather_positions(tokens, max_tokens=5)
    assert gathered is not None
    assert gathered.positions.tolist() == [[10, 20, 30, 40, 50]]
    assert gathered.valid is None


def test_no_object_anywhere_captures_nothing():
    assert gather_positions(torch.zeros(2, 10, dtype=torch.bool), max_tokens=5) is None


@torch.no_grad()
def test_capture_that_fails_leaves_no_tokens_behind():
    adapter = adapter_on("wan")
    plain = predict(adapter)
    source = source_for(adapter)
    adapter.backbone.blocks[2].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        adapter.capture(source)
    adapter.backbone.blocks[2]._forward_hooks.clear()
    assert torch.equal(predict(adapter), plain)
