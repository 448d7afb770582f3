"""Videos of held-out clips, painted beside a training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch.nn.modules.module import register_module_forward_hook

from tests.train.encoded import BACKBONE, write_config, write_random_latents
from vpdata.backbones.identity_adapter import IdentitySettings
from vpdata.backbones.inpainting import Context
from vpdata.backbones.loading import load_backbone
from vpdata.backbones.sampler import sample
from vpdata.backbones.saving import load_context_encoder
from vpdata.config import fill, read_yaml
from vpdata.errors import ConfigError, RunError
from vpdata.media.clips import ClipReader
from vpdata.train import randomness
from vpdata.train.data import open_data
from vpdata.train.pixels import open_decoder, pixels_of
from vpdata.train.samples import SampleSettings, write_samples
from vpdata.train.settings import TrainSettings
from vpdata.train.train import train
from vpdata.train.trainee import conditions_of
from vpdata.train.world import joined_world

QUICK = SampleSettings(num_clips=2, num_steps=2, guidance=1.0)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def latents(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("latents")
    write_random_latents(folder)
    return folder


def settings_in(folder: Path, latents: Path, **changes: object) -> TrainSettings:
    return fill(
        TrainSettings,
        read_yaml(write_config(folder / "train.yaml", latents=latents, output=folder / "out", **changes)),
    )


def panels_in(folder: Path) -> dict[str, list[np.ndarray]]:
    """The clip, its hole and what was painted, by clip."""
    clips = {path.stem: ClipReader(path.read_bytes()) for path in sorted(folder.iterdir())}
    assert all(clip.fps == 8 for clip in clips.values())
    return {name: np.split(clip.read(), 3, axis=2) for name, clip in clips.items()}


def by_hand(settings: TrainSettings) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Ids of the first held-out clips, and what the saved encoder paints on them."""
    with joined_world("cpu") as world:
        data = open_data(
            settings.data, backbone=BACKBONE, output=Path(settings.output), pairs=False, seed=settings.seed, world=world
        )
    (batch, *_) = next(data.held_out().epoch(0))
    batch = batch.to("cpu", torch.float32)
    model = load_context_encoder(Path(settings.output, "context_encoder"), load_backbone(BACKBONE))
    context = Context(masked=batch.masked, packed_mask=batch.packed_mask)
    latents = sample(
        lambda noisy, timesteps: model(noisy, timesteps, conditions_of(batch), context),
        randomness.noise(batch.video.shape[1:], seed=settings.seed, ordinals=batch.ordinals),
        model.backbone.objective,
        num_steps=QUICK.num_steps,
    )
    shown = open_decoder(BACKBONE)(torch.cat([batch.video, batch.masked, latents]))
    return batch.clip_ids, [pixels_of(video) for video in shown[-len(batch) :]]


def test_each_checkpoint_is_painted_while_the_training_goes_on(latents, tmp_path):
    settings = settings_in(tmp_path, latents)
    train(settings_in(tmp_path, latents, stop_at_step=5))
    following = write_samples(settings, QUICK, follow=True)
    early = next(following)
    assert train(settings) == "finished"
    late = next(following)
    assert [early.name, late.name] == ["step-00000005", "step-00000012"]
    assert next(following, None) is None
    before, after = panels_in(early), panels_in(late)
    assert len(before) == 2
    for name, (clip, hole, painted) in before.items():
        assert clip.shape == hole.shape == painted.shape == (5, 32, 48, 3)
        assert not np.array_equal(painted, after[name][2])
    clip_ids, painted = by_hand(settings)
    for clip_id, wanted in zip(clip_ids, painted, strict=True):
        # H.264 costs some; another checkpoint's are far from it.
        assert np.abs(after[clip_id][2].astype(int) - wanted).mean() < 8
        assert np.abs(before[clip_id][2].astype(int) - wanted).mean() > 16


def test_identity_is_captured_once_and_told_the_text(tmp_path):
    write_random_latents(tmp_path / "latents", num_clips=4, names=("first", "target", "source"))
    first = settings_in(tmp_path, tmp_path / "latents", num_steps=2)
    train(first)
    second = replace(
        first,
        stage="id_adapter",
        context_encoder=str(tmp_path / "out" / "context_encoder"),
        identity=IdentitySettings(rank=4, alpha=4),
        output=str(tmp_path / "second"),
        num_steps=1,
    )
    train(second)
    texts = []

    def note(module: torch.nn.Module, args: tuple, kwargs: dict, output: object) -> None:
        if isinstance(module, WanTransformer3DModel):
            texts.append(kwargs["encoder_hidden_states"])

    handle = register_module_forward_hook(note, with_kwargs=True)
    try:
        list(write_samples(second, SampleSettings(num_clips=1, num_steps=2, guidance=6.0)))
    finally:
        handle.remove()
    captured, *passes = texts
    assert len(passes) == 4
    told = [torch.equal(text, captured) for text in passes]
    assert sorted(told) == [False, False, True, True]


def test_checkpoint_is_painted_once_and_whole(latents, tmp_path):
    settings = settings_in(tmp_path, latents, stop_at_step=3)
    train(settings)
    left = tmp_path / "out" / "samples" / ".aside-step-00000003"
    left.mkdir(parents=True)
    (left / "killed.mp4").write_bytes(b"half")
    (folder,) = write_samples(settings, QUICK)
    assert len(panels_in(folder)) == 2
    assert [path.name for path in folder.parent.iterdir()] == ["step-00000003"]
    assert list(write_samples(settings, QUICK)) == []


def test_what_cannot_be_painted_is_named(latents, tmp_path):
    settings = settings_in(tmp_path, latents, stop_at_step=3)
    with pytest.raises(RunError, match="holds no whole checkpoint yet; --follow waits for one"):
        list(write_samples(settings, QUICK))
    train(settings)
    with pytest.raises(RunError, match="another training: seed got 1, wanted 42"):
        list(write_samples(settings_in(tmp_path, latents, seed=1), QUICK))
    damaged = tmp_path / "out" / "checkpoints" / "step-00000003" / "__0_0.distcp"
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(RunError, match=r"step-00000003 cannot be opened: .*cut short"):
        list(write_samples(settings, QUICK))


def test_training_that_holds_nothing_out_has_nothing_to_show(latents, tmp_path):
    data = {"latents": str(latents), "split": "none", "validation_frac": 0.0, "loader": {"batch_size": 2}}
    settings = settings_in(tmp_path, latents, stop_at_step=3, data=data)
    train(settings)
    with pytest.raises(ConfigError, match=r"got data\.validation_frac 0"):
        list(write_samples(settings, QUICK))


def test_guidance_and_counts_below_one_are_refused():
    with pytest.raises(ValueError, match=r"guidance 0\.5, wanted 1 or more"):
        SampleSettings(guidance=0.5)
