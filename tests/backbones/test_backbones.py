import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import LTXConditionPipeline
from diffusers.models.embeddings import get_3d_rotary_pos_embed

from tests.backbones.small import SMALL, inputs_for, small_backbone
from vpdata.backbones.port import BlockState
from vpdata.errors import ConfigError

torch.set_num_threads(1)

every_backbone = pytest.mark.parametrize("name", SMALL)


def through_blocks(backbone, inputs) -> list[torch.Tensor]:
    """The video's hidden state behind each block while the transformer itself runs."""
    seen = []
    handles = [
        block.register_forward_hook(lambda module, arguments, output: seen.append(backbone.video_of(output)))
        for block in backbone.blocks
    ]
    backbone.predict(inputs.noisy, inputs.timesteps, inputs.conditions)
    for handle in handles:
        handle.remove()
    return seen


def embedded(backbone, inputs) -> torch.Tensor:
    """What the transformer's own patch embedding makes of its input."""
    seen = []
    transformer = backbone.transformer
    if backbone.spec.family == "ltx":
        handle = transformer.proj_in.register_forward_hook(lambda m, a, output: seen.append(output))
    elif backbone.spec.family == "hunyuan":
        handle = transformer.x_embedder.register_forward_hook(lambda m, a, output: seen.append(output))
    elif backbone.spec.family == "wan":
        layer = transformer.patch_embedding
        handle = layer.register_forward_hook(lambda m, a, output: seen.append(output.flatten(2).transpose(1, 2)))
    else:
        layer = transformer.patch_embed.proj

        def keep(module, arguments, output):
            # CogVideoX 1 embeds images by a convolution, CogVideoX 1.5 tokens by a linear layer.
            tokens = output if output.ndim == 3 else output.flatten(2).transpose(1, 2)
            seen.append(tokens.reshape(len(inputs.noisy), -1, tokens.shape[-1]))

        handle = layer.register_forward_hook(keep)
    backbone.predict(inputs.noisy, inputs.timesteps, inputs.conditions)
    handle.remove()
    return seen[-1]


@torch.no_grad()
@every_backbone
def test_prediction_has_the_shape_of_the_latents(name):
    backbone = small_backbone(name)
    inputs = inputs_for(backbone)
    assert backbone.predict(inputs.noisy, inputs.timesteps, inputs.conditions).shape == inputs.noisy.shape


@torch.no_grad()
@every_backbone
def test_blocks_run_one_by_one_give_what_the_transformer_computes(name):
    backbone = small_backbone(name)
    inputs = inputs_for(backbone)
    wanted = through_blocks(backbone, inputs)
    state = backbone.first_state(
        embedded(backbone, inputs),
        grid=backbone.spec.grid(tuple(inputs.noisy.shape)),
        timesteps=inputs.timesteps,
        conditions=inputs.conditions,
    )
    for block, video in zip(backbone.blocks, wanted, strict=True):
        state = backbone.run_block(block, state)
        assert isinstance(state, BlockState)
        torch.testing.assert_close(state.video, video, rtol=2e-5, atol=2e-5)


@torch.no_grad()
@every_backbone
def test_patch_weight_on_tokens_is_the_patch_embedding_of_the_noisy_latents(name):
    backbone = small_backbone(name)
    inputs = inputs_for(backbone)
    weight, bias = backbone.patch_weight()
    ours = torch.nn.functional.linear(backbone.tokenise(inputs.noisy), weight.flatten(1), bias)
    theirs = embedded(backbone, inputs)
    rest = theirs - ours
    # What is left comes from the first frame's channels alone, so it does not change with the noisy latents.
    again = inputs_for(backbone)
    again.noisy[:, :, 1:] *= -1
    rest_again = embedded(backbone, again) - torch.nn.functional.linear(
        backbone.tokenise(again.noisy), weight.flatten(1), bias
    )
    tokens_of_first = rest.shape[1] // backbone.spec.grid(tuple(inputs.noisy.shape))[0]
    torch.testing.assert_close(rest[:, tokens_of_first:], rest_again[:, tokens_of_first:], rtol=1e-4, atol=1e-4)
    if not backbone.spec.takes_first_frame:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@every_backbone
def test_batch_equals_its_items_alone(name):
    backbone = small_backbone(name)
    inputs = inputs_for(backbone)
    whole = backbone.predict(inputs.noisy, inputs.timesteps, inputs.conditions)
    for item in range(2):
        one = inputs.slice(item, item + 1)
        alone = backbone.predict(one.noisy, one.timesteps, one.conditions)
        torch.testing.assert_close(whole[item : item + 1], alone, rtol=1e-4, atol=1e-5)


@every_backbone
def test_nothing_of_the_backbone_is_trained(name):
    backbone = small_backbone(name)
    assert not any(parameter.requires_grad for parameter in backbone.transformer.parameters())


@every_backbone
def test_rotary_tables_equal_those_of_the_library(name):
    backbone = small_backbone(name)
    inputs = inputs_for(backbone)
    grid = backbone.spec.grid(tuple(inputs.noisy.shape))
    ours = backbone.rotary(grid)
    if name == "cogvideox-2b":
        assert ours is None
        return
    if backbone.spec.family == "ltx":
        theirs = [table[0] for table in ltx_positions(backbone.transformer.rope, grid, is_0_9_5=name == "ltx-i2v")]
    elif backbone.spec.family == "hunyuan":
        theirs = backbone.transformer.rope(inputs.noisy)
    elif backbone.spec.family == "wan":
        theirs = [table[0, :, 0] for table in backbone.transformer.rope(inputs.noisy)]
    elif backbone.spec.patch[0] == 2:
        theirs = get_3d_rotary_pos_embed(16, None, grid[1:], grid[0], grid_type="slice", max_size=(4, 6))
    else:
        theirs = get_3d_rotary_pos_embed(16, ((0, 0), (4, 6)), grid[1:], grid[0])
    assert ours is not None
    for own, other in zip(ours, theirs, strict=True):
        # The pipelines of LTX divide in another order.
        atol = 2e-5 if backbone.spec.family == "ltx" else 0
        torch.testing.assert_close(own.float(), other.float(), rtol=0, atol=atol)


def ltx_positions(rope, grid: tuple[int, int, int], *, is_0_9_5: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """As the pipelines of both releases compute them for 25 frames a second, of the small backbone's 8 pixels."""
    frames, rows, columns = grid
    tokens = torch.zeros(1, frames * rows * columns, 1)
    if not is_0_9_5:
        return rope(tokens, frames, rows, columns, rope_interpolation_scale=(8 / 25, 8, 8))
    places = LTXConditionPipeline._prepare_video_ids(1, frames, rows, columns)
    coordinates = LTXConditionPipeline._scale_video_ids(places, scale_factor=8, scale_factor_t=8).float()
    coordinates[:, 0] *= 1.0 / 25
    return rope(tokens, video_coords=coordinates)


@every_backbone
def test_rotary_tables_of_later_frames_are_the_tail_of_longer_ones(name):
    backbone = small_backbone(name)
    later, whole = backbone.rotary((2, 4, 6), start_frame=3), backbone.rotary((5, 4, 6))
    if later is None or whole is None:
        assert name == "cogvideox-2b"
        return
    for tail, table in zip(later, whole, strict=True):
        torch.testing.assert_close(tail, table[3 * 24 :], rtol=0, atol=0)


@torch.no_grad()
def test_short_windows_take_the_start_of_learned_positions():
    backbone = small_backbone("cogvideox-5b-i2v")
    embed = backbone.transformer.patch_embed
    learned = torch.randn(embed.pos_embedding.shape, generator=torch.Generator().manual_seed(5))
    embed.pos_embedding.copy_(learned)
    inputs = inputs_for(backbone, frames=2)
    seen = []
    embed.register_forward_hook(lambda module, arguments, output: seen.append(output))
    backbone.predict(inputs.noisy, inputs.timesteps, inputs.conditions)
    embed.pos_embedding.zero_()
    backbone.predict(inputs.noisy, inputs.timesteps, inputs.conditions)
    num_text = backbone.spec.text_length
    added = (seen[0] - seen[1])[:, num_text:]
    torch.testing.assert_close(added, learned[:, num_text : num_text + 48].expand(2, -1, -1), rtol=1e-4, atol=1e-4)


def test_windows_beyond_the_learned_positions_are_refused():
    backbone = small_backbone("cogvideox-5b-i2v")
    inputs = inputs_for(backbone, frames=4)
    with pytest.raises(ConfigError, match="13 frames, but this checkpoint has learned the positions of 9"):
        backbone.predict(inputs.noisy, inputs.timesteps, inputs.conditions)
