"""Turn raw video into training sets for video inpainting, train on them, and measure the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vpdata.dataset.reader import Dataset as Dataset
    from vpdata.dataset.reader import Sample as Sample
    from vpdata.dataset.reader import open_dataset as open_dataset
    from vpdata.inpaint.inpainter import Inpainter as Inpainter

__version__ = "0.1.0"
__all__ = ["Dataset", "Inpainter", "Sample", "__version__", "open_dataset"]


def __getattr__(name: str) -> object:
    # Loaded on first use: `import vpdata` must not pull in pyarrow, av, cv2 or torch.
    if name in {"Dataset", "Sample", "open_dataset"}:
        from vpdata.dataset import reader

        return getattr(reader, name)
    if name == "Inpainter":
        from vpdata.extras import needs

        with needs("train", "vpdata.Inpainter"):
            from vpdata.inpaint.inpainter import Inpainter

        return Inpainter
    raise AttributeError(f"module 'vpdata' has no attribute {name!r}")
