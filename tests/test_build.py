"""One whole build on the embedded models through the command line, and every command on what it leaves."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import yaml

import vpdata
from benchmark.footage import scene, write_video
from vpdata.build import load_config, refuse_unready, stages_of
from vpdata.build import run as build
from vpdata.cli import main
from vpdata.dataset.layout import STAGE_NAMES
from vpdata.dataset.run import Run
from vpdata.errors import ConfigError
from vpdata.options import job_options
from vpdata.stages import Filter
from vpdata.storage import Folder

ROOT = Path(__file__).resolve().parents[1]
CONFIG = str(ROOT / "configs/embedded.yaml")
SMALL = ("--set", "cut.min_s=2", "--set", "engine.videos_per_part=2", "--set", "engine.workers=2")
SECRETS = ("planted-password", "planted-signature", "planted-token")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Three scenes, a copy of one under another name, and what is no video."""
    folder = tmp_path_factory.mktemp("home-of-planted-user") / "videos"
    folder.mkdir()
    for seed, kind in ((0, "plain"), (3, "crossing"), (4, "late")):
        frames = scene(kind, seed=seed, num_frames=60, height_px=120, width_px=160).frames
        write_video(folder / f"{kind} n° {seed}.mp4", frames, fps=25)
    shutil.copy(folder / "plain n° 0.mp4", folder / "twin 'of' plain.mp4")
    (folder / "noise.mp4").write_bytes(bytes(range(256)) * 40)
    (folder / "empty.mkv").touch()
    return folder


@pytest.fixture(scope="module")
def run(videos, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mine"
    assert _build(videos, folder) == 0
    return folder


def find_torch() -> str | None:
    """Version of a torch that says of itself that it is for CPUs."""
    try:
        found = version("torch")
    except PackageNotFoundError:
        return None
    return found if found.endswith("+cpu") else None


def _build(videos: Path, folder: Path, *more: str, engine: str = "local") -> int:
    places = ("--config", CONFIG, "--input", str(videos), "--output", str(folder))
    return main(["build", *places, "--engine", engine, *SMALL, *more])


def _durable_bytes(folder: Path) -> dict[str, bytes]:
    """Parts, shards and index: what equal input must give equal bytes of."""
    kept = [path for name in ("[0-5]-*", "shards", "index") for path in folder.glob(f"{name}/*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in [*kept, folder / "pack-plan.parquet"]}


def test_objects_of_every_scene_are_kept_and_bad_files_are_named(run):
    samples = list(vpdata.open_dataset(run))
    assert len(samples) == 3
    for sample in samples:
        assert sample.frames.shape[1:] == (120, 160, 3)
        assert len(sample.tracks) >= 1
        assert len(sample.tracks[0].masks) == len(sample.frames)
        assert {caption.scope for caption in sample.captions} == {None, *(track.id for track in sample.tracks)}
    stats = json.loads((run / "stats.json").read_text())
    assert "not_video" in json.dumps(stats)
    assert "empty_file" in json.dumps(stats)
    assert '"duplicate"' in json.dumps(stats)


def test_a_finished_run_passes_its_check(run, capsys):
    assert main(["check", str(run)]) == 0
    assert "all is well" in capsys.readouterr().out


def test_the_same_command_on_a_finished_run_changes_no_byte(videos, run):
    before = _durable_bytes(run)
    assert _build(videos, run) == 0
    assert _durable_bytes(run) == before


@pytest.mark.ray
@pytest.mark.slow
def test_ray_gives_the_same_bytes(videos, run, tmp_path):
    assert _build(videos, tmp_path / "ray", "--set", "engine.ray_address=local", engine="ray") == 0
    assert _durable_bytes(tmp_path / "ray") == _durable_bytes(run)


@pytest.mark.slow
def test_one_worker_gives_the_same_bytes(videos, run, tmp_path):
    assert _build(videos, tmp_path / "one", "--set", "engine.workers=1") == 0
    assert _durable_bytes(tmp_path / "one") == _durable_bytes(run)


@pytest.mark.slow
def test_no_home_path_and_no_secret_reaches_the_run(videos, run, tmp_path):
    rows = [{"uri": path.name, "attribution": "by <b>me</b>"} for path in sorted(videos.glob("*.mp4"))[:2]]
    rows.append({"uri": f"http://user:{SECRETS[0]}@127.0.0.1:9/a.mp4?X-Amz-Signature={SECRETS[1]}&token={SECRETS[2]}"})
    listing = videos / "list.csv"
    with listing.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=["uri", "attribution"])
        writer.writeheader()
        writer.writerows(rows[:2])
    assert _build(listing, tmp_path / "listed") == 0
    for folder in (run, tmp_path / "listed"):
        for path in folder.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                for secret in ("home-of-planted-user", str(videos), *SECRETS):
                    assert secret.encode() not in content, path


@pytest.mark.slow
def test_no_path_of_a_model_reaches_the_run(videos, tmp_path):
    pytest.importorskip("open_clip")
    from tests.models.tiny_clip import save_head, save_tiny_clip

    home = videos.parent
    (home / "my-clip").mkdir()
    weights, head = save_tiny_clip(home / "my-clip"), save_head(home / "my-clip")
    (home / "names.txt").write_text("moving object\nperson")
    clip = {"weights": str(weights), "device": "cpu", "dtype": "float32"}
    tags = {"vocabulary": str(home / "names.txt"), "cache_folder": str(home / "cache"), "min_cosine": -1.0}
    choices = {
        "detect.tagger": {"name": "openclip", "options": clip | tags},
        "detect.scorers": [{"name": "openclip", "options": clip | {"aesthetic_head": str(head)}}],
        "detect.embedder": {"name": "openclip", "options": clip},
        "caption.text_scorer": {"name": "openclip", "options": clip},
    }
    more = [word for key, value in choices.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    memory = ("--set", "detect.resources.memory_gb=3", "--set", "caption.resources.memory_gb=3")
    rules = ("--set", "filter.rules.aesthetic=null", "--set", "filter.rules.text_alignment=null")
    assert _build(videos, tmp_path / "run", *more, *memory, *rules) == 0
    records = [sample.record for sample in vpdata.open_dataset(tmp_path / "run")]
    assert "my-clip local" in {score.model for record in records for score in record.scores or ()}
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or b"home-of-planted-user" not in path.read_bytes(), path


def test_inspect_prints_the_record_and_draws_the_masks(run, tmp_path, capsys):
    sample = next(iter(vpdata.open_dataset(run)))
    assert main(["inspect", str(run), sample.id, "--sheet", str(tmp_path / "sheet.jpg")]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["id"] == sample.id
    assert (tmp_path / "sheet.jpg").stat().st_size > 5000


def test_inspect_of_an_unknown_clip_is_one_message(run, capsys):
    assert main(["inspect", str(run), "no-such-clip"]) == 1
    assert capsys.readouterr().err.startswith("error: got the clip 'no-such-clip', which is none of the")


def test_stats_answer_what_other_bounds_would_keep(run, capsys):
    assert main(["stats", str(run)]) == 0
    assert "kept 3 clips" in capsys.readouterr().out
    assert main(["stats", str(run), "--what-if", "motion.min=0.9"]) == 0
    said = capsys.readouterr().out
    assert "motion" in said
    assert said.endswith("To apply: the same `vpdata build` with --set filter.rules.motion.min=0.9 --redo filter\n")


@pytest.mark.slow
def test_what_a_what_if_says_to_do_is_taken(videos, run, tmp_path, capsys):
    """Looser bounds behind `cut` need the cut again, stricter ones the filter alone; less is refused."""
    for change, stage in (("sharpness.min=0.001", "cut"), ("motion.min=0.05", "filter")):
        folder = tmp_path / stage
        shutil.copytree(run, folder)
        assert main(["stats", str(folder), "--what-if", change]) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("To apply: ")]
        options = line.partition(" with ")[2].split()
        assert options[-2:] == ["--redo", stage]
        assert _build(videos, folder, *options[:-2]) == 1
        assert f"--redo {stage}" in capsys.readouterr().err
        assert _build(videos, folder, *options) == 0


@pytest.mark.slow
def test_what_if_goes_by_the_rules_that_stages_have_dropped_by(videos, run, tmp_path, capsys):
    """Not by those of the filter, which may have been redone alone."""

    def advised(folder, change):
        assert main(["stats", str(folder), "--what-if", change]) == 0
        return capsys.readouterr().out.split()[-1]

    stricter, late = tmp_path / "stricter", tmp_path / "late"
    shutil.copytree(run, stricter)
    assert _build(videos, stricter, "--set", "filter.rules.motion.min=0.05", "--redo", "filter") == 0
    assert advised(stricter, "motion.min=0.01") == "filter"
    shutil.copytree(run, late)
    assert _build(videos, late, "--set", "filter.early=false", "--redo", "filter") == 0
    assert advised(late, "sharpness.min=0.001") == "cut"


def test_setting_that_changed_is_named_as_it_is_set(videos, run, capsys):
    for change in ("cut.min_s=1", "filter.rules.motion.min=0.9", "engine.shard_mb=60"):
        assert _build(videos, run, "--set", change) == 1
        assert f"{change.partition('=')[0]}: got " in capsys.readouterr().err


def test_rejects_are_told_one_by_one(run, capsys):
    assert main(["stats", str(run), "--rejects"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rejects = [one for stage in (*STAGE_NAMES, "pack") for one in Run(Folder(run)).rejects(stage)]
    assert len(lines) == len(rejects)
    (noise,) = [line for line in lines if "noise.mp4" in line]
    assert noise.startswith("cut  not_video  ")
    assert main(["stats", str(run), "--rejects", "empty_file"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "empty.mkv" in line
    assert main(["stats", str(run), "--rejects", "emty_file"]) == 1
    assert "--rejects: unknown reason 'emty_file', did you mean 'empty_file'?" in capsys.readouterr().err


def test_build_ends_with_what_was_dropped_and_where_to_look(videos, run, capsys):
    assert _build(videos, run) == 0
    *_, dropped, look = capsys.readouterr().out.splitlines()
    assert dropped.startswith("dropped: ")
    assert "not_video 1" in dropped
    assert look.startswith(f"look at {run}/report.html")


def test_package_is_a_command_too():
    done = subprocess.run([sys.executable, "-m", "vpdata", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"vpdata {vpdata.__version__}\n"


def test_a_changed_setting_is_refused_and_redo_is_named(videos, run, capsys):
    before = _durable_bytes(run)
    assert _build(videos, run, "--set", "track.max_objects=1") == 1
    assert "--redo track" in capsys.readouterr().err
    assert _durable_bytes(run) == before


def test_an_unknown_setting_names_the_nearest_one(videos, tmp_path, capsys):
    assert _build(videos, tmp_path / "never", "--set", "track.max_object=4") == 1
    assert "unknown setting track.max_object, did you mean 'max_objects'?" in capsys.readouterr().err
    assert not (tmp_path / "never").exists()


def test_a_dry_run_names_missing_weights_below_the_plan(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VPDATA_WEIGHTS", str(tmp_path))
    assert _build(videos, tmp_path / "never", "--dry-run", "--set", "cut.scorer.name=raft") == 1
    captured = capsys.readouterr()
    assert "plan: " in captured.out
    assert f"vpdata models fetch raft-large --to {tmp_path}\n" in captured.err
    assert not (tmp_path / "never").exists()


def test_a_dry_run_says_all_that_is_wrong_at_once(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VPDATA_WEIGHTS", str(tmp_path))
    settings = {
        "cut.scorer": "{name: raft}",
        "track.resources.gpus": "1",
        "detect.tagger": "{name: vlm}",
        "detect.scorers": "[{name: text_overlay}, {name: nsfw}]",
        "caption.captioner": "{name: openai, options: {base_url: 'http://h/v1', model: m, api_key_env: UNSET_KEY}}",
    }
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("UNSET_KEY", raising=False)
    more = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    assert _build(videos, tmp_path / "never", "--dry-run", *more) == 1
    said = capsys.readouterr().err
    for line in (
        "stage track can never run here: .*, and no node has a GPU",
        r"cut\.scorer: got device 'cuda' for raft, .*gpus is 0\); give --set cut\.scorer\.options\.device=cpu",
        r"detect\.tagger: .* give --set detect\.tagger\.options\.device=cpu",
        r"detect\.scorers\[1\]: .* for nsfw, .* give in detect\.scorers\[1\] the option device=cpu",
        r"caption\.captioner: the environment variable UNSET_KEY has no value",
        "vpdata models fetch raft-large",
    ):
        assert re.search(line, said), line
    assert _build(videos, tmp_path / "never", *more) == 1
    assert "UNSET_KEY" in capsys.readouterr().err
    assert not (tmp_path / "never").exists()


def test_a_rule_whose_score_nothing_measures_stops_a_build_before_it_starts(videos, tmp_path, capsys):
    bound = ("--set", "filter.rules.text_alignment.min=0.2")
    for more in ((*bound, "--dry-run"), bound):
        assert _build(videos, tmp_path / "never", *more) == 1
        said = capsys.readouterr().err
        assert "the rule 'text_alignment' needs the score 'text_alignment', which no model measures" in said
        assert "filter.rules.text_alignment: null" in said
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("name", ["embedded", "demo", "vpdata"])
def test_shipped_configs_measure_what_their_rules_need(name):
    settings = ()
    if name == "vpdata":
        pytest.importorskip("transformers")
        pytest.importorskip("open_clip")
        from tests.models.tiny_production import ON_A_CPU

        settings = ON_A_CPU
    config = load_config(ROOT / f"configs/{name}.yaml", settings)
    refuse_unready(config)
    assert len(stages_of(config)) == 5


def test_a_score_must_be_measured_before_its_rule_applies():
    later = ("cut.scorer=null", "detect.scorers=[{name: embedded}]")
    with pytest.raises(ConfigError, match=r"'exposure'.*\n.*'contrast'"):
        refuse_unready(load_config(CONFIG, later))
    refuse_unready(load_config(CONFIG, [*later, "filter.early=false"]))


@pytest.mark.skipif(find_torch() is None, reason="torch is not installed, or has CUDA")
def test_a_gpu_that_torch_cannot_use_stops_a_build_before_it_starts(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VPDATA_WEIGHTS", str(tmp_path))
    more = ("--set", "cut.scorer.name=raft", "--set", "cut.resources.gpus=0.5")
    assert _build(videos, tmp_path / "never", *more) == 1
    assert f"torch {find_torch()} is a build without CUDA; give --set cut.scorer" in capsys.readouterr().err
    assert not (tmp_path / "never").exists()


def test_a_dry_run_prints_the_plan_and_writes_nothing(videos, tmp_path, capsys):
    assert _build(videos, tmp_path / "never", "--dry-run") == 0
    assert "caption" in capsys.readouterr().out
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("more", [("--dry-run",), ()])
def test_what_cannot_be_written_or_redone_is_refused(more, videos, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for output, options, message in (
        (tmp_path / "file", (), f"cannot write to {tmp_path}/file: {tmp_path}/file is no folder; give another"),
        (tmp_path / "file/run", (), f"cannot write to {tmp_path}/file/run: {tmp_path}/file is no folder"),
        (Path("/proc/no/run"), (), "cannot write to /proc/no/run: /proc takes no file: "),
        (tmp_path / "never", ("--redo", "cut"), f"got --redo cut, but there is no run in {tmp_path}/never; leave it"),
    ):
        assert _build(videos, output, *more, *options) == 1
        said = capsys.readouterr()
        assert message in said.err
        assert "plan: " not in said.out
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


class Mine(Filter):
    name: ClassVar[str] = "mine"


def test_other_stages_are_refused(videos, tmp_path):
    config = load_config(CONFIG)
    words = ["--config", CONFIG, "--input", str(videos), "--output", str(tmp_path / "never"), "--engine", "local"]
    options, mine = job_options(words, {}, root=ROOT), cast(Any, Mine(config.filter))
    with pytest.raises(ConfigError, match="got the stages cut, detect, caption, track, filter, wanted cut, detect, tr"):
        build(options, config, [stages_of(config)[index] for index in (0, 1, 3, 2, 4)])
    with pytest.raises(ConfigError, match="got the stages cut, detect, track, caption, filter, mine, wanted cut"):
        build(options, config, (*stages_of(config), mine))
    assert not (tmp_path / "never").exists()


def test_a_dry_run_says_what_would_be_removed_and_added(videos, run, capsys):
    before = _durable_bytes(run)
    assert _build(videos, run, "--dry-run", "--redo", "caption", "--retry-rejects", "not_video", "--add-sources") == 0
    said = capsys.readouterr().out
    assert "--redo caption first removes 3 part(s) of caption, 3 part(s) of filter, 1 shard(s)" in said
    assert "--retry-rejects not_video first removes 1 part(s) of cut" in said
    assert "--add-sources appends 0 source(s)" in said
    assert _durable_bytes(run) == before


def test_export_and_import_bring_the_masks_back(run, tmp_path):
    assert main(["export", str(run), "--format", "videopainter", "--output", str(tmp_path / "vp")]) == 0
    assert main(["import", str(tmp_path / "vp"), "--format", "videopainter", "--output", str(tmp_path / "back")]) == 0
    assert len(vpdata.open_dataset(tmp_path / "back")) == len(vpdata.open_dataset(run))
    assert main(["check", str(tmp_path / "back")]) == 0


def test_missing_weights_are_all_named_with_the_command_that_fetches_them(videos, tmp_path, monkeypatch, capsys):
    owl = ("--set", "detect.detector={name: owlv2, options: {revision: abc}}")
    places = ("--config", str(ROOT / "configs/vpdata.yaml"), "--input", str(videos), "--output", str(tmp_path / "run"))
    for weights, place in (("", "FOLDER_OR_URI"), (str(tmp_path / "empty"), str(tmp_path / "empty"))):
        monkeypatch.setenv("VPDATA_WEIGHTS", weights)
        assert main(["build", *places, *owl]) == 1
        message = capsys.readouterr().err
        (command,) = [line for line in message.splitlines() if line.startswith("  vpdata models fetch ")]
        assert "google/owlv2-large-patch14-ensemble@abc" in command.split()
        assert {"facebook/sam2.1-hiera-large", "laion-aesthetic-v2", "Qwen/Qwen3-VL-8B-Instruct"} < set(command.split())
        assert command.endswith(f"--to {place}")
        assert f"export VPDATA_WEIGHTS={place}" in message
    assert not (tmp_path / "run").exists()
