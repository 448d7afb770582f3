"""How the model is laid out over devices: precision, activation checkpointing, compilation, replication or sharding.

The order is fixed: each wraps what the one before made. Checkpointing and compilation replace a block's `forward`
and so leave the injector's hooks outside: a hint is never recomputed, and all blocks share one compiled graph.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from vpdata.errors import ConfigError
from vpdata.models.torch_settings import Dtype
from vpdata.train.trainee import Trainee
from vpdata.train.world import World

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelSettings:
    """How the model is spread over processes, and what is traded for memory. None of it changes what is learnt."""

    mode: Literal["ddp", "fsdp"] = "ddp"
    """ddp: every process holds the backbone; fsdp: backbone and trained module are sharded over all processes,
    each of which holds the whole backbone on its device at the start."""
    checkpoint_every: int = 0
    """Recompute every n-th block of the backbone in the backward pass; 1: all, 0: none."""
    checkpoint_encoder: bool = False
    """Recompute the blocks of the context encoder."""
    compile: bool = False
    """Compile the blocks; minutes at the start, and once more for each bucket's shape."""

    def __post_init__(self) -> None:
        if self.checkpoint_every < 0:
            raise ValueError(f"got checkpoint_every {self.checkpoint_every}, wanted 0 or more")


def refuse_dtype(dtype: Dtype, *, device: torch.device, mode: Literal["ddp", "fsdp"]) -> None:
    """ConfigError where a device cannot train in that precision."""
    if device.type == "cuda" and dtype == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ConfigError(
            f"{torch.cuda.get_device_name(device)} does not compute in bfloat16; set backbone.dtype: float16, which "
            "trains with a scaled loss, or float32"
        )
    if dtype == "float16" and device.type != "cuda":
        raise ConfigError("got backbone.dtype float16 on the CPU, wanted float32 or bfloat16")
    if dtype == "float16" and mode == "fsdp":
        raise ConfigError(
            "got backbone.dtype float16 with parallel.mode fsdp, wanted ddp: the loss scale is kept by each process"
        )


def lay_out(trainee: Trainee, *, settings: ParallelSettings, dtype: Dtype, world: World) -> nn.Module:
    """The model to call in training, which holds the trainee's modules; they are changed in place."""
    blocks = trainee.backbone.blocks
    encoder_blocks = list(trainee.encoder.blocks)
    # The backbone runs in its own dtype; the encoder's weights are float32 and only its matrix products are not.
    if dtype != "float32":
        cast = torch.autocast(world.device.type, dtype=_DTYPES[dtype])
        trainee.encoder.forward = cast(trainee.encoder.forward)
        # The backbone's own embedders, which the encoder calls: at inference they work without autocast, under which
        # Wan's embedding of time, in float32, would be off by 0.3 %.
        uncast = torch.autocast(world.device.type, enabled=False)
        trainee.backbone.first_state = uncast(trainee.backbone.first_state)
    if settings.compile:
        # All blocks share one function, of which torch compiles 8 graphs, and runs what fits none of them uncompiled.
        # One shape takes 5 (Wan) to 8 (CogVideoX): of frozen and of trained blocks, in training and in validation.
        torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = sys.maxsize
        for block in (*blocks, *encoder_blocks):
            block.forward = torch.compile(block.forward, dynamic=False)
    if settings.checkpoint_every:
        for block in blocks[:: settings.checkpoint_every]:
            block.forward = _checkpointed(block.forward)
    trainee.encoder.checkpoints_activations = settings.checkpoint_encoder
    if settings.mode == "fsdp":
        _shard(trainee, dtype=dtype, world=world)
        return trainee.model
    return trainee.model if world.size == 1 else _replicated(trainee.model)


def _replicated(model: nn.Module) -> DistributedDataParallel:
    """Only what requires a gradient takes part: nothing of the frozen backbone is broadcast or reduced."""
    with warnings.catch_warnings():
        # The name that replaces `broadcast_buffers` is not in torch before 2.13.
        warnings.filterwarnings("ignore", category=FutureWarning, message="`broadcast_buffers`")
        return DistributedDataParallel(model, init_sync=False, broadcast_buffers=False, gradient_as_bucket_view=True)


def _checkpointed(forward: Callable[..., Any]) -> Callable[..., Any]:
    # Nothing in a frozen block draws random numbers, so their state need not be kept.
    return partial(checkpoint, forward, use_reentrant=False, preserve_rng_state=False)


def _shard(trainee: Trainee, *, dtype: Dtype, world: World) -> None:
    """Shard block by block. The backbone's embedders stay whole: the encoder calls them outside its forward pass."""
    # Of each wrapped module that returns a view, in many lines; nothing of ours writes into what they return.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(world.device.type, (world.size,))
    blocks = trainee.backbone.blocks
    in_blocks = {id(value) for block in blocks for value in block.parameters()}
    whole = {value for value in trainee.backbone.transformer.parameters() if id(value) not in in_blocks}
    # An adapter inside the blocks is trained in another dtype than theirs, and is small: it stays whole too.
    adapters = {value for block in blocks for value in block.parameters() if value.requires_grad}
    for block in blocks:
        fully_shard(block, mesh=mesh, ignored_params=adapters)
    for adapter in adapters:
        adapter.register_post_accumulate_grad_hook(_averaged)
    # One dtype per group is demanded of trained parameters; they are float32 and are computed with in `dtype`. Inputs
    # stay as they are: timesteps and rotary tables would be rounded, for the encoder and not for the backbone.
    policy = MixedPrecisionPolicy(
        param_dtype=None if dtype == "float32" else _DTYPES[dtype],
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,
    )
    for block in trainee.encoder.blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(trainee.encoder, mesh=mesh, mp_policy=policy)
    fully_shard(trainee.model, mesh=mesh, ignored_params=whole | adapters)


def _averaged(parameter: Tensor) -> None:
    """Replace a gradient by its mean over the ranks; earlier micro-batches' share of it is their mean already."""
    assert parameter.grad is not None
    dist.all_reduce(parameter.grad)
    parameter.grad /= dist.get_world_size()
