"""Whether another session may go on with a training."""

import json
from pathlib import Path

import pytest
import yaml

from tests.train.fixtures import settings_for
from vpdata.backbones.settings import BackboneSettings
from vpdata.backbones.tiny import save_tiny
from vpdata.errors import ConfigError, RunError
from vpdata.train.checkpoints import CheckpointSettings
from vpdata.train.data import DataSettings
from vpdata.train.parallel import ParallelSettings
from vpdata.train.planned import LoaderSettings
from vpdata.train.record import claim
from vpdata.train.schedule import OptimizerSettings
from vpdata.train.settings import TrainSettings
from vpdata.train.world import World, joined_world

FACTS = {"windows": "0123"}


@pytest.fixture
def world():
    with joined_world("cpu") as world:
        yield world


def claimed(settings: TrainSettings, world: World) -> None:
    """Leave the folder of a training that has come to its first checkpoint."""
    claim(settings, facts=FACTS, world=world)
    checkpoint = Path(settings.output, "checkpoints", "step-00000004")
    checkpoint.mkdir(parents=True)
    (checkpoint / "checkpoint.json").touch()


def test_settings_that_decide_what_is_learnt_may_not_change(tmp_path, world: World):
    claimed(settings_for(tmp_path), world)
    with pytest.raises(RunError, match="seed got 43, wanted 42"):
        claim(settings_for(tmp_path, seed=43), facts=FACTS, world=world)
    with pytest.raises(RunError, match="windows got 4567, wanted 0123"):
        claim(settings_for(tmp_path), facts={"windows": "4567"}, world=world)


def test_start_that_failed_before_its_first_checkpoint_owns_no_folder(tmp_path, world: World, caplog):
    claim(settings_for(tmp_path), facts=FACTS, world=world)
    (tmp_path / "checkpoints" / ".aside-step-00000004").mkdir(parents=True)
    with caplog.at_level("INFO"):
        claim(settings_for(tmp_path, seed=43), facts={"windows": "4567"}, world=world)
    assert "came to nothing" in caplog.text
    recorded = yaml.safe_load((tmp_path / "run.yaml").read_text())
    assert (recorded["settings"]["seed"], recorded["windows"]) == (43, "4567")


def test_training_whose_checkpoints_are_not_to_be_seen_owns_its_folder(tmp_path, world: World):
    settings = settings_for(tmp_path)
    claim(settings, facts=FACTS, world=world)
    metrics = tmp_path / "metrics.jsonl"
    lines = [{"kind": "train", "step": settings.checkpoints.every_steps + more} for more in (-1, 1)]
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "tra')
    (tmp_path / "checkpoints").symlink_to(tmp_path / "not mounted")
    with pytest.raises(RunError, match="seed got 43, wanted 42"):
        claim(settings_for(tmp_path, seed=43), facts=FACTS, world=world)


def test_finished_training_without_checkpoints_owns_its_folder(tmp_path, world: World):
    claim(settings_for(tmp_path), facts=FACTS, world=world)
    (tmp_path / "context_encoder").mkdir()
    with pytest.raises(RunError, match="seed got 43, wanted 42"):
        claim(settings_for(tmp_path, seed=43), facts=FACTS, world=world)


def test_files_behind_equal_names_may_not_change(tmp_path, world: World):
    for name, content in (("one", b"1"), ("two", b"2")):
        (tmp_path / name / "encoder").mkdir(parents=True)
        (tmp_path / name / "encoder" / "model.safetensors").write_bytes(content)
        (tmp_path / name / "encoder" / "config.json").write_text("{}")
        save_tiny(tmp_path / name / "backbone", "wan")
    with (tmp_path / "two" / "backbone" / "transformer" / "config.json").open("a") as file:
        file.write(" ")

    def settings(*, encoder: str, backbone: str) -> TrainSettings:
        return settings_for(
            tmp_path / "out",
            stage="id_adapter",
            context_encoder=str(tmp_path / encoder / "encoder"),
            backbone=BackboneSettings(weights=str(tmp_path / backbone / "backbone"), device="cpu", dtype="float32"),
        )

    claimed(settings(encoder="one", backbone="one"), world)
    claim(settings(encoder="one", backbone="one"), facts=FACTS, world=world)
    with pytest.raises(RunError, match="context_encoder_sha256 got d4735e3a"):  # sha256sum of a 2
        claim(settings(encoder="two", backbone="one"), facts=FACTS, world=world)
    with pytest.raises(RunError, match="transformer got"):
        claim(settings(encoder="one", backbone="two"), facts=FACTS, world=world)


def test_training_may_start_from_no_other_encoder_of_the_same_name(tmp_path, world: World):
    for name, content in (("one", b"1"), ("two", b"2")):
        (tmp_path / name / "encoder").mkdir(parents=True)
        (tmp_path / name / "encoder" / "model.safetensors").write_bytes(content)
        (tmp_path / name / "encoder" / "config.json").write_text("{}")
    one, two = (settings_for(tmp_path / "out", start_from=str(tmp_path / name / "encoder")) for name in ("one", "two"))
    claimed(one, world)
    claim(one, facts=FACTS, world=world)
    with pytest.raises(RunError, match="start_from_sha256 got d4735e3a"):  # sha256sum of a 2
        claim(two, facts=FACTS, world=world)


def test_folder_of_no_encoder_is_named_with_the_one_inside(tmp_path, world: World):
    encoder = tmp_path / "first" / "context_encoder"
    encoder.mkdir(parents=True)
    wrong = settings_for(tmp_path / "out", start_from=str(tmp_path / "first"))
    with pytest.raises(ConfigError, match=r"start_from: got .*first, .* such as runs/context_encoder/context_encoder"):
        claim(wrong, facts=FACTS, world=world)
    (encoder / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"wanted the folder .*in its output: .*first/context_encoder$"):
        claim(wrong, facts=FACTS, world=world)


def test_training_that_shall_be_longer_is_told_of_start_from(tmp_path, world: World):
    claimed(settings_for(tmp_path), world)
    with pytest.raises(RunError, match=r"num_steps got 20, wanted 12; .*start another training from it: start_from"):
        claim(settings_for(tmp_path, num_steps=20), facts=FACTS, world=world)


def test_settings_of_one_session_may_change(tmp_path, world: World):
    claimed(settings_for(tmp_path), world)
    claim(
        settings_for(
            tmp_path,
            stop_at_step=3,
            parallel=ParallelSettings(mode="fsdp", checkpoint_every=1),
            checkpoints=CheckpointSettings(every_steps=100),
            data=DataSettings(latents="not read", split="none", loader=LoaderSettings(micro_batch_size=4)),
        ),
        facts=FACTS,
        world=world,
    )


def test_optimizer_may_change_with_a_note(tmp_path, world: World, caplog):
    claimed(settings_for(tmp_path), world)
    lower = settings_for(tmp_path, optimizer=OptimizerSettings(learning_rate=1e-4, warmup_steps=2))
    with caplog.at_level("WARNING"):
        claim(lower, facts=FACTS, world=world)
    assert caplog.messages == ["going on with another setting: optimizer.learning_rate got 0.0001, wanted 0.001"]
    assert yaml.safe_load((tmp_path / "run.yaml").read_text())["settings"]["optimizer"]["learning_rate"] == 1e-4


def test_setting_that_is_new_in_the_code_is_taken_for_its_default(tmp_path, world: World):
    claimed(settings_for(tmp_path), world)
    path = tmp_path / "run.yaml"
    older = yaml.safe_load(path.read_text())
    del older["settings"]["loss"]
    path.write_text(yaml.safe_dump(older))
    claim(settings_for(tmp_path), facts=FACTS, world=world)


def test_output_that_cannot_be_written_to_is_named(tmp_path, world: World):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write the training to .*file"):
        claim(settings_for(tmp_path / "file"), facts=FACTS, world=world)


def test_no_local_path_is_kept(tmp_path, world: World):
    claim(settings_for(tmp_path / "somebodys home"), facts=FACTS, world=world)
    assert str(tmp_path) not in (tmp_path / "somebodys home" / "run.yaml").read_text()
