from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")

from tests.models.tiny_clip import NUM_VALUES, save_head
from vpdata.errors import BackendError
from vpdata.models.openclip.aesthetic import AestheticHead


def embeddings(num_images: int = 5) -> torch.Tensor:
    vectors = torch.randn(num_images, NUM_VALUES, generator=torch.Generator().manual_seed(4))
    return torch.nn.functional.normalize(vectors, dim=-1)


def test_linear_head_is_a_linear_layer(tmp_path):
    layer = torch.nn.Linear(NUM_VALUES, 1)
    head = AestheticHead(str(save_head(tmp_path, **layer.state_dict())), None)
    with torch.no_grad():
        wanted = layer(embeddings())[:, 0]
    torch.testing.assert_close(head(embeddings()).float(), wanted)
    assert head.num_values == NUM_VALUES


def test_published_stack_of_layers_gives_what_it_gives_layer_by_layer(tmp_path):
    class Published(torch.nn.Module):
        def __init__(self):
            super().__init__()
            sizes = [(NUM_VALUES, 32), (32, 12), (12, 8), (8, 4), (4, 1)]
            first, second, third, fourth, fifth = (torch.nn.Linear(*size) for size in sizes)
            drop = torch.nn.Dropout(0.2)
            self.layers = torch.nn.Sequential(first, drop, second, drop, third, drop, fourth, fifth)

    published = Published().eval()
    assert set(published.state_dict()) >= {"layers.0.weight", "layers.7.bias"}
    head = AestheticHead(str(save_head(tmp_path, **published.state_dict())), None)
    with torch.no_grad():
        wanted = published.layers(embeddings())[:, 0]
    torch.testing.assert_close(head(embeddings()).float(), wanted)


def test_images_are_rated_alone(tmp_path):
    head = AestheticHead(str(save_head(tmp_path)), None)
    alone = torch.cat([head(embeddings()[row : row + 1]) for row in range(5)])
    assert head(embeddings()).tolist() == alone.tolist()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"something": torch.zeros(1, 16)}, "wanted the layers of an aesthetic head"),
        ({"weight": torch.zeros(2, 16), "bias": torch.zeros(2)}, "2 outputs"),
        ({"layers.0.weight": torch.zeros(4, 16), "layers.0.bias": torch.zeros(4)}, "4 outputs"),
    ],
)
def test_other_tensors_are_refused(tmp_path, tensors, message):
    with pytest.raises(BackendError, match=message):
        AestheticHead(str(save_head(tmp_path, **tensors)), None)


def test_missing_head_names_the_command_that_fetches_it(monkeypatch):
    monkeypatch.delenv("VPDATA_WEIGHTS", raising=False)
    with pytest.raises(BackendError, match="vpdata models fetch laion-aesthetic-v2"):
        AestheticHead("laion-aesthetic-v2", None)
