"""The config of a run's build: from a file of the user's, or from the run, which may be anybody's.

A run chooses neither what code is imported here, nor which servers are asked, with which keys of this machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vpdata.build import BuildConfig
from vpdata.config import fill, read_yaml
from vpdata.dataset.run import Run
from vpdata.errors import ConfigError
from vpdata.models.own import is_own

_IF_TRUSTED = (
    "a run may be somebody else's; if you trust it, give its run.yaml, or the config that it was built with, as "
    "--build-config"
)


def build_config(run: Run, path: str | None) -> BuildConfig | None:
    """Of a file, a config or a `run.yaml`, or as the run keeps it; None for a run that was imported.

    ConfigError where the run names a model outside of this package.
    """
    kept = run.config()["config"]
    if path:
        given = read_yaml(path)
        kept = given["config"] if "vpdata_version" in given else given
    if "import" in kept:
        return None
    if path:
        return fill(BuildConfig, kept, where=path)
    if own := sorted(set(_own_names(kept))):
        raise ConfigError(f"run.yaml names {', '.join(own)}, code that is not vpdata's, and {_IF_TRUSTED}")
    return fill(BuildConfig, kept, where="run.yaml: config")


def refuse_reach(kept: BuildConfig, *, writes_words: bool, cuts_again: bool) -> None:
    """ConfigError where a config that the run keeps would have this machine ask servers, or open what is not public.

    `writes_words`: its captioner is asked; `cuts_again`: the sources are opened, and all its stages run.
    """
    caption, source = kept.caption, kept.source
    asked = [caption.captioner] if writes_words or cuts_again else []
    asked += [caption.rewriter] if cuts_again and caption.rewriter else []
    for choice in asked:
        if choice.name == "openai":
            own = "" if cuts_again else "; or name a captioner of your own as `captioner` in the benchmark's settings"
            raise ConfigError(f"run.yaml names the server {choice.options.get('base_url')}, and {_IF_TRUSTED}{own}")
    permissions = ("allow_private_hosts", "allow_outside_links", "credentials")
    if cuts_again and (granted := [name for name in permissions if getattr(source, name)]):
        raise ConfigError(f"run.yaml sets source.{', source.'.join(granted)}, and {_IF_TRUSTED}")


def _own_names(kept: object) -> Iterator[str]:
    """The models outside of this package that a config names, wherever; what their options say names none."""
    if isinstance(kept, Mapping):
        name = kept.get("name")
        if isinstance(name, str) and is_own(name):
            yield name
        kept = [value for key, value in kept.items() if key != "options"]
    if isinstance(kept, list):
        for one in kept:
            yield from _own_names(one)
