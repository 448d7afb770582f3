"""SAM 2.1 through transformers."""

from __future__ import annotations

from transformers import Sam2VideoModel

from vpdata.models.huggingface.loading import load_model
from vpdata.models.huggingface.sam2_network import TransformersNetwork
from vpdata.models.sam2_settings import Sam2Settings
from vpdata.models.sam2_tracker import Sam2Tracker
from vpdata.models.sam2_weights import check_is_sam2_1
from vpdata.models.weights import local_weights


class Sam2(Sam2Tracker):
    """A `MaskTracker` on `Sam2VideoModel`, with all objects of a frame in one batch."""

    def __init__(self, settings: Sam2Settings) -> None:
        folder = local_weights(settings.weights, settings.revision)
        model = load_model(Sam2VideoModel, folder, device=settings.device, dtype=settings.dtype)
        check_is_sam2_1(model.config.to_dict(), folder=folder)
        if settings.compile:
            model.vision_encoder.compile()
        super().__init__(TransformersNetwork(model), settings)
