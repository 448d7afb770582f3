import numpy as np
import pytest
import torch

pytest.importorskip("peft")

from benchmark.studies.borders import APART, NUM_FRAMES, jump_scores, jumps, jumps_table
from benchmark.studies.clips import WINDOW_FRAMES, make_clips
from benchmark.studies.linear_codec import fit_codec
from benchmark.studies.pretrain import new_backbone
from benchmark.studies.settings import SIZES
from vpdata.backbones.context_encoder import ContextEncoder, ContextEncoderSettings
from vpdata.backbones.identity_adapter import IdentityAdapter, IdentitySettings
from vpdata.backbones.injector import InjectionSettings
from vpdata.backbones.inpainting import InpaintingBackbone
from vpdata.inpaint.windows import plan_windows

torch.set_num_threads(1)


def test_step_counts_as_across_where_a_shared_frame_takes_part():
    windows = plan_windows(NUM_FRAMES, window_frames=WINDOW_FRAMES, overlap_frames=5, stride_t=4)
    assert [(one.start, one.stop) for one in windows] == [(0, 13), (8, 21)]
    psnrs = np.full(21, 20.0)
    psnrs[8:13] = 26  # up by 6 dB into the 5 shared frames, and down again behind them: 12 dB in 6 steps
    assert jumps(psnrs, windows) == (0.0, pytest.approx(2.0))
    psnrs[3:] += 7  # one of the 14 other steps
    assert jumps(psnrs, windows) == (pytest.approx(0.5), pytest.approx(2.0))


def test_windows_apart_meet_in_one_step():
    psnrs = np.full(21, 20.0)
    psnrs[13:] = 23
    assert jumps(psnrs, APART) == (0.0, 3.0)


@pytest.mark.slow
def test_every_way_is_measured_and_the_adapter_changes_what_is_made():
    tiny = SIZES["tiny"]
    film = np.random.default_rng(0).integers(0, 256, (60, 64, 80, 3), dtype=np.uint8)
    clips = list(make_clips([film], split="test", num_clips=3, side_px=tiny.side_px))
    backbone = new_backbone(tiny, seed=0)
    torch.manual_seed(0)
    torch.nn.init.normal_(backbone.transformer.proj_out.weight, std=0.1)
    codec = fit_codec([clip.frames[:WINDOW_FRAMES] for clip in clips], spec=backbone.spec)
    adapter = IdentityAdapter(backbone, IdentitySettings(rank=2, alpha=2))
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
        parameter.requires_grad_(False)
    encoder = ContextEncoder(backbone, ContextEncoderSettings(num_layers=2))
    model = InpaintingBackbone(backbone, encoder, InjectionSettings(), identity=adapter)
    apart, plain, with_adapter = jump_scores(clips, model, codec, tiny)
    assert model.identity is adapter
    assert plain.psnr != with_adapter.psnr
    for score in (apart, plain, with_adapter):
        assert score.excess.mean == pytest.approx(score.across.mean - score.inside.mean)
    assert jumps_table([apart, plain, with_adapter]).count("\n") == 4
