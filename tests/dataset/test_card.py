"""The card of a run: what it says, and that its snippets run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from vpdata.dataset import layout
from vpdata.dataset.card import card_text, write_card
from vpdata.dataset.stats import collect


@pytest.fixture
def card(run) -> str:
    write_card(run)
    return run.folder.read(layout.CARD).decode()


def test_card_names_sizes_drops_thresholds_models_and_licences(card):
    for line in (
        "| clips | 5 |",
        "| source videos | 5 of 7 given |",
        "| filter | 7 | 6 | motion 1, track_area 1 tracks |",
        "  min_s: 2.0",
        "| captioner | hand | 1 | Apache-2.0 | vpdata 0.1.0 |",
        "| CC-BY-4.0 | 3 |",
        "| unknown | 2 |",
    ):
        assert line in card.splitlines()


def test_front_matter_is_yaml(card):
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["configs"][0]["data_files"] == [{"split": "train", "path": "shards/*.tar"}]


@pytest.mark.slow
def test_every_snippet_runs_in_the_folder_of_the_run(card, run, tmp_path):
    snippets = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert all(name in "".join(snippets) for name in ("open_dataset", "webdataset", "load_dataset", "duckdb"))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "1",
    }
    for snippet in snippets:
        done = subprocess.run(
            [sys.executable, "-c", snippet], cwd=run.folder.uri, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{snippet}\n{done.stderr}"


def test_declared_features_keep_the_type_of_a_column_of_nulls(card, run, tmp_path):
    datasets = pytest.importorskip("datasets")
    clips = datasets.load_dataset(run.folder.uri, split="train", cache_dir=str(tmp_path / "cache"))
    assert clips.num_rows == 5
    video = clips.features["json"]["clip"]["video"]
    assert video["caption"].dtype == "string"
    assert isinstance(clips.features["mp4"], datasets.Video)
    scopes = [caption["scope"] for caption in clips.remove_columns("mp4")[0]["json"]["captions"]]
    assert scopes == [None, 1, 2]


def test_text_from_outside_stays_text(run):
    stats = replace(collect(run), labels={"<script>|`x`\n# head": 1}, licences={"[CC](http://x)": 5})
    text = card_text(run.config(), stats)
    assert "| &lt;script&gt;&#124;\\`x\\` # head | 1 |" in text.splitlines()
    assert "| \\[CC\\](http://x) | 5 |" in text.splitlines()
