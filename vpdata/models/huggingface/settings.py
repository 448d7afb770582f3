"""Options of the models that run through transformers, and what a run says about each; imports no model library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vpdata.models.huggingface.boxes import BoxLimits
from vpdata.models.ports import ModelCard
from vpdata.models.prompts import read_prompt
from vpdata.models.torch_settings import Dtype, FetchedSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundingDinoSettings(FetchedSettings):
    """Options of `GroundingDino`."""

    weights: str = "IDEA-Research/grounding-dino-base"
    dtype: Dtype = "bfloat16"
    """Of the matrix products; weights and boxes stay float32."""
    batch_size: int = 8
    """Pairs of a key frame and a prompt in one forward pass."""
    min_score: float = 0.3
    """Probability in [0, 1] of a label's best word; boxes below are dropped."""
    limits: BoxLimits = field(default_factory=BoxLimits)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size: got {self.batch_size}, wanted at least 1")
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score: got {self.min_score}, wanted a number from 0 to 1")

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        return self.weights_card(role, name="grounding-dino", package="transformers", options=self.asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class NsfwSettings(FetchedSettings):
    """Options of `NsfwClassifier`."""

    weights: str = "Falconsai/nsfw_image_detection"
    """A ViT for the classification of images."""
    dtype: Dtype = "bfloat16"
    sample_fps: float = 1.0
    """Frames per second that are looked at."""
    batch_size: int = 32
    """Frames in one forward pass."""
    unsafe_labels: tuple[str, ...] = ("nsfw",)
    """Of the classifier's labels those that are unsafe."""

    def __post_init__(self) -> None:
        if self.sample_fps <= 0:
            raise ValueError(f"sample_fps: got {self.sample_fps}, wanted more than 0")
        if self.batch_size < 1:
            raise ValueError(f"batch_size: got {self.batch_size}, wanted at least 1")
        if not self.unsafe_labels:
            raise ValueError("unsafe_labels: got none, wanted one or more of the classifier's labels")

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        return self.weights_card(role, name="nsfw", package="transformers", options=self.asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owlv2Settings(FetchedSettings):
    """Options of `Owlv2`."""

    weights: str = "google/owlv2-large-patch14-ensemble"
    dtype: Dtype = "bfloat16"
    """Of the matrix products in the two towers; weights and heads stay float32."""
    batch_size: int = 8
    """Key frames in one forward pass."""
    template: str = "a photo of a {}"
    """What is asked for each label, which takes the place of the braces."""
    min_score: float = 0.2
    """Probability in [0, 1] of a box's label; weaker boxes are dropped. OWLv2's scores are low: 0.2 is a sure find."""
    limits: BoxLimits = field(default_factory=BoxLimits)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size: got {self.batch_size}, wanted at least 1")
        if self.template.count("{}") != 1:
            raise ValueError(f"template: got {self.template!r}, wanted a text with one {{}} for the label")
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score: got {self.min_score}, wanted a number from 0 to 1")

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        return self.weights_card(role, name="owlv2", package="transformers", options=self.asked)


_TEMPLATE_ARGUMENTS = {
    *("conversation", "chat_template", "tools", "documents", "add_generation_prompt", "continue_final_message"),
    *("return_assistant_tokens_mask", "tokenize", "return_tensors", "return_dict", "load_audio_from_video"),
    *("processor_kwargs", "sanitize_control_tokens", "messages"),
}
"""Of transformers' `apply_chat_template` itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmSettings(FetchedSettings):
    """Which model, and how it answers: always by its likeliest words (greedy), so that equal input gives equal text."""

    weights: str = "Qwen/Qwen3-VL-8B-Instruct"
    """Hub id or folder of a checkpoint of the kind "image-text-to-text"."""
    dtype: Dtype = "bfloat16"
    max_new_tokens: int = 512
    """Longest answer."""
    batch_size: int = 16
    """Answers generated at once; of several batches in one call, one is made ready while another is generated."""
    template_options: Mapping[str, Any] = field(default_factory=dict)
    """For the model's own chat template, such as `{enable_thinking: false}` for one that reasons unless it is told."""

    def __post_init__(self) -> None:
        if taken := sorted(_TEMPLATE_ARGUMENTS & self.template_options.keys()):
            raise ValueError(f"template_options: got {', '.join(taken)}, which are not free to choose")
        for name in ("max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted at least 1")

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        return self._card(role, {})

    def _card(self, role: str, asked: Mapping[str, object]) -> ModelCard:
        name = f"vlm {self.weights_name.rpartition('/')[2]}"
        names = ("dtype", "max_new_tokens", "batch_size")
        options = {**{name: getattr(self, name) for name in names}, **asked}
        if self.template_options:
            options["template_options"] = dict(self.template_options)
        return self.weights_card(role, name=name, package="transformers", options=options)


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmTaggerSettings(VlmSettings):
    """As `VlmSettings`, and what a clip's tags are made from."""

    max_new_tokens: int = 128
    prompt: str = "main_objects"
    """Name of a file in `vpdata/models/prompts/` that asks for a JSON list."""
    num_images: int = 4
    """Key frames shown, spread evenly from the first to the last."""
    max_short_side_px: int = 480
    """Frames are shown scaled down to this short side."""
    max_labels: int = 12

    def __post_init__(self) -> None:
        VlmSettings.__post_init__(self)
        for name in ("num_images", "max_short_side_px", "max_labels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted at least 1")

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        names = ("prompt", "num_images", "max_short_side_px", "max_labels")
        asked = {name: getattr(self, name) for name in names}
        return self._card(role, asked | {"prompt_text": read_prompt(self.prompt)})
