"""A whole build from one config: what `vpdata build` and `pipelines/build_vpdata.py` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from vpdata import config as configs
from vpdata.config import to_plain
from vpdata.dataset.card import write_card
from vpdata.dataset.layout import STAGE_NAMES
from vpdata.dataset.run import Run
from vpdata.dataset.stats import write_stats
from vpdata.engine import EngineSettings, build_run, plan_text
from vpdata.engine.preflight import refuse_relative, refuse_relative_weights
from vpdata.errors import BackendError, ConfigError, VpdataError
from vpdata.models import scores_of, settings_of
from vpdata.models.catalogue import opened_by
from vpdata.models.check import choices_in, named_choices
from vpdata.models.openai_server import ServerSettings, api_key
from vpdata.models.weights import refuse_missing
from vpdata.options import BuildOptions
from vpdata.records import ScoreName
from vpdata.report import ReportSettings, write_report
from vpdata.sources import Input, SourceSettings
from vpdata.stages.base import Resources, Stage
from vpdata.stages.caption import TEXT_SCORES, CaptionSettings
from vpdata.stages.cut import CutSettings
from vpdata.stages.detect import DetectSettings
from vpdata.stages.rules import RULES, FilterSettings
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
    """Build, then write statistics, card and report. 0 when the run is complete, however many items were rejected.

    `stages` are the five that `stages_of` gives, or others of the same names; ConfigError for others.
    """
    if [stage.name for stage in stages] != list(STAGE_NAMES):
        got = ", ".join(stage.name for stage in stages)
        raise ConfigError(f"got the stages {got}, wanted {', '.join(STAGE_NAMES)}: a run has these five, in this order")
    refuse_relative(options.input_uri, num_nodes=1)
    source = Input(options.input_uri, config.source)
    weights = [one for role, choice in choices_in(config) for one in opened_by(role, choice)]
    if options.engine == "ray":
        refuse_relative_weights(weights, num_nodes=1)

    def show_plan() -> None:
        text = plan_text(
            options.output_uri,
            source=source,
            stages=stages,
            engine=config.engine,
            kind=options.engine,
            redo=options.redo,
            add_sources=options.add_sources,
            retry_rejects=options.retry_rejects,
        )
        print(text)

    checks = (lambda: refuse_unready(config), lambda: refuse_missing(weights))
    if options.dry_run:
        _raise_all(show_plan, *checks)
        return 0
    _raise_all(*checks)
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
    stats = write_stats(Run(folder))
    write_card(Run(folder), stats)
    page = write_report(folder, config.report, stats=stats)
    print(summary)
    if summary.num_clips and (dropped := stats.dropped):
        print(f"dropped: {', '.join(f'{reason} {count}' for reason, count in dropped.items())}")
    print(f"look at {folder.uri}/{page}; `vpdata stats {folder.uri} --rejects` tells of each that was dropped")
    return 0


def refuse_unready(config: BuildConfig) -> None:
    """ConfigError for what a worker would stop at hours later: a GPU that it is not shown, no key, an unmeasured score.

    Looks at this machine alone, and imports no torch.
    """
    wrong = [*_unmeasured(config)]
    for setting, role, choice in named_choices(config):
        stage, settings = setting.partition(".")[0], settings_of(role, choice)
        if getattr(settings, "device", None) == "cuda" and (fault := _no_cuda(getattr(config, stage).resources)):
            key = f"in {setting} the option " if setting.endswith("]") else f"--set {setting}.options."
            wrong.append(f"{setting}: got device 'cuda' for {choice.name}, but {fault}; give {key}device=cpu")
        if isinstance(settings, ServerSettings):
            try:
                api_key(settings.api_key_env)
            except BackendError as error:
                wrong.append(f"{setting}: {error}; set it on every node")
    if wrong:
        raise ConfigError("\n".join(wrong))


def _unmeasured(config: BuildConfig) -> Iterator[str]:
    """What to say of each rule with bounds whose score no model of the config measures before it applies."""
    stages = list(dict.fromkeys(rule.after for rule in RULES))
    measured = [("caption", TEXT_SCORES)]
    measured += [
        (setting.partition(".")[0], scores_of(role, choice)) for setting, role, choice in named_choices(config)
    ]
    for rule in RULES:
        if rule.measure not in get_args(ScoreName) or config.filter.bounds(rule.name).are_open:
            continue
        before = stages[: stages.index(rule.after) + 1] if config.filter.early else stages
        if not any(stage in before and rule.measure in scores for stage, scores in measured):
            yield rule.unmeasured


def _no_cuda(resources: Resources) -> str | None:
    """Why no worker of a stage can use a GPU; None where one may."""
    if not resources.gpus:
        return "its stage holds no GPU (resources.gpus is 0)"
    torch = version("torch")
    return f"torch {torch} is a build without CUDA" if torch.endswith("+cpu") else None


def _raise_all(*checks: Callable[[], None]) -> None:
    """ConfigError with what every check that fails has to say."""
    faults = []
    for check in checks:
        try:
            check()
        except VpdataError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))
