"""What a user would write with the libraries alone: one process, one step after another.

`plain` takes one frame, one object, one text at a time. `batched` gives the libraries batches as large as ours, over
several clips. Both have our precision and our decoder, and their models loaded already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import open_clip
import torch
from PIL import Image as Picture
from safetensors.torch import load_file
from torch.nn.functional import normalize
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    GroundingDinoForObjectDetection,
    GroundingDinoProcessor,
    Sam2VideoModel,
    Sam2VideoProcessor,
    ViTForImageClassification,
    ViTImageProcessor,
)
from transformers.utils.logging import disable_progress_bar

from benchmark.perf.gpu_pipeline import checkpoints
from benchmark.perf.gpu_pipeline.gauge import Gauge, Reading
from benchmark.perf.gpu_pipeline.workload import TrueClip
from vpdata.media.clips import ClipReader
from vpdata.media.masks import decode_mask, encode_mask
from vpdata.models.object_views import alone, outlined
from vpdata.models.prompts import read_prompt
from vpdata.models.text_overlay import TextOverlay, TextOverlaySettings
from vpdata.models.vocabularies import read_vocabulary
from vpdata.stages.caption import largest_views, spread
from vpdata.stages.scoring import key_frames

Row = Literal["plain", "batched"]
Device = Literal["cuda", "cpu"]
Thing = TypeVar("Thing")

CLIPS_AT_ONCE = 4
"""Of `batched`: their 40 key frames and 16 texts fill our batches of 8 and 16."""
_MAX_TAGS = 10


def measure(
    name: str,
    row: Row,
    clips: Sequence[TrueClip],
    *,
    weights: Path,
    device: Device,
    num_tokens: int,
    batch_size: int,
    gpu: str | None,
) -> Reading | None:
    """Run one step on all clips after it has run on one; None where the GPU's memory does not hold a batch."""
    disable_progress_bar()
    num_at_once, batch_size = (1, 1) if row == "plain" else (CLIPS_AT_ONCE, batch_size)
    with torch.inference_mode():
        step = _step(name, weights=weights, device=device, num_tokens=num_tokens, batch_size=batch_size)
        try:
            step(clips[:1])
            with Gauge(gpu=gpu) as gauge:
                for group in _chunks(clips, num_at_once):
                    step(group)
        except torch.OutOfMemoryError:
            return None
    return gauge.reading


def _step(
    name: str, *, weights: Path, device: Device, num_tokens: int, batch_size: int
) -> Callable[[Sequence[TrueClip]], None]:
    if name == "detect":
        return _Detection(weights, device, batch_size=batch_size)
    if name == "track":
        return _Tracking(weights, device, is_together=batch_size > 1)
    return _Captioning(weights, device, num_tokens=num_tokens, batch_size=batch_size)


class _Clip:
    """CLIP by open_clip."""

    def __init__(self, weights: Path, device: Device) -> None:
        self._device, self._dtype = device, _dtype(device)
        name = f"local-dir:{weights / checkpoints.CLIP}"
        precision = "fp32" if device == "cpu" else "bf16"
        model, _, self._transform = open_clip.create_model_and_transforms(name, precision=precision, device=device)
        self._model: Any = model.eval()
        self._tokenizer: Any = open_clip.get_tokenizer(name)

    def images(self, images: Sequence[np.ndarray], *, batch_size: int) -> torch.Tensor:
        found = []
        for batch in _chunks(images, batch_size):
            pixels = torch.stack([self._transform(Picture.fromarray(image)) for image in batch])  # type: ignore[operator]
            found.append(self._model.encode_image(pixels.to(self._device, self._dtype)))
        return normalize(torch.cat(found).float(), dim=-1)

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        found = [self._model.encode_text(self._tokenizer(list(some)).to(self._device)) for some in _chunks(texts, 256)]
        return normalize(torch.cat(found).float(), dim=-1)


class _Detection:
    """Tags, boxes, scores and an embedding from one key frame a second."""

    def __init__(self, weights: Path, device: Device, *, batch_size: int) -> None:
        self._device, self._batch_size = device, batch_size
        self._clip = _Clip(weights, device)
        self._names = read_vocabulary("lvis")
        self._name_vectors = self._clip.texts([f"a photo of a {name}." for name in self._names])
        head = load_file(weights / checkpoints.HEAD / "model.safetensors")
        self._head = head["weight"].to(device)
        self._overlay = TextOverlay(TextOverlaySettings())
        self._pictures: Any = ViTImageProcessor.from_pretrained(weights / checkpoints.CLASSIFIER)
        classifier: Any = ViTForImageClassification.from_pretrained(weights / checkpoints.CLASSIFIER)
        self._classifier: Any = classifier.to(device, _dtype(device)).eval()
        folder = weights / checkpoints.DETECTOR
        self._processor: Any = GroundingDinoProcessor.from_pretrained(folder)
        self._model: Any = GroundingDinoForObjectDetection.from_pretrained(folder).to(device).eval()  # type: ignore[arg-type]

    def __call__(self, clips: Sequence[TrueClip]) -> None:
        images, labels = [], []
        for clip in clips:
            reader = ClipReader(clip.media)
            seen = reader.read(key_frames(reader.num_frames, fps=float(reader.fps), interval_s=1.0))
            vectors = self._clip.images(list(seen), batch_size=self._batch_size)
            tags = (vectors @ self._name_vectors.T).amax(dim=0).topk(_MAX_TAGS).indices.tolist()
            images += list(seen)
            labels += [[self._names[tag] for tag in tags]] * len(seen)
            self._scores(seen, vectors)
        pairs = list(zip(images, labels, strict=True))
        for batch in _chunks(pairs, self._batch_size):
            self._boxes([image for image, _ in batch], [names for _, names in batch])

    def _scores(self, seen: np.ndarray, vectors: torch.Tensor) -> None:
        (vectors @ self._head.T).mean().item()
        for batch in _chunks(list(seen), self._batch_size):
            pixels = self._pictures(list(batch), return_tensors="pt")["pixel_values"]
            logits = self._classifier(pixels.to(self._device, self._classifier.dtype)).logits
            logits.softmax(dim=-1)[:, 1].max().item()
        self._overlay.score(seen[::2], fps=0.5)
        vectors.mean(dim=0).cpu()

    def _boxes(self, images: list[np.ndarray], labels: list[list[str]]) -> None:
        inputs = self._processor(images=images, text=labels, padding=True, return_tensors="pt").to(self._device)
        with torch.autocast(self._device, torch.bfloat16, enabled=self._device == "cuda"):
            outputs = self._model(**inputs)
        sizes = [image.shape[:2] for image in images]
        self._processor.post_process_grounded_object_detection(outputs, threshold=1.0, target_sizes=sizes)


class _Tracking:
    """Masks on every frame from a box on one, forward and backward, as run lengths."""

    def __init__(self, weights: Path, device: Device, *, is_together: bool) -> None:
        self._device, self._dtype, self._is_together = device, _dtype(device), is_together
        folder = weights / checkpoints.TRACKER
        self._processor: Any = Sam2VideoProcessor.from_pretrained(folder)
        self._model: Any = Sam2VideoModel.from_pretrained(folder, dtype=self._dtype).to(device).eval()  # type: ignore[arg-type]

    def __call__(self, clips: Sequence[TrueClip]) -> None:
        for clip in clips:
            frames = ClipReader(clip.media).read()
            boxes = [list(one.box) for one in clip.detections]
            for together in [boxes] if self._is_together else [[box] for box in boxes]:
                self._follow(frames, together, prompted=clip.detections[0].frame)

    def _follow(self, frames: np.ndarray, boxes: list[list[float]], *, prompted: int) -> None:
        session = self._processor.init_video_session(video=frames, inference_device=self._device, dtype=self._dtype)
        numbers = list(range(len(boxes)))
        self._processor.add_inputs_to_inference_session(session, prompted, numbers, input_boxes=[boxes])
        self._model(session, frame_idx=prompted)
        for is_backward in (False, True):
            for found in self._model.propagate_in_video_iterator(
                session, start_frame_idx=prompted, reverse=is_backward
            ):
                (masks,) = self._processor.post_process_masks([found.pred_masks], [frames.shape[1:3]])
                for mask in masks[:, 0].cpu().numpy():
                    encode_mask(mask)


class _Captioning:
    """A caption of the clip from 8 frames, a description of each object from 6 frames and 6 cut-outs."""

    def __init__(self, weights: Path, device: Device, *, num_tokens: int, batch_size: int) -> None:
        self._num_tokens, self._batch_size = num_tokens, batch_size
        folder = weights / checkpoints.CAPTIONER
        self._processor: Any = AutoProcessor.from_pretrained(folder, padding_side="left")
        dtype = _dtype(device)
        self._model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).to(device).eval()  # type: ignore[arg-type]
        self._clip = _Clip(weights, device)

    def __call__(self, clips: Sequence[TrueClip]) -> None:
        texts: list[str] = []
        for batch in _chunks([question for clip in clips for question in _questions(clip)], self._batch_size):
            texts += self._answers(batch)
        per_clip = len(texts) // len(clips)
        for clip, text in zip(clips, texts[::per_clip], strict=True):
            reader = ClipReader(clip.media)
            seen = reader.read(spread(range(reader.num_frames), num=8))
            (self._clip.images(list(seen), batch_size=self._batch_size) @ self._clip.texts([text]).T).mean().item()

    def _answers(self, questions: Sequence[tuple[list[np.ndarray], str]]) -> list[str]:
        conversations = [
            [
                {
                    "role": "user",
                    "content": [
                        *({"type": "image", "image": Picture.fromarray(image)} for image in images),
                        {"type": "text", "text": prompt},
                    ],
                }
            ]
            for images, prompt in questions
        ]
        inputs = self._processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self._model.device)
        length: Mapping[str, int] = {"min_new_tokens": self._num_tokens, "max_new_tokens": self._num_tokens}
        tokens = self._model.generate(**inputs, **length, do_sample=False)[:, inputs["input_ids"].shape[1] :]
        if tokens.shape[1] != self._num_tokens:
            raise RuntimeError(f"got texts of {tokens.shape[1]} tokens, wanted {self._num_tokens}")
        return self._processor.batch_decode(tokens, skip_special_tokens=True)


def _questions(clip: TrueClip) -> Iterator[tuple[list[np.ndarray], str]]:
    """The pictures and the prompt of each text: the same as ours."""
    reader = ClipReader(clip.media)
    words = {"duration_s": f"{clip.record.clip.duration_s:.1f}"}
    frames = spread(range(reader.num_frames), num=8)
    yield list(reader.read(frames)), read_prompt("dense_clip").format(num_frames=len(frames), label="", **words)
    size = {"height_px": clip.record.clip.height_px, "width_px": clip.record.clip.width_px}
    for track in clip.tracks:
        frames = largest_views(track, num=6)
        pairs = [
            (image, decode_mask(track.masks[frame], **size))
            for frame, image in zip(frames, reader.read(frames), strict=True)
        ]
        images = [*(outlined(*pair) for pair in pairs), *(alone(*pair) for pair in pairs)]
        yield images, read_prompt("masked_object").format(num_frames=len(frames), label=track.label, **words)


def _dtype(device: Device) -> torch.dtype:
    return torch.float32 if device == "cpu" else torch.bfloat16


def _chunks(things: Sequence[Thing], size: int) -> Iterator[Sequence[Thing]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]
