"""A whole build from one config: what `vpdata build` and `pipelines/build_vpdata.py` share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vpdata import config as configs
from vpdata.config import to_plain
from vpdata.dataset.card import write_card
from vpdata.dataset.run import Run
from vpdata.dataset.stats import write_stats
from vpdata.engine import EngineSettings, build_run, plan_text
from vpdata.engine.preflight import refuse_relative
from vpdata.errors import BackendError
from vpdata.models.catalogue import weights_of
from vpdata.models.check import choices_in
from vpdata.models.weights import VARIABLE, read_lock
from vpdata.options import BuildOptions
from vpdata.report import ReportSettings, write_report
from vpdata.sources import Input, SourceSettings
from vpdata.stages.base import Stage
from vpdata.stages.caption import CaptionSettings
from vpdata.stages.cut import CutSettings
from vpdata.stages.detect import DetectSettings
from vpdata.stages.rules import FilterSettings
from vpdata.stages.track import TrackSettings
from vpdata.storage import Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """One YAML file in `configs/`: a section per module, each with its owner's settings."""

    source: SourceSettings = field(default_factory=SourceSettings)
    cut: CutSettings = field(default_factory=CutSettings)
    detect: DetectSettings = field(default_factory=DetectSettings)
    track: TrackSettings = field(default_factory=TrackSettings)
    caption: CaptionSettings = field(default_factory=CaptionSettings)
    filter: FilterSettings = field(default_factory=FilterSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    report: ReportSettings = field(default_factory=ReportSettings)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> BuildConfig:
    """The settings in a YAML file with `--set` overrides applied."""
    return configs.fill(BuildConfig, configs.with_overrides(configs.read_yaml(path), overrides))


def stages_of(config: BuildConfig) -> tuple[Stage, ...]:
    """The five stages in order."""
    from vpdata.stages import STAGES

    return tuple(stage(getattr(config, stage.name)) for stage in STAGES)


def run(options: BuildOptions, config: BuildConfig, stages: Sequence[Stage]) -> int:
    """Build, then write statistics, card and report. 0 when the run is complete, however many items were rejected."""
    refuse_relative(options.input_uri, num_nodes=1)
    source = Input(options.input_uri, config.source)
    if options.dry_run:
        print(plan_text(options.output_uri, source=source, stages=stages, engine=config.engine, kind=options.engine))
        return 0
    refuse_missing_weights(config)
    summary = build_run(
        options.output_uri,
        source=source,
        stages=stages,
        filter=config.filter,
        engine=config.engine,
        config=to_plain(config),
        kind=options.engine,
        redo=options.redo,
        add_sources=options.add_sources,
        retry_rejects=options.retry_rejects,
    )
    folder = Folder(options.output_uri)
    write_stats(Run(folder))
    write_card(Run(folder))
    write_report(folder, config.report)
    print(summary)
    return 0


def refuse_missing_weights(config: BuildConfig) -> None:
    """BackendError with the command that fetches what is not there: a late stage must not find out after days."""
    root = os.environ.get(VARIABLE)
    wanted = dict(pair for role, choice in choices_in(config) for pair in weights_of(role, choice))
    missing = [name for name in wanted if not root or read_lock(Folder(root).child(name)) is None]
    if missing:
        place = root or "FOLDER_OR_URI"
        names = " ".join(f"{name}@{wanted[name]}" if wanted[name] else name for name in missing)
        raise BackendError(
            f"got no weights of {', '.join(missing)} {f'in {root}' if root else f'since {VARIABLE} is not set'}. "
            f"Fetch them once to a place that every node can read, and name it on every node:\n"
            f"  vpdata models fetch {names} --to {place}\n"
            f"  export {VARIABLE}={place}"
        )
