"""The README's promises that a machine can hold: its example runs, its links and commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.runs import make_run
from vpdata.cli import main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_sample_runs_and_prints_a_line_per_track_and_caption(tmp_path, monkeypatch, capsys):
    run = make_run(tmp_path / "runs/demo")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    record = min(run.records("filter"), key=lambda record: record.id)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(record.tracks) + len(record.captions)
    assert lines[0].startswith(f"{record.id} (")


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_every_link_leads_somewhere(link):
    assert (ROOT / link).exists()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"vpdata (\w+) ", README)) - {"path"}))
def test_every_command_exists(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert command in capsys.readouterr().out


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:`|\$ )make (\w[\w-]*)", README))))
def test_every_make_target_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
