"""What is said where a package is missing, and that everybody says it with one command."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from vpdata.extras import Extra, how_to_install

ROOT = Path(__file__).resolve().parents[1]
INPAINT = "inpaint --config configs/inpaint.yaml --weights w --video v.mp4 --box 0,0,9,9 --remove --output o.mp4"
COMMANDS = {
    "vpdata train": ("train", "train --config configs/train/context_encoder.yaml"),
    "vpdata sample": ("train", "sample --config configs/train/context_encoder.yaml"),
    "vpdata encode": ("train", "encode --run r --config configs/train/encode.yaml --output o"),
    "vpdata inpaint": ("train", INPAINT),
    "vpdata app": ("app", "app"),
}


def without(package: str, code: str, *argv: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.modules[{package!r}] = None; {code}"
    return subprocess.run([sys.executable, "-c", code, *argv], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_without_its_packages_names_the_extra_in_one_line(name):
    extra, argv = COMMANDS[name]
    done = without("torch", "from vpdata.cli import main; sys.exit(main(sys.argv[1:]))", *argv.split())
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {name} needs a package that is not installed")
    assert line.endswith(f"pip install -c constraints.txt -e '.[{extra}]'")


@pytest.mark.parametrize("command", ["train", "sample"])
def test_a_config_that_is_not_there_is_told_before_torch_is_imported(command):
    done = without("torch", "from vpdata.cli import main; sys.exit(main(sys.argv[1:]))", command, "--config", "no.yaml")
    assert done.stderr == "error: cannot read the config no.yaml: No such file or directory\n"


@pytest.mark.parametrize("module", ["pipelines.encode_latents", "benchmark.perf.gpu_pipeline"])
def test_a_program_without_its_packages_names_the_extra_in_one_line(module):
    run = f"import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    options = "--run r --config configs/train/encode.yaml --output o" if module.startswith("pipelines") else "--tiny"
    done = without("torch", f"sys.argv[0] = 'program'; {run}", *options.split())
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "pip install -c constraints.txt -e '.[" in line


def test_the_inpainter_without_its_packages_names_the_extra():
    done = without("torch", "from vpdata import Inpainter")
    assert done.stderr.splitlines()[-1].startswith("vpdata.errors.BackendError: vpdata.Inpainter needs a package")
    assert how_to_install("train") in done.stderr


def test_every_extra_that_is_named_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(get_args(Extra)) == set(extras) - {"dev"}


def test_no_page_installs_from_the_index():
    """Which has no vpdata, and nothing that holds the versions that were tried."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmark").rglob("*.md")]
    hints = [*pages, *(ROOT / "docs/cluster").iterdir(), *(ROOT / "vpdata").rglob("*.py")]
    assert [page for page in hints if "vpdata[" in page.read_text(encoding="utf-8")] == []
