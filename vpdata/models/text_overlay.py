"""How much of a clip is covered by legible text: subtitles, titles, logos with letters, and signs in the scene."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources as package_files
from importlib.metadata import version
from typing import Any

import cv2
import numpy as np
from rapidocr import RapidOCR

from vpdata.errors import BackendError
from vpdata.models.ports import Frames, Image
from vpdata.models.text_overlay_settings import TextOverlaySettings
from vpdata.records import ScoreName

_DETECTOR, _READER = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
_MIN_LETTERS = 2
"""What reads as one letter is more often a thing of that shape: a triangle is an A."""


class TextOverlay:
    """Measures text_overlay_frac: the mean share of a frame inside the boxes of what PP-OCR can read, in [0, 1].

    The boxes leave a margin around the letters. Text that was filmed counts as much as text that was laid over. The
    models are those in the wheel of rapidocr.
    """

    def __init__(self, settings: TextOverlaySettings) -> None:
        self.sample_fps = settings.sample_fps
        self.max_short_side_px = settings.short_side_px
        engine = "EngineConfig.onnxruntime"
        self._ocr = RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.text_score": settings.min_score,
                # Turning lines that stand on their head is for scanned pages.
                "Global.use_cls": False,
                # With a path, it never looks for a download.
                "Det.model_path": _model_file(_DETECTOR),
                "Rec.model_path": _model_file(_READER),
                f"{engine}.intra_op_num_threads": settings.num_threads,
                f"{engine}.inter_op_num_threads": 1,
            }
        )

    def score(self, frames: Frames, *, fps: float) -> Mapping[ScoreName, float | None]:
        """The share of text of one clip."""
        return {"text_overlay_frac": float(np.mean([self._covered_frac(frame) for frame in frames]))}

    def _covered_frac(self, image: Image) -> float:
        # Its declared type covers calls without detection too.
        found: Any = self._ocr(np.ascontiguousarray(image[..., ::-1]))
        covered = np.zeros(image.shape[:2], dtype=np.uint8)
        # Nothing found is None, not an empty list.
        for box, text in zip(found.boxes if found.txts else (), found.txts or (), strict=True):
            if len(text.strip()) >= _MIN_LETTERS:
                cv2.fillPoly(covered, [np.asarray(np.round(box), dtype=np.int32)], 1)
        return float(covered.mean())


def _model_file(name: str) -> str:
    file = package_files.files("rapidocr") / "models" / name
    if not file.is_file():
        raise BackendError(f"rapidocr {version('rapidocr')} carries no {name}; pip install 'rapidocr>=3.10,<3.11'")
    return str(file)
