"""What processes of one training must have in common, and what they are told where they do not."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.train.fixtures import RandomBatches, backbone, settings_for
from tests.train.processes import FINGERPRINT, answers_of, train_here
from vpdata.errors import VpdataError
from vpdata.train.output import held_output
from vpdata.train.record import claim, refuse_differing_settings
from vpdata.train.train import fit
from vpdata.train.world import World


def errors_of(world: World, own: Path, seed: int, windows: str) -> list[str]:
    """Of one rank, one after the other: after each the processes are still together. `own` is a folder of its own."""

    def hold() -> None:
        with held_output(own / "output", world=world):
            pass

    def train(output: Path) -> None:
        net = backbone()
        batches = RandomBatches(net, rank=world.rank, world_size=world.size, micro=1)
        settings, stop = settings_for(output), threading.Event()
        fit(
            settings,
            backbone=net,
            fingerprint=FINGERPRINT,
            batches=batches,
            validation=None,
            world=world,
            stop=stop,
        )

    settings = settings_for(own / f"mounted-at-{seed}")
    return [
        error_of(hold),
        error_of(lambda: refuse_differing_settings(settings_for(own / str(seed), seed=seed), world=world)),
        error_of(lambda: claim(settings, facts={"windows": windows}, world=world)),
        error_of(lambda: train(own / "seen")),
        error_of(lambda: train(own / "unshared")),
    ]


def error_of(task: Callable[[], None]) -> str:
    try:
        task()
    except VpdataError as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.fixture(scope="module")
def errors(tmp_path_factory) -> dict[str, tuple[str, str]]:
    """Of rank 0 and rank 1, by what they tried."""
    torch.set_num_threads(1)
    own = [tmp_path_factory.mktemp("rank-0"), tmp_path_factory.mktemp("rank-1")]
    train_here(settings_for(own[0] / "seen", stop_at_step=9))
    # As a network disk may show it for a while: without the newest checkpoint.
    shutil.copytree(own[0] / "seen", own[1] / "seen")
    shutil.rmtree(own[1] / "seen" / "checkpoints" / "step-00000009")
    answers = answers_of(errors_of, [(own[0], 42, "0123"), (own[1], 43, "4567")])
    return dict(zip(["hold", "settings", "claim", "resume", "save"], zip(*answers, strict=True), strict=True))


def test_output_that_is_not_shared_is_refused(errors):
    assert "failed on another rank" in errors["hold"][0]
    assert errors["hold"][1].startswith("ConfigError")
    assert (
        "another folder for rank 1 than for rank 0; wanted one on a disk that all processes share" in errors["hold"][1]
    )


def test_settings_that_differ_are_named(errors):
    told = "RunError: rank 1 does not train what rank 0 does: seed got 43, wanted 42; start all"
    assert [error.startswith(told) for error in errors["settings"]] == [True, True]


def test_data_that_differ_are_named(errors):
    assert ["windows got 4567, wanted 0123" in error for error in errors["claim"]] == [True, True]


def test_checkpoint_that_one_process_does_not_see_stops_all(errors):
    assert "failed on another rank" in errors["resume"][0]
    assert "step-00000009 as rank 0 does" in errors["resume"][1]
    assert "not on one disk" in errors["resume"][1]
    assert "remove this folder" not in errors["resume"][1]


def test_checkpoint_that_was_written_to_two_disks_does_not_count(errors):
    assert "lacks __1_0.distcp, which another process wrote to another disk" in errors["save"][0]
    assert "failed on another rank" in errors["save"][1]
