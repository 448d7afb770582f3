from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from transformers import T5Config, T5EncoderModel

from tests.backbones.test_loading import published
from vpdata.backbones.context_encoder import ContextEncoder, ContextEncoderSettings
from vpdata.backbones.loading import load_backbone, weights_bytes
from vpdata.backbones.settings import BackboneSettings
from vpdata.errors import BackendError
from vpdata.inpaint.any_length import Request
from vpdata.inpaint.memory import (
    PLANS,
    MemoryNeeds,
    MemoryPlan,
    MemorySettings,
    WithinMemory,
    advice,
    plan_memory,
    window_needs,
)
from vpdata.inpaint.windows import Window

NEEDS = MemoryNeeds(
    transformer=11_000, largest_layer=500, text_encoder=9_500, trained=600, denoising=2_200, vae=6_000, vae_tiled=1_500
)
"""About those of CogVideoX 5B, in units of a megabyte."""
FASTEST, SPARING = MemoryPlan(offload="none", vae_tiling=False), MemoryPlan(offload="layers", vae_tiling=True)


@pytest.mark.parametrize(
    ("free", "offload", "vae_tiling"),
    [
        (80_000, "none", False),
        (26_000, "none", True),
        (20_000, "text_encoder", False),
        (16_000, "text_encoder", True),
        (8_000, "layers", False),
        (4_000, "layers", True),
        (100, "layers", True),
    ],
)
def test_fastest_plan_that_fits_is_taken(free, offload, vae_tiling):
    assert plan_memory(MemorySettings(), NEEDS, free=free) == MemoryPlan(offload=offload, vae_tiling=vae_tiling)


def test_what_is_set_is_done_and_a_cpu_saves_nothing():
    assert plan_memory(MemorySettings(vae_tiling=False), NEEDS, free=100).vae_tiling is False
    assert plan_memory(MemorySettings(offload="layers"), NEEDS, free=80_000).offload == "layers"
    assert plan_memory(MemorySettings(), NEEDS, free=None) == FASTEST


def test_estimate_of_the_published_backbone_is_near_what_its_users_report():
    needs = window_needs(
        transformer=11_140_000_000,
        num_blocks=42,
        text_encoder=9_500_000_000,
        trained=600_000_000,
        dim=3072,
        num_tokens=17_550,
        num_pixels=480 * 720,
    )
    # 40 to 50 GB without, 23 to 25 GB with offloading of VideoPainter's pipeline, which guides in one batch.
    assert 25e9 < needs.peak(offload="none", vae_tiling=False) < 50e9
    assert needs.peak(offload="layers", vae_tiling=True) < 25e9


def bytes_of(module: torch.nn.Module, dtype: torch.dtype) -> int:
    return sum(tensor.numel() for tensor in module.state_dict().values()) * dtype.itemsize


def test_table_of_estimates_is_that_of_the_published_sizes():
    with torch.device("meta"):
        backbone = published("CogVideoX-5B-I2V")
        encoder = ContextEncoder(backbone, ContextEncoderSettings())
        # T5 v1.1 XXL, whose `shared` and `encoder.embed_tokens` are one tensor, which files hold once.
        sizes = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
        texts = T5EncoderModel(T5Config(vocab_size=32128, feed_forward_proj="gated-gelu", **sizes))
    needs = window_needs(
        transformer=bytes_of(backbone.transformer, torch.bfloat16),
        num_blocks=backbone.spec.num_blocks,
        text_encoder=bytes_of(texts.encoder, torch.bfloat16),
        trained=bytes_of(encoder, torch.float32),
        dim=backbone.spec.dim,
        num_tokens=13 * 30 * 45,
        num_pixels=480 * 720,
    )
    page = (Path(__file__).parents[2] / "docs/inpaint.md").read_text()
    for plan in PLANS:
        row = f"| `{plan.offload}` | {str(plan.vae_tiling).lower()} | {plan.peak(needs) / 1e9:.1f} GB |"
        assert row in page, row


def test_weights_are_sized_from_their_files():
    settings = BackboneSettings(tiny="wan", device="cpu", dtype="float32")
    in_memory = sum(4 * one.numel() for one in load_backbone(settings).transformer.parameters())
    assert in_memory < weights_bytes(settings, "transformer") < 1.1 * in_memory


def test_advice_names_what_fits_and_else_smaller_windows():
    text = advice(FASTEST, NEEDS, total=14_000)
    assert "memory.offload=layers" in text
    assert "memory.offload=text_encoder" not in text
    assert "windows.area_px" in advice(FASTEST, NEEDS, total=3_000)
    assert "offload" not in advice(SPARING, NEEDS, total=3_000)


class Hungry:
    """A model that asks for more than there is."""

    def inpaint(self, request):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_out_of_memory_is_reported_with_the_window_and_the_way_out():
    window = Window(index=0, start=0, stop=9, num_shared=0, num_known=0)
    request = Request(window=window, frames=np.zeros((9, 64, 96, 3), np.uint8), mask=np.ones((9, 64, 96), bool))
    model = WithinMemory(Hungry(), plan=FASTEST, needs=NEEDS, attention="auto")
    with pytest.raises(BackendError, match="9 frames at 96 x 64 px with offload none") as raised:
        model.inpaint(request)
    assert "Run the same command again" in str(raised.value)


def test_advice_begins_anew_where_finished_windows_would_be_others():
    options = advice(MemoryPlan(offload="none", vae_tiling=False), NEEDS, total=16_000)
    assert "memory.offload=text_encoder --set memory.vae_tiling=true --redo (" in options
    assert "memory.offload=layers --set memory.vae_tiling=false (" in options
    tiled = advice(MemoryPlan(offload="none", vae_tiling=True), NEEDS, total=16_000)
    assert "memory.offload=text_encoder --set memory.vae_tiling=true (" in tiled
    assert "and --redo" in advice(FASTEST, NEEDS, total=3_000)
