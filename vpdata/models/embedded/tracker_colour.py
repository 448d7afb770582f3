"""What an object looks like against what surrounds it: two colour histograms and their log-likelihood ratio."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.media.masks import Mask

_LIGHTNESS_BINS, _CHROMA_BINS = 16, 32
_NUM_BINS = _LIGHTNESS_BINS * _CHROMA_BINS * _CHROMA_BINS
_UNSEEN = 2e-4
"""Density given to every colour, so that one seen neither on the object nor beside it says nothing."""


def colour_bins(image: NDArray[np.uint8]) -> NDArray[np.intp]:
    """intp [H, W]: the histogram bin of each pixel of an RGB image, in CIELAB, chroma finer than lightness."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.intp)
    return ((lab[..., 0] >> 4) * _CHROMA_BINS + (lab[..., 1] >> 3)) * _CHROMA_BINS + (lab[..., 2] >> 3)


class ColourModel:
    """Colours of one object and of all that is not the object; both may be learned further."""

    def __init__(self, bins: NDArray[np.intp], mask: Mask, surroundings: Mask) -> None:
        self._object = _histogram(bins[mask])
        self._background = self._mixed_background(bins, mask, surroundings)
        self._reference = self._object
        self._update_table()
        is_like = self._table[bins] > 0
        self.separability = max(0.0, _share(is_like, mask) - _share(is_like, surroundings))
        """In [0, 1]: how well colour alone tells the object from its surroundings where it was first seen."""

    def copy(self) -> ColourModel:
        """One that learns on its own."""
        twin = object.__new__(ColourModel)
        twin.__dict__.update(self.__dict__)
        return twin

    def evidence(self, bins: NDArray[np.intp]) -> NDArray[np.float32]:
        """log p(colour | object) - log p(colour | background) for each bin, clipped to +-4."""
        return self._table[bins]

    def similarity(self, bins: NDArray[np.intp]) -> float:
        """Bhattacharyya coefficient in [0, 1] between some pixels' colours and the object's first look."""
        return float(np.sqrt(_histogram(bins) * self._reference).sum())

    def learn(self, bins: NDArray[np.intp], mask: Mask, surroundings: Mask, *, object_rate: float) -> None:
        """Take a frame in: the background quickly; the object at `object_rate`, never losing its first look."""
        if object_rate > 0:
            recent = (1 - object_rate) * self._object + object_rate * _histogram(bins[mask])
            self._object = 0.98 * recent + 0.02 * self._reference
        self._background = 0.7 * self._background + 0.3 * self._mixed_background(bins, mask, surroundings)
        self._update_table()

    @staticmethod
    def _mixed_background(bins: NDArray[np.intp], mask: Mask, surroundings: Mask) -> NDArray[np.float32]:
        """Half what is near, where the outline is decided, and half everything, where occluders come from."""
        near = _histogram(bins[surroundings])
        return np.asarray(0.5 * near + 0.5 * _histogram(bins[~(mask | surroundings)]), dtype=np.float32)

    def _update_table(self) -> None:
        ratio = np.log((self._object + _UNSEEN) / (self._background + _UNSEEN))
        self._table = np.clip(ratio, -4, 4).astype(np.float32)


def _share(is_like: Mask, where: Mask) -> float:
    return float(np.count_nonzero(is_like & where)) / max(1, np.count_nonzero(where))


def _histogram(bins: NDArray[np.intp]) -> NDArray[np.float32]:
    """float32 [bins] that sums to 1, smoothed over neighbouring colours; all zero for no pixels."""
    counts = np.bincount(bins.ravel(), minlength=_NUM_BINS).astype(np.float32)
    cube = counts.reshape(_LIGHTNESS_BINS, _CHROMA_BINS, _CHROMA_BINS)
    for axis in range(3):
        moved = np.moveaxis(cube, axis, 0)
        smooth = 0.5 * moved
        smooth[1:] += 0.25 * moved[:-1]
        smooth[:-1] += 0.25 * moved[1:]
        cube = np.moveaxis(smooth, 0, axis)
    return (cube / max(1.0, float(counts.sum()))).ravel()
