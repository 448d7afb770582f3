"""The options of a build, from a command line and from a Ray job's environment."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from vpdata.dataset.layout import STAGE_NAMES
from vpdata.errors import ConfigError, Reason
from vpdata.options import add_build_options, build_options, exit_code, job_options

ROOT = Path(__file__).resolve().parents[1]


def _parse(*argv):
    parser = argparse.ArgumentParser()
    add_build_options(parser)
    return build_options(parser.parse_args(argv))


def test_a_full_command_line_is_taken_as_it_is():
    options = _parse(
        *("--config", "c.yaml", "--input", "videos", "--output", "runs/a", "--engine", "local"),
        *("--set", "track.max_objects=4", "--set", "cut.min_s=2", "--retry-rejects", "worker_crash"),
    )
    assert options.overrides == ("track.max_objects=4", "cut.min_s=2")
    assert (options.engine, options.retry_rejects) == ("local", Reason.WORKER_CRASH)


def test_help_names_the_stages_that_can_be_redone():
    parser = argparse.ArgumentParser()
    add_build_options(parser)
    *most, last = (*STAGE_NAMES, "pack")
    assert f"{', '.join(most)} or {last}" in " ".join(parser.format_help().split())


def test_what_is_missing_is_named():
    with pytest.raises(ConfigError, match="got no --input, --output"):
        _parse("--config", "c.yaml")


def test_an_unknown_reason_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'worker_crash'"):
        _parse("--config", "c", "--input", "i", "--output", "o", "--retry-rejects", "worker-crash")


def test_a_job_reads_its_environment_and_options_win():
    environ = {"VPDATA_INPUT": "/in", "VPDATA_OUTPUT": "/out"}
    options = job_options(["--output", "/elsewhere"], environ, root=ROOT)
    assert (options.input_uri, options.output_uri) == ("/in", "/elsewhere")
    assert Path(options.config_path).is_file()


def test_a_job_without_input_prints_the_next_commands():
    with pytest.raises(ConfigError) as caught:
        job_options([], {}, root=ROOT)
    message = str(caught.value)
    assert "lacks: input, output" in message
    assert "export VPDATA_INPUT=" in message
    assert "ray job submit --working-dir . -- python pipelines/build_vpdata.py" in message


def test_a_job_that_names_no_config_is_the_real_build_and_says_how_its_weights_are_fetched():
    with pytest.raises(ConfigError, match=r"vpdata models fetch --config configs/vpdata.yaml --to "):
        job_options([], {}, root=ROOT)
    for environ in ({"VPDATA_WEIGHTS": "/weights"}, {"VPDATA_CONFIG": str(ROOT / "configs/embedded.yaml")}):
        with pytest.raises(ConfigError) as caught:
            job_options([], environ, root=ROOT)
        assert "models fetch" not in str(caught.value)
    assert job_options([], {"VPDATA_INPUT": "/in", "VPDATA_OUTPUT": "/out"}, root=ROOT).config_path == str(
        ROOT / "configs/vpdata.yaml"
    )


def test_a_job_with_a_config_that_is_not_there_never_takes_another(tmp_path):
    environ = {"VPDATA_INPUT": "/in", "VPDATA_OUTPUT": "/out", "VPDATA_CONFIG": str(tmp_path / "absent.yaml")}
    with pytest.raises(ConfigError, match=r"lacks: config(.|\n)*there is no .*absent\.yaml"):
        job_options([], environ, root=ROOT)


def test_our_errors_become_one_message_and_status_1(capsys):
    def fail() -> int:
        raise ConfigError("got this, wanted that")

    assert exit_code(fail) == 1
    assert capsys.readouterr().err == "error: got this, wanted that\n"


def test_who_interrupts_a_redo_is_told_how_it_goes_on(capsys):
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert exit_code(interrupted) == 130
    assert "the same command again, without --redo" in capsys.readouterr().err
