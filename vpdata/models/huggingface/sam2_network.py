"""One step of SAM 2.1 on several objects at once.

`Sam2VideoModel` looks for the objects of a session one after another, which leaves most of a GPU idle. This calls the
same modules, in the same order, on all of them as one batch; a test holds it equal to the session. Method: Ravi et al.
2024, "SAM 2: Segment Anything in Images and Videos".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Sam2VideoModel

from vpdata.models.gpu import to_device
from vpdata.models.sam2_bank import Bank, Memory, Moment, Seen, Wanted

ABSENT_LOGIT = -1024.0
"""Stands on every pixel of an absent object, as in the reference implementation."""

# Shapes: N objects, C channels of the network, M of its memories, L tokens of a feature map of h x w, S the input size.


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFeatures:
    """What the image encoder sees on one frame."""

    levels: tuple[Tensor, ...]
    """[L, 1, C_level], finest first."""
    position: Tensor
    """[L, 1, C]: encoding of places on the coarsest level."""


class TransformersNetwork:
    """A `Network` on the modules of a `Sam2VideoModel`."""

    def __init__(self, model: Sam2VideoModel) -> None:
        # Any: attributes of torch modules carry no types.
        self._model: Any = model
        config: Any = model.config
        self._num_mask_memories = config.num_maskmem
        self.num_pointers: int = config.max_object_pointers_in_encoder
        self.image_size_px: int = config.image_size
        self.device = model.device
        with torch.inference_mode():
            self._places = model.get_image_wide_positional_embeddings()
            shape = torch.Size((1, model.mem_dim, *model.backbone_feature_sizes[-1]))
            places = model.memory_encoder.position_encoding(shape, model.device, model.dtype)
            self._memory_places = places.flatten(2).permute(2, 0, 1)

    def encode(self, pixels: Tensor) -> list[FrameFeatures]:
        """See `Network.encode`."""
        found = self._model.get_image_features(pixels.to(self._model.dtype), return_dict=True)
        levels, positions = found.fpn_hidden_states, found.fpn_position_encoding
        return [
            FrameFeatures(levels=tuple(level[:, n : n + 1] for level in levels), position=positions[-1][:, n : n + 1])
            for n in range(len(pixels))
        ]

    def look(self, features: FrameFeatures, wanted: Sequence[Wanted], *, at: Moment) -> list[Seen]:
        """See `Network.look`."""
        banks = [one.bank for one in wanted]
        boxes = [one.box for one in wanted if one.box is not None]
        *fine, coarse = (
            self._as_maps(level.expand(-1, len(wanted), -1), size)
            for level, size in zip(features.levels, self._model.backbone_feature_sizes, strict=True)
        )
        looked_at = self._with_memories(features, banks, at) if banks[0].prompted else self._without_memories(coarse)
        logits, token, score = self._decoded(looked_at, fine, boxes)
        is_present = score > 0
        logits = torch.where(is_present[:, :, None, None], logits, ABSENT_LOGIT)
        pointer = torch.where(is_present, self._model.object_pointer_proj(token), self._model.no_object_pointer)
        memory = self._memory(coarse, logits, is_present, is_prompted=bool(boxes))
        return [
            Seen(logits=logit[0].float(), score=one[0].float(), memory=Memory(features=left, pointer=as_such))
            for logit, one, left, as_such in zip(logits, score, memory, pointer, strict=True)
        ]

    def _as_maps(self, tokens: Tensor, size: Sequence[int]) -> Tensor:
        """[N, C, h, w] from [L, N, C]."""
        return tokens.permute(1, 2, 0).unflatten(2, tuple(size))

    def _without_memories(self, coarse: Tensor) -> Tensor:
        return coarse + self._model.no_memory_embedding.view(1, -1, 1, 1)

    def _with_memories(self, features: FrameFeatures, banks: Sequence[Bank], at: Moment) -> Tensor:
        """The frame [N, C, h, w] as seen by each object that remembers itself."""
        memories, places = self._mask_memories(banks, at)
        pointers, times = self._pointers(banks, at)
        num_objects = len(banks)
        attended = self._model.memory_attention(
            features.levels[-1].expand(-1, num_objects, -1),
            torch.cat([*memories, pointers]),
            features.position.expand(-1, num_objects, -1),
            torch.cat([*places, times]),
            num_object_pointer_tokens=len(pointers),
        )
        return self._as_maps(attended.squeeze(0).transpose(0, 1), self._model.backbone_feature_sizes[-1])

    def _mask_memories(self, banks: Sequence[Bank], at: Moment) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens [h * w, N, M] of the prompted frames and of those just passed, each with its place and time."""
        looked_at = [(0, [bank.prompted[frame] for bank in banks]) for frame in banks[0].prompted]
        for offset in range(self._num_mask_memories - 1, 0, -1):
            if (frame := at.behind(offset)) in banks[0].tracked:
                looked_at.append((offset, [bank.tracked[frame] for bank in banks]))
        tokens, places = [], []
        for offset, memories in looked_at:
            features = torch.stack([one.features for one in memories])
            tokens.append(features.flatten(2).permute(2, 0, 1).to(self._model.dtype))
            # Row -1 is for prompted frames, whenever they were.
            time = self._model.memory_temporal_positional_encoding[offset - 1]
            places.append((self._memory_places + time).expand(-1, len(banks), -1))
        return tokens, places

    def _pointers(self, banks: Sequence[Bank], at: Moment) -> tuple[Tensor, Tensor]:
        """Tokens [P, N, M] of the objects as such on frames already passed, each with its distance in time."""
        num_pointers = min(at.num_frames, self.num_pointers)
        sign = -1 if at.is_backward else 1
        offsets = [((at.frame - frame) * sign, frame) for frame in banks[0].prompted]
        looked_at = [
            (offset, [bank.prompted[frame].pointer for bank in banks]) for offset, frame in offsets if offset >= 0
        ]
        for offset in range(1, num_pointers):
            if (frame := at.behind(offset)) in banks[0].tracked:
                looked_at.append((offset, [bank.tracked[frame].pointer for bank in banks]))
        if not looked_at:
            empty = self._memory_places.new_zeros(0, len(banks), self._model.mem_dim)
            return empty, empty
        pointers = torch.stack([torch.stack(of_object) for _, of_object in looked_at])
        # Made on the GPU from a list, they would wait for all that it has still to do, on every frame.
        distances = to_device(torch.tensor([offset for offset, _ in looked_at], dtype=torch.float32), self.device)
        waves = _sine_encoding(distances / (num_pointers - 1), num_channels=self._model.hidden_dim)
        times = self._model.temporal_positional_encoding_projection_layer(waves.to(pointers.dtype))
        times = times[:, None].expand(-1, len(banks), -1)
        # A pointer has more channels than a memory: it is cut into several tokens.
        num_cuts = self._model.hidden_dim // self._model.mem_dim
        cut = pointers.unflatten(2, (num_cuts, self._model.mem_dim)).permute(0, 2, 1, 3).flatten(0, 1)
        return cut, times.repeat_interleave(num_cuts, dim=0)

    def _decoded(self, looked_at: Tensor, fine: list[Tensor], boxes: Sequence[Sequence[float]]) -> tuple[Tensor, ...]:
        """Logits [N, 1, 4h, 4w], output token [N, C] and score [N, 1] of each object."""
        num_objects = len(looked_at)
        if boxes:
            points = torch.tensor(boxes, device=self.device, dtype=torch.float32).view(num_objects, 1, 2, 2)
            labels = torch.tensor([2, 3], device=self.device, dtype=torch.int32).expand(num_objects, 1, 2)
        else:
            points = torch.zeros(num_objects, 1, 1, 2, device=self.device)
            labels = torch.full((num_objects, 1, 1), -1, device=self.device, dtype=torch.int32)
        sparse, dense = self._model.prompt_encoder(points, labels, None, None)
        masks, ious, tokens, score = self._model.mask_decoder(
            image_embeddings=looked_at,
            image_positional_embeddings=self._places.expand(num_objects, -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            # Without a box it is open which of whole, part and part of a part is meant: the best of three is taken.
            multimask_output=not boxes,
            high_resolution_features=fine,
        )
        rows, best = torch.arange(num_objects, device=self.device), ious[:, 0].argmax(dim=-1)
        return masks[rows, :, best], tokens[rows, 0, best], score[:, 0]

    def _memory(self, coarse: Tensor, logits: Tensor, is_present: Tensor, *, is_prompted: bool) -> Tensor:
        """bfloat16 [N, M, h, w]: what each object leaves behind on this frame."""
        config = self._model.config
        size = (self.image_size_px, self.image_size_px)
        full = functional.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False).to(coarse.dtype)
        mask = (full > 0).to(coarse.dtype) if is_prompted else full.sigmoid()
        mask = mask * config.sigmoid_scale_for_mem_enc + config.sigmoid_bias_for_mem_enc
        memory, _ = self._model.memory_encoder(coarse, mask)
        hidden = torch.where(is_present, 0.0, self._model.occlusion_spatial_embedding_parameter)
        # In float32 too, as the reference does.
        return (memory + hidden[:, :, None, None]).to(torch.bfloat16)


def _sine_encoding(at: Tensor, *, num_channels: int) -> Tensor:
    """float32 [P, num_channels] of numbers [P], as in Vaswani et al. 2017."""
    half = num_channels // 2
    exponents = 2 * (torch.arange(half, device=at.device, dtype=torch.float32) // 2) / half
    angles = at[:, None] / 10000**exponents
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
