import copy
from dataclasses import replace

import pytest
import torch

pytest.importorskip("diffusers")

from tests.backbones.small import SMALL, inputs_for, small_backbone
from vpdata.backbones.context_encoder import ContextEncoder, ContextEncoderSettings
from vpdata.backbones.identity_adapter import IdentityAdapter, IdentitySettings, IdentitySource
from vpdata.backbones.injector import InjectionSettings, schedule
from vpdata.backbones.inpainting import InpaintingBackbone
from vpdata.backbones.latent_masks import cells
from vpdata.errors import ConfigError

torch.set_num_threads(1)


def inpainting(name: str, *, num_layers: int = 2, **injection) -> InpaintingBackbone:
    backbone = small_backbone(name)
    encoder = ContextEncoder(backbone, ContextEncoderSettings(num_layers=num_layers))
    return InpaintingBackbone(backbone, encoder, InjectionSettings(**injection))


def leave_zero(model: InpaintingBackbone) -> None:
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for output in model.encoder.outputs:
            output.weight.copy_(torch.randn(output.weight.shape, generator=random) * 0.1)


def run(model: InpaintingBackbone, inputs) -> torch.Tensor:
    return model(inputs.noisy, inputs.timesteps, inputs.conditions, inputs.context)


@torch.no_grad()
@pytest.mark.parametrize("background_only", [True, False])
@pytest.mark.parametrize("name", SMALL)
def test_new_encoder_changes_no_bit_of_the_backbone(name, background_only):
    backbone = small_backbone(name)
    inputs = inputs_for(backbone)
    wanted = backbone.predict(inputs.noisy, inputs.timesteps, inputs.conditions)
    assert torch.equal(run(inpainting(name, background_only=background_only), inputs), wanted)


@pytest.mark.parametrize("name", SMALL)
def test_every_trained_parameter_receives_a_gradient_and_nothing_else_does(name):
    model = inpainting(name)
    leave_zero(model)
    inputs = inputs_for(model.backbone)
    run(model, inputs).square().mean().backward()
    without = [key for key, parameter in model.encoder.named_parameters() if parameter.grad is None]
    zero = [key for key, parameter in model.encoder.named_parameters() if not parameter.grad.any()]
    assert (without, zero) == ([], [])
    assert all(parameter.grad is None for parameter in model.transformer.parameters())


def test_last_copied_block_of_hunyuan_lacks_what_only_makes_text():
    """By hand: queries and output of text, its norm and its feed-forward of four times the width."""
    backbone = small_backbone("hunyuan")
    first, last = ContextEncoder(backbone, ContextEncoderSettings(num_layers=2)).blocks
    dim, head_dim = backbone.spec.dim, backbone.spec.dim // 2
    lacking = 2 * (dim + 1) * dim + head_dim + (dim + 1) * 4 * dim + (4 * dim + 1) * dim
    sizes = [sum(parameter.numel() for parameter in block.parameters()) for block in (first, last)]
    assert sizes[0] - sizes[1] == lacking


@pytest.mark.parametrize("num_layers", [1, 4])
def test_every_parameter_of_a_shallow_and_of_a_deep_encoder_receives_a_gradient(num_layers):
    """Of Hunyuan's four small blocks, two have a stream of their own for text."""
    model = inpainting("hunyuan", num_layers=num_layers)
    leave_zero(model)
    run(model, inputs_for(model.backbone)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.encoder.parameters())


@torch.no_grad()
def test_lacking_text_output_changes_no_bit_of_the_hints():
    backbone = small_backbone("hunyuan")
    inputs = inputs_for(backbone)
    tokens = torch.randn(2, 3 * 4 * 6, backbone.spec.dim, generator=torch.Generator().manual_seed(0))
    state = backbone.first_state(tokens, grid=(3, 4, 6), timesteps=inputs.timesteps, conditions=inputs.conditions)
    whole, cut = backbone.blocks[0], backbone.without_text_output(copy.deepcopy(backbone.blocks[0]))
    assert torch.equal(backbone.run_block(cut, state).video, backbone.run_block(whole, state).video)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_are_equal_with_activation_checkpoints(name):
    gradients = []
    for checkpointed in (False, True):
        model = inpainting(name)
        leave_zero(model)
        model.encoder.checkpoints_activations = checkpointed
        if checkpointed:
            model.transformer.enable_gradient_checkpointing()
        run(model, inputs_for(model.backbone)).square().mean().backward()
        gradients.append({key: parameter.grad for key, parameter in model.encoder.named_parameters()})
    assert all(torch.equal(gradients[0][key], gradients[1][key]) for key in gradients[0])


@torch.no_grad()
@pytest.mark.parametrize("name", ["cogvideox-5b", "wan"])
def test_background_only_adds_nothing_to_tokens_of_the_hole(name):
    model = inpainting(name, background_only=True)
    leave_zero(model)
    inputs = inputs_for(model.backbone)
    first_block = []
    model.backbone.blocks[0].register_forward_hook(
        lambda module, arguments, output: first_block.append(model.backbone.video_of(output))
    )
    run(model, inputs)
    model.injector.clear()
    model.backbone.predict(inputs.noisy, inputs.timesteps, inputs.conditions)
    with_hints, without = first_block
    # The hole covers cells 2-4 x 3-6 of 8 x 12: token rows 1-2 of 4 and token columns 1-3 of 6, in every frame.
    hole = torch.zeros(3, 4, 6, dtype=torch.bool)
    hole[:, 1:3, 1:4] = True
    changed = (with_hints != without).any(dim=-1)[0]
    assert torch.equal(changed, ~hole.flatten())


@torch.no_grad()
def test_tokens_that_two_frames_share_count_as_hole_if_either_frame_has_it():
    backbone = small_backbone("cogvideox-1.5")
    packed = torch.zeros(1, 64, 4, 8, 12)
    packed[:, 0, 3, 0, 0] = 1
    tokens = backbone.tokens_in(cells(packed))
    assert tokens.nonzero().tolist() == [[0, 24]]


@torch.no_grad()
def test_odd_frames_of_two_frame_tokens_begin_with_the_first_frame_twice():
    backbone = small_backbone("cogvideox-1.5")
    packed = torch.zeros(1, 64, 3, 8, 12)
    packed[:, 0, 0, 0, 0] = 1
    tokens = backbone.tokens_in(cells(packed))
    assert tokens.shape == (1, 48)
    assert tokens.nonzero().tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("kind", "num_blocks", "num_hints", "wanted"),
    [
        ("spread", 6, 2, [0, 0, 0, 1, 1, 1]),
        ("spread", 5, 2, [0, 0, 0, 1, 1]),
        ("spread", 4, 4, [0, 1, 2, 3]),
        ("spread", 4, 1, [0, 0, 0, 0]),
        ("first", 5, 2, [0, 1, None, None, None]),
        ("every", 6, 2, [0, None, None, 1, None, None]),
        ("every", 5, 2, [0, None, 1, None, None]),
    ],
)
def test_schedule_says_which_hint_goes_behind_which_block(kind, num_blocks, num_hints, wanted):
    assert schedule(InjectionSettings(schedule=kind), num_blocks=num_blocks, num_hints=num_hints) == wanted


def test_published_schedule_of_cogvideox_5b_turns_at_block_21():
    of_block = schedule(InjectionSettings(), num_blocks=42, num_hints=2)
    assert of_block == [0] * 21 + [1] * 21


def test_more_hints_than_blocks_are_refused():
    with pytest.raises(ConfigError, match="5 hints for 4 blocks"):
        schedule(InjectionSettings(), num_blocks=4, num_hints=5)
    with pytest.raises(ConfigError, match=r"num_layers 99, wanted at most the 4 blocks"):
        ContextEncoder(small_backbone("wan"), ContextEncoderSettings(num_layers=99))


def test_hints_that_the_depth_has_no_share_for_are_refused_by_name_of_what_fits():
    with pytest.raises(ConfigError, match=r"3 hints for 4 blocks, of which the last .* to one of 1, 2, 4, or another"):
        schedule(InjectionSettings(), num_blocks=4, num_hints=3)


@torch.no_grad()
@pytest.mark.parametrize("name", ["wan-ti2v", "ltx-i2v"])
def test_noise_in_place_of_the_given_frame_changes_no_bit(name):
    model = inpainting(name)
    leave_zero(model)
    inputs = inputs_for(model.backbone)
    other = inputs.noisy.clone()
    other[:, :, 0] = torch.randn(other[:, :, 0].shape, generator=torch.Generator().manual_seed(5))
    assert torch.equal(run(model, replace(inputs, noisy=other)), run(model, inputs))
    # All other frames are looked at.
    other[:, :, 1] += 1
    assert not torch.equal(run(model, replace(inputs, noisy=other)), run(model, inputs))


@torch.no_grad()
def test_removed_injector_leaves_the_backbone_as_it_was():
    model = inpainting("wan")
    leave_zero(model)
    inputs = inputs_for(model.backbone)
    plain = model.backbone.predict(inputs.noisy, inputs.timesteps, inputs.conditions)
    assert not torch.equal(run(model, inputs), plain)
    model.injector.remove()
    assert torch.equal(model.backbone.predict(inputs.noisy, inputs.timesteps, inputs.conditions), plain)


def test_source_of_identity_without_an_adapter_is_refused():
    model = inpainting("wan")
    inputs = inputs_for(model.backbone)
    source = IdentitySource(
        latents=inputs.noisy,
        timesteps=inputs.timesteps,
        conditions=inputs.conditions,
        object_cells=torch.ones(2, 1, 3, 8, 12),
        first_latent_frame=-3,
    )
    with pytest.raises(ValueError, match="no ID adapter"):
        model(inputs.noisy, inputs.timesteps, inputs.conditions, inputs.context, source)


def test_identity_is_captured_without_the_encoders_hints():
    model = inpainting("wan")
    leave_zero(model)
    model.identity = IdentityAdapter(model.backbone, IdentitySettings(rank=2, alpha=2))
    inputs = inputs_for(model.backbone)
    source = IdentitySource(
        latents=inputs.noisy.flip(-1),
        timesteps=inputs.timesteps,
        conditions=inputs.conditions,
        object_cells=torch.ones(2, 1, 3, 8, 12),
        first_latent_frame=-3,
    )
    with torch.no_grad():
        fresh = model(inputs.noisy, inputs.timesteps, inputs.conditions, inputs.context, source)
        # Hints of the pass before are still set now, and must not reach the source.
        again = model(inputs.noisy, inputs.timesteps, inputs.conditions, inputs.context, source)
    assert torch.equal(fresh, again)


def test_encoder_is_not_copied_from_a_backbone_with_an_adapter():
    backbone = small_backbone("wan")
    IdentityAdapter(backbone, IdentitySettings(rank=2, alpha=2))
    with pytest.raises(ValueError, match="before the ID adapter"):
        ContextEncoder(backbone, ContextEncoderSettings())
