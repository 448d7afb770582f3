from __future__ import annotations

import pickle
from itertools import pairwise

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from safetensors.torch import load_file
from torchvision.models.optical_flow import Raft_Small_Weights, raft_small

from tests.fakes import textured_ground
from tests.models.tiny_raft import save_raft
from vpdata.config import ModelChoice
from vpdata.errors import BackendError
from vpdata.models import describe, maker
from vpdata.models.embedded.measures import mean_motion
from vpdata.models.raft import RaftMotion
from vpdata.models.raft_settings import RaftSettings

torch.set_num_threads(1)
CLOSE = 1e-5
"""In float32, of the longest flow: twelve rounds of refinement each begin from the rounding of the one before."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_raft(tmp_path_factory.mktemp("raft"))


def settings(folder, **options):
    return RaftSettings(weights=str(folder), size="small", device="cpu", short_side_px=128, **options)


@pytest.fixture(scope="module")
def raft(folder):
    return RaftMotion(settings(folder))


def frames(num_frames=4, *, height_px=128, width_px=160):
    """A picture that moves to the right by 3 pixels a frame."""
    ground = textured_ground(height_px=height_px, width_px=width_px + 3 * num_frames, seed=1)
    return np.stack([ground[:, 3 * index : 3 * index + width_px] for index in range(num_frames)])


@torch.inference_mode()
def flow_by_torchvision(folder, before, after):
    """float32 [H, W, 2] in pixels of the frames, whose sides are such as the network takes."""
    network = raft_small().eval()
    network.load_state_dict(load_file(folder / "model.safetensors"))
    transform = Raft_Small_Weights.C_T_V2.transforms()
    images = (torch.from_numpy(image).permute(2, 0, 1)[None] for image in (before, after))
    return network(*transform(*images))[-1][0].permute(1, 2, 0).numpy()


def test_flow_is_what_torchvision_gives_on_the_same_frames(folder, raft):
    before, after = frames(2)
    wanted = flow_by_torchvision(folder, before, after)
    (flow,) = raft.flows([(before, after)])
    assert flow.shape == (128, 160, 2)
    np.testing.assert_allclose(flow, wanted, atol=CLOSE * np.abs(wanted).max())


def test_scores_are_the_mean_motion_of_the_flows(raft):
    film = frames()
    flows = [raft.flows([pair])[0][::8, ::8] for pair in pairwise(film)]
    wanted = mean_motion(flows, diagonal_px=np.hypot(128, 160), fps=4.0)
    scores = raft.score(film, fps=4.0)
    assert tuple(scores.values()) == pytest.approx(wanted, rel=CLOSE)
    assert tuple(raft.score(film, fps=8.0).values()) == pytest.approx([2 * value for value in wanted], rel=CLOSE)


def test_batch_of_pairs_equals_pairs_alone(folder, raft):
    one_by_one = RaftMotion(settings(folder, batch_size=1))
    assert tuple(raft.score(frames(), fps=4.0).values()) == pytest.approx(
        tuple(one_by_one.score(frames(), fps=4.0).values()), rel=CLOSE
    )


def test_frames_of_any_size_are_measured_in_their_own_pixels(folder, raft):
    before, after = frames(2, height_px=60, width_px=90)
    (flow,) = raft.flows([(before, after)])
    enlarged = flow_by_torchvision(folder, *(cv2.resize(image, (128, 128)) for image in (before, after)))
    wanted = enlarged * [90 / 128, 60 / 128]
    assert flow.shape == (128, 128, 2)
    np.testing.assert_allclose(flow, wanted, atol=CLOSE * np.abs(wanted).max())
    assert all(np.isfinite(value) for value in raft.score(frames(2, height_px=60, width_px=90), fps=4.0).values())


def test_motion_of_one_frame_is_not_known(raft):
    assert raft.score(frames(1), fps=4.0) == {"motion": None, "camera_motion": None, "object_motion": None}


def test_missing_weights_are_named(tmp_path, monkeypatch):
    with pytest.raises(BackendError, match=r"no folder .*nowhere"):
        RaftMotion(settings(tmp_path / "nowhere"))
    with pytest.raises(BackendError, match=r"model\.safetensors"):
        RaftMotion(settings(tmp_path))
    monkeypatch.delenv("VPDATA_WEIGHTS", raising=False)
    with pytest.raises(BackendError, match=r"vpdata models fetch raft-large"):
        RaftMotion(RaftSettings(device="cpu"))


def test_truncated_weights_are_named(folder, tmp_path):
    content = (folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(BackendError, match=r"model\.safetensors.*fetch them again"):
        RaftMotion(settings(tmp_path))


def test_weights_of_another_architecture_are_refused(folder):
    with pytest.raises(BackendError, match="another architecture"):
        RaftMotion(RaftSettings(weights=str(folder), size="large", device="cpu"))


def test_choice_pickles_and_describes_itself_without_weights():
    choice = ModelChoice(
        name="raft", options={"weights": "some-lab/raft", "revision": "C_T_SKHT_V2", "licence": "CC0-1.0"}
    )
    card = describe("scorer", choice)
    assert (card.name, card.revision, card.licence) == ("raft-large", "C_T_SKHT_V2", "CC0-1.0")
    assert pickle.loads(pickle.dumps(maker("scorer", choice)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_cpu(folder, raft):
    on_gpu = RaftMotion(RaftSettings(weights=str(folder), size="small", short_side_px=128))
    wanted = tuple(raft.score(frames(), fps=4.0).values())
    assert tuple(on_gpu.score(frames(), fps=4.0).values()) == pytest.approx(wanted, rel=1e-2)
