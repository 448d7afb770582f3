from math import prod

import pytest
import torch

pytest.importorskip("diffusers")

from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.backbones.small import SMALL, inputs_for, small_backbone
from tests.backbones.test_loading import published
from vpdata.backbones.context_encoder import ContextEncoder, ContextEncoderSettings
from vpdata.backbones.flops import encoder_step_flops, forward_flops, id_step_flops
from vpdata.backbones.identity_adapter import IdentityAdapter, IdentitySettings, IdentitySource
from vpdata.backbones.injector import InjectionSettings
from vpdata.backbones.inpainting import InpaintingBackbone

torch.set_num_threads(1)


def counted(call) -> int:
    """What torch itself counts, with attention as plain products."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", SMALL)
def test_forward_pass_is_what_torch_counts(name):
    backbone = small_backbone(name)
    inputs = inputs_for(backbone, batch=1)
    with torch.no_grad():
        measured = counted(lambda: backbone.predict(inputs.noisy, inputs.timesteps, inputs.conditions))
    shape = tuple(inputs.noisy.shape)
    assert forward_flops(backbone.spec, backbone.transformer.config, shape) == pytest.approx(measured, rel=1e-9)


@pytest.mark.parametrize(
    "name",
    ["cogvideox-5b", "cogvideox-1.5-i2v", "wan", "wan-i2v", "wan-ti2v", "ltx", "ltx-i2v", "hunyuan", "hunyuan-i2v"],
)
@pytest.mark.parametrize("schedule", ["spread", "every", "first"])
def test_a_training_step_is_what_torch_counts(name, schedule):
    backbone = small_backbone(name)
    encoder = ContextEncoder(backbone, ContextEncoderSettings(num_layers=2))
    injection = InjectionSettings(schedule=schedule)
    inpainting = InpaintingBackbone(backbone, encoder, injection)
    inputs = inputs_for(backbone, batch=1)

    def step() -> None:
        inpainting(inputs.noisy, inputs.timesteps, inputs.conditions, inputs.context).square().mean().backward()

    measured = counted(step)
    ours = encoder_step_flops(
        backbone.spec, backbone.transformer.config, tuple(inputs.noisy.shape), num_layers=2, injection=injection
    )
    assert ours.model == ours.executed == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize("name", ["cogvideox-5b", "wan", "ltx", "hunyuan"])
def test_checkpoints_add_the_forward_pass_of_the_blocks_that_the_gradient_reaches(name):
    backbone = small_backbone(name)
    encoder = ContextEncoder(backbone, ContextEncoderSettings(num_layers=2))
    inpainting = InpaintingBackbone(backbone, encoder, InjectionSettings())
    backbone.transformer.enable_gradient_checkpointing()
    encoder.checkpoints_activations = True
    inputs = inputs_for(backbone, batch=1)

    def step() -> None:
        inpainting(inputs.noisy, inputs.timesteps, inputs.conditions, inputs.context).square().mean().backward()

    ours = encoder_step_flops(
        backbone.spec,
        backbone.transformer.config,
        tuple(inputs.noisy.shape),
        num_layers=2,
        injection=InjectionSettings(),
        recomputed_frac=1.0,
    )
    assert ours.executed > ours.model
    assert ours.executed == pytest.approx(counted(step), rel=0.01)


@pytest.mark.parametrize(
    ("name", "latents", "forward", "step", "checkpointed"),
    [
        ("CogVideoX-5B", (13, 60, 90), 332, 875, 1223),
        ("CogVideoX1.5-5B", (21, 96, 170), 1479, 4220, 5769),
        ("Wan2.1-T2V-1.3B", (21, 60, 104), 283, 824, 1125),
        ("Wan2.2-TI2V-5B", (21, 44, 80), 290, 768, 1078),
        ("Wan2.1-T2V-14B", (21, 60, 104), 1678, 4501, 6263),
        ("LTX-2B", (13, 16, 24), 22.34, 55.4, 79.3),
        # 17,806 tokens with the text; a block is 24 d^2 S + 4 d S^2 = 7.93 TF, of either kind.
        ("HunyuanVideo", (13, 60, 90), 475.9, 1235, 1727),
    ],
)
def test_published_sizes_cost_what_was_worked_out_by_hand(name, latents, forward, step, checkpointed):
    """The hand's figures let the gradient into the first block too, which it does not reach."""
    with torch.device("meta"):
        backbone = published(name)
    spec, config = backbone.spec, backbone.transformer.config
    arguments = {"num_layers": 2, "injection": InjectionSettings()}
    assert forward_flops(spec, config, latents) / 1e12 == pytest.approx(forward, rel=0.012)
    ours = encoder_step_flops(spec, config, latents, **arguments, recomputed_frac=1.0)
    assert ours.model / 1e12 == pytest.approx(step, rel=0.025)
    assert ours.executed / 1e12 == pytest.approx(checkpointed, rel=0.025)


def test_identity_tokens_cost_their_projections_and_their_share_of_attention():
    with torch.device("meta"):
        backbone = published("CogVideoX-5B")
    spec, config, latents = backbone.spec, backbone.transformer.config, (13, 60, 90)
    without = forward_flops(spec, config, latents)
    added = forward_flops(spec, config, latents, num_id_tokens=1000) - without
    # Keys and values of 1000 tokens, and 17,776 queries that look at 1000 keys more, in 42 blocks.
    assert added == 42 * (2 * 2 * 1000 * 3072**2 + 2 * 2 * 17_776 * 1000 * 3072)


@pytest.mark.parametrize("name", ["cogvideox-5b", "wan", "ltx", "hunyuan"])
@pytest.mark.parametrize("scope", ["joint", "id_only"])
def test_a_step_of_the_id_adapter_is_about_what_torch_counts(name, scope):
    backbone = small_backbone(name)
    encoder = ContextEncoder(backbone, ContextEncoderSettings(num_layers=2)).requires_grad_(False)
    identity = IdentitySettings(rank=4, alpha=4, scope=scope)
    adapter = IdentityAdapter(backbone, identity)
    inpainting = InpaintingBackbone(backbone, encoder, InjectionSettings())
    inputs = inputs_for(backbone, batch=1)
    shape = tuple(inputs.noisy.shape)
    source = IdentitySource(
        latents=inputs.noisy,
        timesteps=inputs.timesteps,
        conditions=inputs.conditions,
        object_cells=torch.ones(1, 1, *shape[2:]),
        first_latent_frame=-3,
    )

    def step() -> None:
        adapter.capture(source)
        inpainting(inputs.noisy, inputs.timesteps, inputs.conditions, inputs.context).square().mean().backward()

    ours = id_step_flops(
        backbone.spec,
        backbone.transformer.config,
        shape,
        num_layers=2,
        identity=identity,
        num_id_tokens=prod(backbone.spec.grid(shape)),
        source_shape=shape,
    )
    assert ours.model == pytest.approx(counted(step), rel=0.03)


def test_stage_two_adds_the_source_window_and_low_rank_products():
    with torch.device("meta"):
        backbone = published("CogVideoX-5B")
    spec, config, latents = backbone.spec, backbone.transformer.config, (13, 60, 90)

    def flops(scope, source):
        identity = IdentitySettings(rank=256, scope=scope)
        return id_step_flops(spec, config, latents, num_layers=2, identity=identity, source_shape=source).model

    short, long = (forward_flops(spec, config, source) for source in ((4, 60, 90), latents))
    assert flops("id_only", latents) - flops("id_only", (4, 60, 90)) == long - short
    # Four projections, down and up, forward and twice backward, for each of 17,776 tokens in 42 blocks.
    assert flops("joint", latents) - flops("id_only", latents) == 42 * 3 * 4 * 2 * 2 * 256 * 3072 * 17_776
