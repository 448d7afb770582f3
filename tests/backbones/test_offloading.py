"""diffusers' group offloading, as `memory.offload=layers` uses it, without a GPU: the CPU plays both places.

All hooks and the order of prefetching are diffusers' own. Only the copying is replaced, by a note of where a tensor is;
what is computed of tensors of both places is an error, as it is with a GPU.
"""

import pytest
import torch

pytest.importorskip("peft")

from diffusers.hooks import group_offloading
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from tests.backbones.small import SMALL, inputs_for, small_backbone
from vpdata.backbones.context_encoder import ContextEncoder, ContextEncoderSettings
from vpdata.backbones.identity_adapter import IdentityAdapter, IdentitySettings, IdentitySource
from vpdata.backbones.injector import InjectionSettings
from vpdata.backbones.inpainting import InpaintingBackbone
from vpdata.backbones.latent_masks import cells

torch.set_num_threads(1)

GPU, HOST = torch.device("cpu"), torch.device("meta")
"""Their names; nothing is ever on `meta`."""


class TwoPlaces(TorchFunctionMode):
    """While it lasts, tensors that are noted as offloaded meet no others, and what is made of them is there too."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        leaves = tree_leaves((args, kwargs or {}))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        places = {is_on_host(tensor) for tensor in tensors if tensor.ndim}
        if func == torch.Tensor.device.__get__:
            return HOST if is_on_host(*tensors) else GPU
        if func is torch.Tensor.to and (GPU in leaves[1:] or len(tensors) > 1):
            return func(*args, **kwargs or {}).clone()
        if len(places) > 1:
            raise RuntimeError(f"{func}: expected all tensors on one device")
        made = func(*args, **kwargs or {})
        if True in places:
            note(made, offloaded=True)
        return made


def note(values, *, offloaded):
    for value in tree_leaves(values):
        if isinstance(value, torch.Tensor):
            value.is_offloaded = offloaded


def is_on_host(tensor):
    return getattr(tensor, "is_offloaded", False)


class Stream:
    """Whose work is done at once."""

    def synchronize(self):
        pass


@pytest.fixture
def two_places(monkeypatch):
    def move(group, *, offloaded):
        owned = [(*module.parameters(), *module.buffers()) for module in group.modules]
        note([*owned, group.parameters, group.buffers], offloaded=offloaded)

    monkeypatch.setattr(group_offloading.ModuleGroup, "_init_cpu_param_dict", lambda group: {})
    monkeypatch.setattr(group_offloading.ModuleGroup, "onload_", lambda group: move(group, offloaded=False))
    monkeypatch.setattr(group_offloading.ModuleGroup, "offload_", lambda group: move(group, offloaded=True))


def offload(transformer, *, streams):
    group_offloading._apply_group_offloading(
        transformer,
        group_offloading.GroupOffloadingConfig(
            onload_device=GPU,
            offload_device=HOST,
            offload_type=group_offloading.GroupOffloadingType.LEAF_LEVEL,
            non_blocking=False,
            record_stream=False,
            low_cpu_mem_usage=False,
            stream=Stream() if streams else None,
        ),
    )


def small_model(name, *, with_identity):
    backbone = small_backbone(name)
    encoder = ContextEncoder(backbone, ContextEncoderSettings())
    for output in encoder.outputs:
        nn.init.constant_(output.weight, 0.1)
    identity = None
    if with_identity:
        identity = IdentityAdapter(backbone, IdentitySettings(rank=2, alpha=2))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for parameter in identity.parameters():
                nn.init.normal_(parameter, std=0.5)
        backbone.transformer.requires_grad_(False)
    return InpaintingBackbone(backbone, encoder, InjectionSettings(), identity=identity)


def made_by(model):
    """Of a window, of the one behind it that looks at its object, and of one that looks at nothing again."""
    inputs = inputs_for(model.backbone, batch=1)
    window = (inputs.noisy, inputs.timesteps, inputs.conditions, inputs.context)
    source = None
    if model.identity is not None:
        source = IdentitySource(
            latents=inputs.noisy,
            timesteps=inputs.timesteps,
            conditions=inputs.conditions,
            object_cells=cells(inputs.context.packed_mask),
            first_latent_frame=-2,
        )
    with torch.inference_mode():
        made = [model(*window), model(*window), model(*window, source), model(*window)]
        model.forget_identity()
        return [*made, model(*window)]


@pytest.mark.parametrize("with_identity", [False, True])
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_offloaded_layers_are_where_they_are_used(name, streams, with_identity, two_places):
    model = small_model(name, with_identity=with_identity)
    expected = made_by(model)
    offload(model.transformer, streams=streams)
    with TwoPlaces():
        made = made_by(model)
    for one, other in zip(made, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
