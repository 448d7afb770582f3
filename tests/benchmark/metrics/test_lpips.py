from __future__ import annotations

import lpips
import numpy as np
import pytest
import torch

from benchmark.metrics.lpips import Lpips
from tests.benchmark.metrics.networks import TRUNKS, save_head, save_trunk
from tests.benchmark.metrics.real_clip import real_clip
from vpdata.errors import BackendError
from vpdata.models.weights import WEIGHTS_VARIABLE


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Where all trunks and heads are."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(WEIGHTS_VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="module", params=TRUNKS)
def networks(request, root):
    """Ours and the authors' own, with equal trunks and the published heads."""
    trunk = request.param
    tensors = save_trunk(root, trunk)
    save_head(root, trunk)
    theirs = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
    random_trunk = {name.removeprefix("features."): value for name, value in tensors.items()}
    # Their slices keep the numbers of torchvision's layers.
    theirs.net.load_state_dict({name: random_trunk[name.partition(".")[2]] for name in theirs.net.state_dict()})
    ours = Lpips(trunk, trunk_weights=TRUNKS[trunk][0], head_weights=f"lpips-{trunk}", device=torch.device("cpu"))
    return ours, theirs


def in_theirs(frame):
    return torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_it_is_that_of_its_authors_package_on_real_frames(networks):
    ours, theirs = networks
    output, truth, _ = real_clip()
    other_truth = real_clip("b.mp4")[1]
    distances = []
    for one, other in [*zip(output, truth, strict=True), *zip(truth, other_truth, strict=True)]:
        distance, heat = ours(one, other)
        with torch.no_grad():
            theirs.spatial = False
            wanted = theirs(in_theirs(one), in_theirs(other)).item()
            theirs.spatial = True
            wanted_heat = theirs(in_theirs(one), in_theirs(other))[0, 0].numpy()
        distances.append(wanted)
        assert distance == pytest.approx(wanted, rel=1e-4)
        assert heat.shape == one.shape[:2]
        assert np.abs(heat - wanted_heat).max() < 1e-5
    assert max(distances) > 1e-3


def test_equal_frames_have_no_distance(networks):
    _, truth, _ = real_clip()
    distance, heat = networks[0](truth[0], truth[0])
    assert distance == 0
    assert not heat.any()


def test_weights_of_another_trunk_are_refused(root):
    for trunk in TRUNKS:
        save_trunk(root, trunk)
        if not (root / f"lpips-{trunk}").exists():
            save_head(root, trunk)
    device = torch.device("cpu")
    with pytest.raises(BackendError, match="another architecture"):
        Lpips("alex", trunk_weights="squeezenet1_1", head_weights="lpips-alex", device=device)
    with pytest.raises(BackendError, match="wanted the heads of LPIPS squeeze"):
        Lpips("squeeze", trunk_weights="squeezenet1_1", head_weights="lpips-alex", device=device)
