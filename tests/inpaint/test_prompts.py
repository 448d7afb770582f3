import weakref

import pytest
import torch

pytest.importorskip("diffusers")

from tests.inpaint.trained import tiny
from vpdata.backbones.loading import load_text_encoder
from vpdata.inpaint.prompts import PromptEmbedder
from vpdata.inpaint.windows import Window

torch.set_num_threads(1)

WINDOW = Window(index=0, start=0, stop=9, num_shared=0, num_known=0)


def test_texts_of_earlier_videos_are_let_go_and_those_that_come_again_are_kept():
    embedder = PromptEmbedder(lambda: load_text_encoder(tiny("wan")), device=torch.device("cpu"))
    first = embedder.prompts({0: "a red ball"})
    ball = weakref.ref(first.of_window(WINDOW))
    again = embedder.prompts({0: "a red ball"})
    assert again.of_window(WINDOW) is ball()
    other = embedder.prompts({0: "a green dog on the grass"})
    assert other.empty is first.empty
    del first, again
    assert ball() is None
