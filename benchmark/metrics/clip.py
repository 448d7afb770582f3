"""What CLIP tells of a filled video: how well it fits its texts, and how alike neighbouring frames are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from PIL import Image as Picture
from torch import Tensor
from torch.nn.functional import interpolate

from benchmark.metrics.regions import Frame, Frames, Mask, Masks
from benchmark.metrics.sums import NOTHING, Sums, total
from vpdata.media.masks import bounding_box
from vpdata.models.openclip.loading import ClipModel
from vpdata.models.openclip.scores import sentences

_MIN_VIEW_PX = 64
"""Smallest side of a view of the hole, where the frame is that large: CLIP would see a blur."""

Embeddings = list[Tensor | None]
"""Per frame float32 [D] of unit length; None where there is nothing to see."""


def texts_of(caption: str, model: ClipModel) -> list[str]:
    """The caption, or its sentences where it is longer than CLIP reads (77 tokens): the end of it counts too."""
    caption = caption.strip()
    return [caption] if caption and model.num_tokens(caption) <= model.max_tokens else sentences(caption, model)


def squared(images: Sequence[Frame | None], model: ClipModel) -> list[Frame | None]:
    """Each whole picture squeezed into the network's square, by CLIP's own bicubic filter.

    CLIP's own preparation looks at the square in the middle only, and a hole may lie beside it.
    """
    size = (model.image_size_px, model.image_size_px)
    return [
        None if image is None else np.asarray(Picture.fromarray(image).resize(size, Picture.Resampling.BICUBIC))
        for image in images
    ]


def embed(images: Sequence[Frame | None], model: ClipModel) -> Embeddings:
    """Of all images that are there, as CLIP prepares them: of each the square in the middle."""
    there = [image for image in images if image is not None]
    found = iter(model.embed_images(there)) if there else iter(())
    return [None if image is None else next(found) for image in images]


def embed_stretched(images: Sequence[Frame], model: ClipModel) -> Embeddings:
    """As VideoPainter's code has it: stretched to the network's square, colours left in [0, 1].

    CLIP was trained on pictures less a mean and divided by a deviation, so these compare with no other embeddings.
    """
    return list(model.embed_pixels([_stretched(image, model.image_size_px) for image in images]))


def similarity(frames: Embeddings, texts: Sequence[str], model: ClipModel) -> Sums:
    """100 x the cosine of each frame with the text, the mean over the texts where there are several; over frames.

    CLIPScore (Hessel et al. 2021, https://arxiv.org/abs/2104.08718) without its factor of 2.5, as papers on video print
    it. A count of 0 without a text.
    """
    if not texts:
        return NOTHING
    return total(Sums(value, 1) for value in _similarities(frames, model.embed_texts(texts)))


def published_similarity(frames: Embeddings, text: str, model: ClipModel) -> Sums:
    """As `similarity`, by torchmetrics, which VideoPainter's code asks: all texts over 77 tokens are one vector.

    It cuts a text without leaving its end token, where CLIP reads what a text says, and takes 0 for what is negative.
    """
    return total(Sums(max(0.0, value), 1) for value in _similarities(frames, model.embed_texts([text], cuts_end=True)))


def consistency(frames: Embeddings) -> Sums:
    """The cosine of each frame with the next, over all pairs of neighbours; a count of 0 for a single frame.

    Esser et al. 2023 (https://arxiv.org/abs/2302.03011), section 4.1.
    """
    pairs = ((first, second) for first, second in pairwise(frames) if first is not None and second is not None)
    return total(Sums(float(first @ second), 1) for first, second in pairs)


def hole_views(frames: Frames, holes: Masks) -> list[Frame | None]:
    """Per frame the smallest square around the hole, or as much of one as the frame has; None for an empty hole.

    The surroundings stay, since cutting out along a mask shows CLIP the mask; and they stay few, since in a whole frame
    it looks at what is largest.
    """
    return [_view(frame, hole) for frame, hole in zip(frames, holes, strict=True)]


def cut_out(frames: Frames, holes: Masks) -> list[Frame]:
    """The frames, black outside the hole."""
    return list(np.where(holes[..., None], frames, np.uint8(0)))


def _similarities(frames: Embeddings, texts: Tensor) -> Iterator[float]:
    return (100 * float((texts @ frame).mean()) for frame in frames if frame is not None)


def _stretched(image: Frame, side_px: int) -> Tensor:
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    return interpolate(pixels, (side_px, side_px), mode="bilinear", antialias=True)[0]


def _view(frame: Frame, hole: Mask) -> Frame | None:
    box = bounding_box(hole)
    if box is None:
        return None
    x0, y0, x1, y1 = box
    side = max(x1 - x0, y1 - y0, _MIN_VIEW_PX)
    rows = _span((y0 + y1) // 2, side, limit=frame.shape[0])
    columns = _span((x0 + x1) // 2, side, limit=frame.shape[1])
    return np.ascontiguousarray(frame[rows, columns])


def _span(middle: int, size: int, *, limit: int) -> slice:
    size = min(size, limit)
    start = min(max(0, middle - size // 2), limit - size)
    return slice(start, start + size)
