"""Turn raw video into training sets for video inpainting, train on them, and measure the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vpdata.dataset.reader import Dataset as Dataset
    from vpdata.dataset.reader import Sample as Sample
    from vpdata.dataset.reader import open_dataset as open_dataset

__version__ = "0.1.0"
__all__ = ["Dataset", "Sample", "__version__", "open_dataset"]


def __getattr__(name: str) -> object:
    # Loaded on first use: `import vpdata` must not pull in pyarrow, av or cv2.
    if name in {"Dataset", "Sample", "open_dataset"}:
        from vpdata.dataset import reader

        return getattr(reader, name)
    raise AttributeError(f"module 'vpdata' has no attribute {name!r}")
