"""SAM 2.1 through transformers."""

from __future__ import annotations

import transformers
from transformers import Sam2VideoModel

from vpdata.config import to_plain
from vpdata.models.huggingface.loading import load_model
from vpdata.models.huggingface.sam2_network import TransformersNetwork
from vpdata.models.ports import ModelCard
from vpdata.models.sam2_tracker import Sam2Settings, Sam2Tracker
from vpdata.models.sam2_weights import check_is_sam2_1
from vpdata.models.weights import local_weights


class Sam2(Sam2Tracker):
    """A `MaskTracker` on `Sam2VideoModel`, with all objects of a frame in one batch."""

    Settings = Sam2Settings

    def __init__(self, settings: Sam2Settings) -> None:
        folder = local_weights(settings.weights, settings.revision)
        model = load_model(Sam2VideoModel, folder, device=settings.device, dtype=settings.dtype)
        check_is_sam2_1(model.config.to_dict(), folder=folder)
        if settings.compile:
            model.vision_encoder.compile()
        super().__init__(TransformersNetwork(model), settings)

    @staticmethod
    def card(settings: Sam2Settings) -> ModelCard:
        """What a run says about this model."""
        return ModelCard(
            role="mask_tracker",
            name="sam2",
            revision=settings.revision or "local",
            licence="Apache-2.0",
            source=f"{settings.weights}, transformers {transformers.__version__}",
            options=to_plain(settings),
        )
