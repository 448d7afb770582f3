"""A whole build from one config: what `vpdata build` and `pipelines/build_vpdata.py` share."""

from __future__ import annotations

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
from vpdata.models.catalogue import opened_by
from vpdata.models.check import choices_in
from vpdata.models.weights import refuse_missing
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
    weights = [one for role, choice in choices_in(config) for one in opened_by(role, choice)]
    if options.dry_run:
        print(plan_text(options.output_uri, source=source, stages=stages, engine=config.engine, kind=options.engine))
        refuse_missing(weights)
        return 0
    summary = build_run(
        options.output_uri,
        source=source,
        stages=stages,
        filter=config.filter,
        engine=config.engine,
        config=to_plain(config),
        weights=weights,
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
