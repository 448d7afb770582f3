"""SAM 2.1 through the package `sam2`, on the same weights as through transformers.

The package's predictor opens only folders of JPEG files, fills holes by a CUDA kernel that may be missing, and looks
for objects one after another: this calls the step below it, `track_step`, which does none of that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from sam2.build_sam import build_sam2_video_predictor  # pyright: ignore[reportMissingImports]
from torch import Tensor

from vpdata.errors import BackendError
from vpdata.models.gpu import moved, torch_device, torch_dtype
from vpdata.models.sam2_bank import Bank, Memory, Moment, Seen, Wanted
from vpdata.models.sam2_settings import Sam2PackageSettings
from vpdata.models.sam2_tracker import Sam2Tracker
from vpdata.models.sam2_weights import check_is_sam2_1, package_overrides, package_weights
from vpdata.models.weights import local_weights

SMALLEST = "configs/sam2.1/sam2.1_hiera_t.yaml"
"""The package's description of the smallest size."""


class Sam2Package(Sam2Tracker):
    """A `MaskTracker` on the package `sam2`; opens the checkpoints that `sam2` opens."""

    def __init__(self, settings: Sam2PackageSettings) -> None:
        folder = local_weights(settings.weights, settings.revision)
        device = torch_device(settings.device)
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            check_is_sam2_1(config, folder=folder)
            overrides = package_overrides(config)
            predictor: Any = build_sam2_video_predictor(SMALLEST, None, "cpu", hydra_overrides_extra=overrides)
            predictor.load_state_dict(package_weights(load_file(folder / "model.safetensors")))
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise BackendError(f"{folder}: the weights cannot be loaded: {error}; fetch them again") from error
        predictor = moved(predictor, device, where=folder)
        if settings.compile:
            predictor.image_encoder.compile()
        super().__init__(PackageNetwork(predictor, dtype=torch_dtype(settings.dtype)), settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFeatures:
    """What the image encoder sees on one frame, finest level first."""

    levels: tuple[Tensor, ...]
    """[L, 1, C] each."""
    positions: tuple[Tensor, ...]
    """[L, 1, 256] each: encoding of places."""
    sizes: tuple[tuple[int, int], ...]


class PackageNetwork:
    """A `Network` on a `SAM2VideoPredictor`, in float32 or under autocast as its authors run it."""

    def __init__(self, predictor: Any, *, dtype: torch.dtype) -> None:
        self._predictor = predictor
        self._dtype = dtype
        self.num_pointers: int = predictor.max_obj_ptrs_in_encoder
        self.image_size_px: int = predictor.image_size
        self.device: torch.device = predictor.device
        side = predictor.image_size // predictor.backbone_stride
        blank = torch.zeros(1, predictor.mem_dim, side, side, device=self.device)
        self._memory_places: Tensor = predictor.memory_encoder.position_encoding(blank)

    def encode(self, pixels: Tensor) -> list[FrameFeatures]:
        """See `Network.encode`."""
        with self._autocast():
            encoded = self._predictor.forward_image(pixels)
        levels, positions = encoded["backbone_fpn"], encoded["vision_pos_enc"]
        sizes = tuple((level.shape[-2], level.shape[-1]) for level in levels)
        return [
            FrameFeatures(levels=_tokens(levels, n), positions=_tokens(positions, n), sizes=sizes)
            for n in range(len(pixels))
        ]

    def look(self, features: FrameFeatures, wanted: Sequence[Wanted], *, at: Moment) -> list[Seen]:
        """See `Network.look`."""
        banks = [one.bank for one in wanted]
        with self._autocast():
            found = self._predictor.track_step(
                frame_idx=at.frame,
                is_init_cond_frame=not banks[0].prompted,
                current_vision_feats=[level.expand(-1, len(wanted), -1) for level in features.levels],
                current_vision_pos_embeds=[place.expand(-1, len(wanted), -1) for place in features.positions],
                feat_sizes=features.sizes,
                point_inputs=self._corners(wanted),
                mask_inputs=None,
                output_dict=self._memories(banks, at),
                num_frames=at.num_frames,
                track_in_reverse=at.is_backward,
            )
        memories = (
            # As the package's own predictor keeps them.
            Memory(features=left.to(torch.bfloat16), pointer=pointer)
            for left, pointer in zip(found["maskmem_features"], found["obj_ptr"], strict=True)
        )
        return [
            Seen(logits=logits[0].float(), score=score[0].float(), memory=memory)
            for logits, score, memory in zip(found["pred_masks"], found["object_score_logits"], memories, strict=True)
        ]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self._dtype, enabled=self._dtype != torch.float32)

    def _corners(self, wanted: Sequence[Wanted]) -> Mapping[str, Tensor] | None:
        """Boxes as the package takes them: two points, labelled 2 and 3."""
        boxes = [one.box for one in wanted if one.box is not None]
        if not boxes:
            return None
        points = torch.tensor(boxes, device=self.device, dtype=torch.float32).view(-1, 2, 2)
        labels = torch.tensor([2, 3], device=self.device, dtype=torch.int32)
        return {"point_coords": points, "point_labels": labels.expand(len(boxes), 2)}

    def _memories(self, banks: Sequence[Bank], at: Moment) -> Mapping[str, Mapping[int, Any]]:
        """The banks as the package's output dictionary: its memories of all objects, stacked by frame."""
        looked_at = {at.behind(offset) for offset in range(1, self.num_pointers)}
        return {
            "cond_frame_outputs": {
                frame: self._stacked([bank.prompted[frame] for bank in banks]) for frame in banks[0].prompted
            },
            "non_cond_frame_outputs": {
                frame: self._stacked([bank.tracked[frame] for bank in banks])
                for frame in banks[0].tracked
                if frame in looked_at
            },
        }

    def _stacked(self, memories: Sequence[Memory]) -> Mapping[str, Any]:
        return {
            "maskmem_features": torch.stack([one.features for one in memories]),
            "maskmem_pos_enc": [self._memory_places.expand(len(memories), -1, -1, -1)],
            "obj_ptr": torch.stack([one.pointer for one in memories]),
        }


def _tokens(maps: Sequence[Tensor], n: int) -> tuple[Tensor, ...]:
    """[h * w, 1, C] of the n-th of each [B, C, h, w]."""
    return tuple(one[n : n + 1].flatten(2).permute(2, 0, 1) for one in maps)
