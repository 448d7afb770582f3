"""SAM 2.1's weights and sizes as transformers stores them, in the words of the package `sam2`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vpdata.errors import BackendError

_HEADS = r"(obj_ptr_proj|iou_prediction_head|output_hypernetworks_mlps\.\d|pred_obj_score_head)"

RENAMED = (
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"^vision_encoder\.neck\.convs\.(\d)\.", r"image_encoder.neck.convs.\1.conv."),
    (r"\.patch_embed\.projection\.", ".patch_embed.proj."),
    (r"^prompt_encoder\.", "sam_prompt_encoder."),
    (r"\.shared_embedding\.positional_embedding$", ".pe_layer.positional_encoding_gaussian_matrix"),
    (r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
    (r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
    (r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
    (r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
    (r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
    (r"^mask_decoder\.", "sam_mask_decoder."),
    (r"\.upscale_conv1\.", ".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
    (r"\.upscale_conv2\.", ".output_upscaling.3."),
    (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
    (r"^memory_encoder\.feature_projection\.", "memory_encoder.pix_feat_proj."),
    (r"^memory_encoder\.projection\.", "memory_encoder.out_proj."),
    *((rf"\.mask_downsampler\.layers\.{n}\.conv\.", f".mask_downsampler.encoder.{3 * n}.") for n in range(4)),
    *((rf"\.mask_downsampler\.layers\.{n}\.layer_norm\.", f".mask_downsampler.encoder.{3 * n + 1}.") for n in range(4)),
    (r"\.mask_downsampler\.final_conv\.", ".mask_downsampler.encoder.12."),
    (r"\.memory_fuser\.layers\.(\d)\.layer_norm\.", r".memory_fuser.layers.\1.norm."),
    (r"\.memory_fuser\.layers\.(\d)\.scale$", r".memory_fuser.layers.\1.gamma"),
    (r"\.memory_fuser\.", ".fuser."),
    (r"\.depthwise_conv\.", ".dwconv."),
    (r"\.pointwise_conv(\d)\.", r".pwconv\1."),
    (r"^memory_attention\.layer_norm\.", "memory_attention.norm."),
    (r"^no_memory_embedding$", "no_mem_embed"),
    (r"^no_memory_positional_encoding$", "no_mem_pos_enc"),
    (r"^memory_temporal_positional_encoding$", "maskmem_tpos_enc"),
    (r"^no_object_pointer$", "no_obj_ptr"),
    (r"^occlusion_spatial_embedding_parameter$", "no_obj_embed_spatial"),
    (r"^object_pointer_proj\.", "obj_ptr_proj."),
    (r"^temporal_positional_encoding_projection_layer\.", "obj_ptr_tpos_proj."),
    (rf"{_HEADS}\.layers\.0\.", r"\1.layers.1."),
    (rf"{_HEADS}\.proj_in\.", r"\1.layers.0."),
    (rf"{_HEADS}\.proj_out\.", r"\1.layers.2."),
    (r"\.mlp\.proj_in\.", ".mlp.layers.0."),
    (r"\.mlp\.proj_out\.", ".mlp.layers.1."),
    (r"\.layer_norm(\d)\.", r".norm\1."),
    (r"\.o_proj\.", ".out_proj."),
)
"""Patterns in transformers' names and what stands for them in the package, applied in this order."""


def check_is_sam2_1(config: Mapping[str, Any], *, folder: Path) -> None:
    """BackendError for a `config.json` of another architecture, SAM 2.0 included."""
    wanted = {
        "model_type": "sam2_video",
        "enable_occlusion_spatial_embedding": True,
        "enable_temporal_pos_encoding_for_object_pointers": True,
    }
    for name, value in wanted.items():
        if config.get(name, value if name != "model_type" else None) != value:
            raise BackendError(f"{folder}: got {name} {config.get(name)!r}, wanted {value!r}: name weights of SAM 2.1")


def package_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by their names in the package, from their names in transformers; the numbers are the same."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if name == "shared_image_embedding.positional_embedding":
            continue  # a second copy of the prompt encoder's
        if name == "prompt_encoder.point_embed.weight":
            renamed |= {f"sam_prompt_encoder.point_embeddings.{n}.weight": row[None] for n, row in enumerate(tensor)}
            continue
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def package_overrides(config: Mapping[str, Any]) -> list[str]:
    """What to change in the package's description of the smallest size, from a checkpoint's `config.json`.

    What the file leaves out has its value of the smallest size, in transformers too.
    """
    vision = config.get("vision_config", {})
    backbone = vision.get("backbone_config", {})
    side = config.get("image_size", 1024) // 16
    widths, heads = backbone.get("embed_dim_per_stage"), backbone.get("num_attention_heads_per_stage")
    trunk, attention = "model.image_encoder.trunk", "model.memory_attention"
    chosen = {
        "model.image_size": config.get("image_size"),
        f"{trunk}.embed_dim": widths and widths[0],
        f"{trunk}.num_heads": heads and heads[0],
        f"{trunk}.stages": backbone.get("blocks_per_stage"),
        f"{trunk}.global_att_blocks": backbone.get("global_attention_blocks"),
        f"{trunk}.window_spec": backbone.get("window_size_per_stage"),
        f"{trunk}.window_pos_embed_bkg_spatial_size": backbone.get("window_positional_embedding_background_size"),
        "model.image_encoder.neck.backbone_channel_list": vision.get("backbone_channel_list"),
        f"{attention}.num_layers": config.get("memory_attention_num_layers"),
        f"{attention}.layer.self_attention.feat_sizes": [side, side],
        f"{attention}.layer.cross_attention.feat_sizes": [side, side],
    }
    return [f"++{name}={value}" for name, value in chosen.items() if value is not None]
