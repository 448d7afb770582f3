"""Answers of paid servers, kept by what was asked, so that no answer is paid twice."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vpdata.errors import StorageError
from vpdata.models.ports import Image
from vpdata.storage import Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server said, and what it counted."""

    text: str
    """Empty where it declined to answer, or said nothing."""
    input_tokens: int
    output_tokens: int
    is_declined: bool = False
    """Whether it said that it will not answer."""


class Answers:
    """A folder with one small file per answer, which any number of workers may share."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def get(self, key: str) -> Answer | None:
        """The answer that was kept under a key; StorageError where its file is damaged."""
        name = _file_name(key)
        if not self._folder.exists(name):
            return None
        try:
            return Answer(**json.loads(self._folder.read(name)))
        except (ValueError, TypeError) as error:
            raise StorageError(
                f"{self._folder.uri}/{name} is no answer ({error}); remove the file to ask again"
            ) from error

    def put(self, key: str, answer: Answer) -> None:
        """Keep an answer; the file appears whole or not at all."""
        self._folder.write(_file_name(key), json.dumps(dataclasses.asdict(answer)).encode())


def question_key(
    *, model: str, revision: str | None, prompt: str, images: Sequence[Image], parameters: Mapping[str, Any]
) -> str:
    """64 hex digits of all that an answer depends on. Pixels count, not how they are compressed for the way.

    `revision`: None where nobody says of which the model is.
    """
    pictures = [[image.shape, hashlib.sha256(image.tobytes()).hexdigest()] for image in images]
    question = {"model": model, "prompt": prompt, "images": pictures, "parameters": parameters}
    if revision is not None:
        question["revision"] = revision
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


def _file_name(key: str) -> str:
    # Folders by the first digits: a million files in one folder would make every look-up slow.
    return f"{key[:3]}/{key[3:]}.json"
