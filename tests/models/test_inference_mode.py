"""No model on torch keeps what only training needs: the results of every layer, until the batch is answered."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from tests.contracts.implementations import TINY
from tests.models.questions import QUESTIONS


@pytest.mark.parametrize(("role", "name"), QUESTIONS, ids=[f"{role}-{name}" for role, name in QUESTIONS])
def test_every_layer_runs_in_inference_mode(role, name):
    model = TINY[role][name]()
    is_on = []

    def note(module, arguments):
        # What readies pictures is made of modules too, without weights.
        if any(True for _ in module.parameters(recurse=False)):
            is_on.append(torch.is_inference_mode_enabled())

    handle = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        QUESTIONS[role, name](model)
    finally:
        handle.remove()
    assert is_on
    assert all(is_on)
