"""The data set card: the `README.md` that lies beside the shards and travels with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from vpdata.dataset import layout
from vpdata.dataset.features import shard_features
from vpdata.dataset.printable import printable
from vpdata.dataset.run import Run
from vpdata.dataset.stats import NO_LICENCE, Stats, collect
from vpdata.records import SCHEMA_VERSION

_MAX_LABELS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaging:
    """In what files a data set lies beside its card."""

    files: Mapping[str, str]
    """Split to the glob that `datasets` is told to load."""
    features: list[dict[str, Any]]
    """What `dataset_info.features` says of them."""
    loading: str
    """Markdown that shows how to load them."""


_LOADING = """\
## How to load it

Run these in this folder. With `vpdata`, local or from a bucket, one ranged read per sample:

```python
import vpdata

for sample in vpdata.open_dataset("."):
    print(sample.id, sample.frames.shape, sample.captions[0].text)  # uint8 [T, H, W, 3] RGB
    for track in sample.tracks:
        print(track.id, track.label, track.caption, track.masks.shape)  # bool [T, H, W]
```

With `webdataset`, which needs nothing of ours:

```python
import glob

import webdataset
from pycocotools import mask

for sample in webdataset.WebDataset(sorted(glob.glob("shards/*.tar")), shardshuffle=False).decode():
    clip, mp4 = sample["json"]["clip"], sample["mp4"]  # the record, and the bytes of the video
    for track in sample["masks.json"]["tracks"]:
        masks = mask.decode(track["masks"])  # uint8 [H, W, T]
```

With `datasets` (decoding the videos needs torchcodec; without it take the bytes):

```python
from pathlib import Path

from datasets import Video, load_dataset

clips = load_dataset(str(Path.cwd()), split="train").cast_column("mp4", Video(decode=False))
print(clips[0]["json"]["captions"], len(clips[0]["mp4"]["bytes"]))
```

The index is Parquet, so any query engine finds clips without opening a shard:

```python
import duckdb

print(duckdb.sql("select id, shard, motion, caption from 'index/*.parquet' where len(tracks) > 1 order by motion"))
```
"""

_LIMITS = """\
## Limits

* Labels, boxes, masks and captions come from the models named above; no person has corrected them.
* Clips are re-encoded (H.264, 4:2:0, short side as configured), so they are not the sources' pixels.
* Scores are comparable inside this run. A score that could not be computed is null, which is not the same as low.
* A licence is what the source list said of its video. Whoever passes this data set on must check each source.
* Look-alike clips were removed by a perceptual hash: the same scene from another angle is not found.
"""


def write_card(run: Run, stats: Stats | None = None) -> None:
    """Write the run's `README.md` from its `run.yaml` and its numbers, counted here where they are not given."""
    run.folder.write(layout.CARD, card_text(run.config(), stats or collect(run)).encode("utf-8"))


def card_text(config: Mapping[str, Any], stats: Stats, *, packaging: Packaging | None = None) -> str:
    """The card in Markdown, with the front matter that `datasets` reads; without `packaging` that of a run's shards.

    `config` is what `run.yaml` says.
    """
    packaging = packaging or Packaging(
        files={"train": f"{layout.SHARDS}/*.tar"}, features=shard_features(), loading=_LOADING
    )
    sections = [
        "\n".join(_head(stats)),
        "\n".join(_funnel(stats)),
        "\n".join(_settings(config)),
        "\n".join(_models(config["models"])),
        packaging.loading.rstrip(),
        "\n".join(_sources(stats)),
        _LIMITS.rstrip(),
    ]
    return _front_matter(packaging) + "\n" + "\n\n".join(sections) + "\n"


def _front_matter(packaging: Packaging) -> str:
    files = [{"split": split, "path": glob} for split, glob in packaging.files.items()]
    content = {
        "license": "other",
        "tags": ["video", "video-inpainting"],
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {"config_name": "default", "features": packaging.features},
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---\n"


def _head(stats: Stats) -> Iterator[str]:
    yield "# Clips, object masks and captions for video inpainting"
    yield ""
    yield "Made by `vpdata`. Each sample is one clip of one shot, with a mask track per object, a caption of the clip"
    yield "and of each object, and the scores by which it was kept."
    yield ""
    rows = [
        ("clips", stats.num_clips),
        ("hours", f"{stats.hours:.3f}"),
        ("object tracks", stats.num_tracks),
        ("source videos", f"{stats.num_videos} of {stats.num_sources} given"),
        ("shards", f"{stats.num_shards}, {stats.num_bytes / 1e6:.1f} MB"),
        ("schema version", SCHEMA_VERSION),
    ]
    yield from _table(("", ""), rows)


def _funnel(stats: Stats) -> Iterator[str]:
    yield "## What was kept and what was dropped"
    yield ""
    rows = []
    for row in stats.funnel:
        dropped = [f"{reason} {count}" for reason, count in row.dropped.items()]
        dropped += [f"{reason} {count} tracks" for reason, count in row.dropped_tracks.items()]
        rows.append((row.stage, row.num_in, row.num_out, ", ".join(dropped) or "-"))
    yield from _table(("stage", "in", "out", "dropped, by reason"), rows)
    yield ""
    yield "`cut` takes videos and gives clips; what it drops are videos and spans of them. All other stages take clips."


def _settings(config: Mapping[str, Any]) -> Iterator[str]:
    yield "## Thresholds and settings"
    yield ""
    yield f"Made with vpdata {_escape(config['vpdata_version'])}. All settings, defaults included:"
    yield ""
    yield "```yaml"
    yield yaml.safe_dump(config["config"], sort_keys=False, allow_unicode=True).rstrip().replace("```", "'''")
    yield "```"


def _models(models: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield "## Models"
    yield ""
    columns = ("role", "name", "revision", "licence", "source")
    yield from _table(columns, [tuple(model[column] for column in columns) for model in models])


def _sources(stats: Stats) -> Iterator[str]:
    yield "## Sources and what is in them"
    yield ""
    yield from _table(("licence of the source", "clips"), list(stats.licences.items()))
    yield ""
    if NO_LICENCE in stats.licences:
        yield f"`{NO_LICENCE}`: the source list said nothing; do not pass these clips on before you have found out."
    yield "Who made each video, and where it came from, are the index's columns `video_attribution` and `video_uri`."
    yield ""
    labels = list(stats.labels.items())
    yield from _table(("label", "tracks"), labels[:_MAX_LABELS])
    if len(labels) > _MAX_LABELS:
        yield ""
        yield f"And {len(labels) - _MAX_LABELS} more labels; `stats.json` has all of them."


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield "|" + " --- |" * len(columns)
    for row in rows:
        yield f"| {' | '.join(map(_escape, row))} |"


def _escape(text: object) -> str:
    """Text from outside as one harmless table cell: no HTML, no Markdown, no second line, no control characters."""
    plain = printable(" ".join(str(text).split()))
    for character, replacement in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;")):
        plain = plain.replace(character, replacement)
    for character in "\\`*[]":
        plain = plain.replace(character, f"\\{character}")
    return plain
