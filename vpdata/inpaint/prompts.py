"""Which words hold for which window, and their embeddings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from vpdata.backbones.text_encoder import TextEncoder, pad_text
from vpdata.errors import ConfigError
from vpdata.inpaint.diffusion import Prompts
from vpdata.inpaint.windows import Window

_log = logging.getLogger(__name__)

PromptsByFrame = Mapping[int, str]
"""A prompt from each of these frames on, until the next."""


def by_frame(prompt: str | PromptsByFrame) -> dict[int, str]:
    """In the order of frames; one text holds from frame 0. ConfigError where frame 0 has none."""
    texts = {0: prompt} if isinstance(prompt, str) else dict(sorted(prompt.items()))
    if min(texts, default=None) != 0:
        raise ConfigError(f"got prompts from frames {sorted(texts)}, wanted one that holds from frame 0 on")
    return texts


def prompt_of(window: Window, texts: PromptsByFrame) -> str:
    """The prompt that holds in the middle of what the window makes anew."""
    return texts[_frame_of(window, texts)]


def _middle(window: Window) -> int:
    return (window.start + window.num_shared + window.stop - 1) // 2


def _frame_of(window: Window, texts: PromptsByFrame) -> int:
    """From which on the window's prompt holds."""
    return max(frame for frame in texts if frame <= _middle(window))


def check_frames(texts: PromptsByFrame, num_frames: int) -> None:
    """ConfigError for a prompt that begins after the video's end."""
    if late := [frame for frame in texts if frame >= num_frames]:
        raise ConfigError(f"got a prompt from frame {min(late)} on, but the video's frames are 0 to {num_frames - 1}")


def warn_of_unused(texts: PromptsByFrame, windows: Sequence[Window]) -> None:
    """Say which prompts hold in no window: a window has one."""
    used = {_frame_of(window, texts) for window in windows}
    middles = [str(_middle(window)) for window in windows]
    listed = ", ".join([*middles[:10], *(["..."] if len(middles) > 10 else [])])
    for frame in sorted(texts.keys() - used):
        _log.warning(
            "the prompt from frame %d on is not used: a window has one prompt, that of the middle of what it makes "
            "anew, and the middles are the frames %s",
            *(frame, listed),
        )


class PromptEmbedder:
    """Embeds each text of a video once, and keeps it for the next; the text encoder is loaded by the first."""

    def __init__(self, load: Callable[[], TextEncoder], *, device: torch.device) -> None:
        """`device`: where the embeddings are wanted."""
        self._load = load
        self._device = device
        self._encoder: TextEncoder | None = None
        self._embedded: dict[str, Tensor] = {}

    def prompts(self, texts: PromptsByFrame, *, negative: str = "") -> Prompts:
        """The embedded prompts of a video, and of what guidance leads away from."""
        embedded = {text: self._embed(text) for text in dict.fromkeys([*texts.values(), negative])}
        # A server that is asked for many videos would keep every text of them on the GPU.
        self._embedded = embedded
        return Prompts(of_window=lambda window: embedded[prompt_of(window, texts)], empty=embedded[negative])

    def _embed(self, text: str) -> Tensor:
        """`[1, text_length, text_dim]`"""
        if text not in self._embedded:
            self._encoder = self._encoder or self._load()
            if num_lost := self._encoder.num_lost(text):
                _log.warning("the prompt is cut: %d tokens at its end are more than the text encoder takes", num_lost)
            (embedding,) = self._encoder.encode([text])
            padded = pad_text([embedding], length=self._encoder.spec.text_length)
            self._embedded[text] = padded.to(self._device)
        return self._embedded[text]
