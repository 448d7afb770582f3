"""The prompts of the stage caption, of the package or a user's own, read and checked where a build is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vpdata.errors import ConfigError
from vpdata.models.prompts import fields_of, open_prompt, prompt_name

CAPTIONER_PROMPTS = ("clip_prompt", "track_prompt")
REWRITER_PROMPTS = ("rewrite_clip_prompt", "rewrite_track_prompt")
_SEEN, _READ = ("num_frames", "duration_s"), ("caption", "facts", "label")
_FIELDS: Mapping[str, Sequence[str]] = {
    "clip_prompt": _SEEN,
    "track_prompt": (*_SEEN, "label"),
    "rewrite_clip_prompt": _READ,
    "rewrite_track_prompt": _READ,
}
"""What is filled in, by setting."""


def read_prompts(sources: Mapping[str, str]) -> dict[str, str]:
    """The texts by the names that a run calls them by, of the prompts of some settings.

    ConfigError for a text that is not to be had, that has other fields than its setting fills in, or that would have a
    rewriter, which sees nothing, write without the caption; and for two texts of one name.
    """
    texts: dict[str, str] = {}
    for setting, source in sources.items():
        try:
            text = open_prompt(source)
        except ConfigError as error:
            raise ConfigError(f"caption.{setting}: {error}") from error
        _check_fields(text, setting=setting, source=source)
        name = prompt_name(source)
        if texts.setdefault(name, text) != text:
            raise ConfigError(f"caption.{setting}: got a second prompt called {name!r}, wanted another name for it")
    return texts


def _check_fields(text: str, *, setting: str, source: str) -> None:
    known = _FIELDS[setting]
    wanted = f"wanted {', '.join(f'{{{one}}}' for one in known)}, and any other brace twice, as {{{{ or }}}}"
    try:
        fields = set(fields_of(text))
    except ValueError as error:
        raise ConfigError(f"caption.{setting}: got {str(error)!r} in {source!r}, {wanted}") from error
    if unknown := sorted(fields - set(known)):
        raise ConfigError(f"caption.{setting}: got the field {{{unknown[0]}}} in {source!r}, {wanted}")
    if setting in REWRITER_PROMPTS and "caption" not in fields:
        raise ConfigError(
            f"caption.{setting}: got no {{caption}} in {source!r}, wanted it, as the model sees nothing else"
        )
