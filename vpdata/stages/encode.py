"""Encodes windows of clips into latents, with masks that are drawn once, and captions into embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from vpdata.backbones.latent_masks import union_over_groups
from vpdata.backbones.settings import BackboneSettings
from vpdata.backbones.spec import BackboneSpec
from vpdata.config import to_plain
from vpdata.dataset.latents import (
    CLIP_TEXT,
    EncodedClip,
    EncodedWindow,
    GivenFrame,
    WindowName,
    clip_members,
    window_member,
)
from vpdata.dataset.training_windows import WindowSettings
from vpdata.errors import Reason, RejectItem
from vpdata.media.mask_mix import KindWeights, MaskMix
from vpdata.models.gpu import halving, torch_device
from vpdata.models.ports import ModelCard
from vpdata.records import Record
from vpdata.stages.base import Rejected, Resources, Result, rejected
from vpdata.stages.masked_windows import MaskedWindow, masked_windows

if TYPE_CHECKING:
    from vpdata.backbones.codec import LatentCodec
    from vpdata.backbones.text_encoder import TextEncoder


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeSettings:
    """Settings of the stage `encode`."""

    windows: WindowSettings = field(default_factory=WindowSettings)
    num_variants: int = 2
    """Masks drawn per window: all that training from latents will ever see of the mix."""
    masks: MaskMix = field(default_factory=MaskMix)
    pair_masks: MaskMix = field(
        default_factory=lambda: MaskMix(
            weights=KindWeights(
                track=0.6, tracks=0, all_tracks=0, box=0.2, ellipse=0.2, brush=0, davis=0, inverted=0, full_frame=0
            ),
            own_path_frac=0,
            continued_frac=0,
        )
    )
    """Of the target of an ID pair, whose hole must hold the one object that the source shows."""
    seed: int = 0
    """Decides all masks, together with the ids of the clips."""
    tiled: bool = False
    """Whether the VAE works in blended tiles: less memory, slightly other latents."""
    resources: Resources = field(
        default_factory=lambda: Resources(cpus=2.0, gpus=1.0, memory_gb=24.0, gpu_memory_gb=30.0)
    )

    def __post_init__(self) -> None:
        if self.num_variants < 1:
            raise ValueError(f"num_variants: got {self.num_variants}, wanted at least 1")
        mix, weights = self.pair_masks, self.pair_masks.weights
        if mix.own_path_frac or mix.continued_frac or weights.davis or weights.inverted or weights.full_frame:
            raise ValueError(
                "pair_masks: got masks that need not hide the object; wanted own_path_frac, continued_frac, davis, "
                "inverted and full_frame of 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeInputs:
    """A clip's windows at the size of the backbone, with their masks."""

    record: Record
    windows: tuple[MaskedWindow, ...]
    dropped: tuple[RejectItem, ...]
    """What the clip is too short for, and windows without a mask."""

    @property
    def item_id(self) -> str:
        return self.record.id

    @property
    def num_bytes(self) -> int:
        return sum(window.num_bytes for window in self.windows)


class Encode:
    """One row and the files of a clip's windows and texts, see `vpdata.dataset.latents`.

    A clip without a caption, a track, or room for a window is rejected; one that only lacks the room for an ID pair, or
    all masks of one window, leaves a reject too and is encoded without it. One whose latents or embeddings are no
    numbers is rejected: float16 overflows in some encoders.
    """

    name: ClassVar[str] = "encode"
    needs_media: ClassVar[bool] = True

    def __init__(
        self,
        settings: EncodeSettings,
        backbone: BackboneSettings,
        *,
        codec: Callable[[], LatentCodec] | None = None,
        text_encoder: Callable[[], TextEncoder] | None = None,
    ) -> None:
        """ConfigError where the backbone does not take the windows; reads its configs, not its weights."""
        from vpdata.backbones import loading

        self._settings, self._backbone = settings, backbone
        self.spec: BackboneSpec = loading.read_spec(backbone)
        self.fingerprint = loading.fingerprint(backbone)
        windows = settings.windows
        for num_frames in {windows.num_frames, *(length for pair in windows.pairs for length in pair)}:
            self.spec.latent_shape(num_frames, windows.height_px, windows.width_px)
        self._make_codec, self._make_text_encoder = codec, text_encoder
        self.resources = settings.resources

    @property
    def identity(self) -> Mapping[str, Any]:
        settings = to_plain(self._settings)
        del settings["resources"]
        return {"settings": settings, "backbone": self.fingerprint, "version": 1}

    @property
    def models(self) -> tuple[ModelCard, ...]:
        # The fingerprint of the backbone is in the identity; its cards belong to what is trained.
        return ()

    def setup(self) -> None:
        from vpdata.backbones import loading

        make_codec = self._make_codec or (lambda: loading.load_codec(self._backbone, tiled=self._settings.tiled))
        make_text_encoder = self._make_text_encoder or (lambda: loading.load_text_encoder(self._backbone))
        self._device = torch_device(self._backbone.device)
        self._codec, self._text_encoder = make_codec(), make_text_encoder()

    def prepare(self, item: Record, media: bytes) -> EncodeInputs:
        if not any(caption.scope is None for caption in item.captions or ()):
            raise RejectItem(Reason.NO_CAPTION, "the clip has no caption of its own", wanted="one")
        if not item.tracks:
            raise RejectItem(Reason.NO_TRACKS, "the clip has no track to mask", wanted="one or more")
        settings = self._settings
        windows, dropped = masked_windows(
            item,
            media,
            settings=settings.windows,
            num_variants=settings.num_variants,
            masks=settings.masks,
            pair_masks=settings.pair_masks,
            seed=settings.seed,
            spec=self.spec,
        )
        if not windows:
            raise RejectItem(dropped[0].reason, "; ".join(one.detail for one in dropped))
        return EncodeInputs(record=item, windows=windows, dropped=dropped)

    def process_many(self, inputs: Iterator[EncodeInputs]) -> Iterator[Result | Rejected]:
        for one in inputs:
            try:
                ((record, members),) = halving(self._encode_all, [one])
            except RejectItem as rejection:
                yield rejected(one.record, rejection, stage=self.name)
                continue
            for dropped in one.dropped:
                yield rejected(one.record, dropped, stage=self.name)
            yield Result(item_id=one.item_id, record=record, members=members)

    def _encode_all(self, inputs: Sequence[EncodeInputs]) -> list[tuple[EncodedClip, dict[str, bytes]]]:
        return [self._encode(one) for one in inputs]

    def _encode(self, one: EncodeInputs) -> tuple[EncodedClip, dict[str, bytes]]:
        files: dict[WindowName, bytes] = {window.name: self._window_file(window) for window in one.windows}
        rows = tuple(self._row(one.record, window) for window in one.windows)
        return EncodedClip(id=one.item_id, windows=rows), clip_members(files, self._texts(one.record))

    def _window_file(self, window: MaskedWindow) -> bytes:
        # Moved as bytes and cast there, a quarter of the transfer and nothing to do for the CPU.
        video = as_video(torch.from_numpy(window.frames).to(self._device))
        is_source = window.name == "source"
        holes = [] if is_source else [torch.from_numpy(variant.mask).to(self._device) for variant in window.variants]
        given = None
        if self.spec.takes_first_frame:
            first = self._codec.first_frame(video[:, :, 0], num_frames=len(window.frames))
            tokens = first.image_tokens
            given = GivenFrame(latents=first.latents[0], image_tokens=None if tokens is None else tokens[0])
        clean = self._codec.encode(video)[0]
        masked = [self._codec.encode(video.masked_fill(hole, 0.0))[0] for hole in holes]
        _refuse_not_finite(f"latents of the window {window.name!r}", [clean, *masked, *_parts(given)])
        return window_member(
            video=clean,
            masked=masked,
            unions=[union_over_groups(one.mask, stride_t=self.spec.stride_t) for one in window.variants],
            first_frame=given,
        )

    def _row(self, record: Record, window: MaskedWindow) -> EncodedWindow:
        num_frames, height_px, width_px, _ = window.frames.shape
        return EncodedWindow(
            clip_id=record.id,
            video_id=record.clip.video.id,
            name=window.name,
            start_frame=window.start_frame,
            fps=self._settings.windows.fps,
            num_frames=num_frames,
            height_px=height_px,
            width_px=width_px,
            num_variants=len(window.variants),
            hole_fracs=tuple(float(one.mask.mean()) for one in window.variants),
            variant_kinds=tuple(one.kind for one in window.variants),
            variant_tracks=tuple(one.tracks for one in window.variants),
            pair=window.pair,
        )

    def _texts(self, record: Record) -> dict[str, Tensor]:
        # Backwards, so that the first caption of a scope wins: a list's own caption comes after ours.
        captions = {caption.scope: caption.text for caption in reversed(record.captions or ())}
        names = [CLIP_TEXT if scope is None else str(scope) for scope in captions]
        embeddings = self._text_encoder.encode(list(captions.values()))
        _refuse_not_finite("embeddings of the captions", embeddings)
        return dict(zip(names, embeddings, strict=True))


def _parts(given: GivenFrame | None) -> list[Tensor]:
    return [] if given is None else [part for part in (given.latents, given.image_tokens) if part is not None]


def _refuse_not_finite(what: str, tensors: Sequence[Tensor]) -> None:
    # One number to wait for; the tensors are copied from the device right after.
    if not bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all()):
        raise RejectItem(Reason.NOT_FINITE, f"the {what} are not all numbers", wanted="finite numbers")


def as_video(frames: Tensor) -> Tensor:
    """uint8 [F, H, W, 3] to float32 [1, 3, F, H, W] in [-1, 1]."""
    return frames.permute(3, 0, 1, 2)[None].float() / 127.5 - 1
