"""The stage `encode`, against calls of the VAE and the text encoder by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.runs import FPS, make_footage, make_record
from tests.runs import encode_clip as encode_mp4
from tests.stages.test_masked_windows import mix
from vpdata.backbones.loading import load_codec, load_text_encoder
from vpdata.backbones.settings import BackboneSettings
from vpdata.dataset.training_windows import WindowSettings
from vpdata.dataset.window import decode_window
from vpdata.errors import ConfigError, Reason
from vpdata.stages.base import Rejected, Result
from vpdata.stages.encode import Encode, EncodeSettings

WINDOWS = WindowSettings(height_px=64, width_px=96, fps=FPS, num_frames=9, pairs=((9, 5, 13),))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def clip():
    footage = make_footage(0)
    mp4 = encode_mp4(footage.frames)
    return make_record(0, mp4=mp4, footage=footage), mp4, footage


def backbone(name) -> BackboneSettings:
    return BackboneSettings(tiny=name, device="cpu", dtype="float32")


def make_stage(name="wan", **settings) -> Encode:
    settings = {"windows": WINDOWS, "masks": mix(all_tracks=1), "pair_masks": mix(track=1), **settings}
    stage = Encode(EncodeSettings(**settings), backbone(name))
    stage.setup()
    return stage


def outcomes(stage: Encode, *clips) -> list:
    return list(stage.process_many(iter([stage.prepare(record, mp4) for record, mp4, _ in clips])))


def pixels(clip, start: int, stop: int) -> torch.Tensor:
    """float32 [1, 3, F, H, W] in [-1, 1], by another reader."""
    frames = decode_window(clip[1], start, stop).frames.astype(np.float32) / 127.5 - 1
    return torch.from_numpy(frames).permute(3, 0, 1, 2)[None]


def read(result: Result, name: str) -> dict[str, torch.Tensor]:
    return safetensors.torch.load(result.members[f"{name}.safetensors"])


@pytest.mark.parametrize("name", ["wan", "cogvideox-i2v"])
def test_latents_are_those_of_one_call_per_window_and_hole(clip, name) -> None:
    (result,) = outcomes(make_stage(name), clip)
    codec = load_codec(backbone(name))
    gives_first = name.endswith("i2v")
    both = clip[2].masks["blue square"] | clip[2].masks["red square"]
    for window, start in (("first", 0), ("last", 15)):
        tensors, video = read(result, window), pixels(clip, start, start + 9)
        hole = both[start : start + 9].copy()
        if gives_first:
            hole[0] = False
        masked = video.clone()
        masked[:, :, torch.from_numpy(hole)] = 0
        assert torch.equal(tensors["video"], codec.encode(video)[0].to(torch.bfloat16))
        for variant in ("masked.0", "masked.1"):
            assert torch.equal(tensors[variant], codec.encode(masked)[0].to(torch.bfloat16))
        union = np.unpackbits(tensors["unions.0"].numpy(), count=3 * 64 * 96).reshape(3, 64, 96).astype(bool)
        assert np.array_equal(union, np.stack([hole[0], hole[1:5].any(axis=0), hole[5:].any(axis=0)]))
        assert ("first_frame.latents" in tensors) == gives_first
        if gives_first:
            given = codec.first_frame(video[:, :, 0], num_frames=9)
            assert torch.equal(tensors["first_frame.latents"], given.latents[0].to(torch.bfloat16))


def test_source_of_a_pair_has_masks_and_no_masked_latents(clip) -> None:
    (result,) = outcomes(make_stage(), clip)
    source, target = read(result, "source"), read(result, "target")
    assert source.keys() == {"video", "unions.0", "unions.1"}
    assert target.keys() == {"video", "unions.0", "unions.1", "masked.0", "masked.1"}
    assert torch.equal(source["video"], load_codec(backbone("wan")).encode(pixels(clip, 2, 15))[0].to(torch.bfloat16))
    rows = {row.name: row for row in result.record.windows}
    assert rows["source"].variant_tracks == rows["target"].variant_tracks
    assert rows["source"].num_frames == 13


def test_row_says_where_the_window_is_and_how_large_the_holes_are(clip) -> None:
    (result,) = outcomes(make_stage(), clip)
    row = result.record.windows[0]
    both = clip[2].masks["blue square"] | clip[2].masks["red square"]
    assert (row.clip_id, row.video_id, row.name) == (clip[0].id, clip[0].clip.video.id, "first")
    assert (row.start_frame, row.fps, row.num_frames, row.height_px, row.width_px) == (0, FPS, 9, 64, 96)
    assert row.hole_fracs == pytest.approx([both[:9].mean()] * 2)
    assert (row.variant_kinds, row.variant_tracks) == (("all_tracks",) * 2, ((1, 2),) * 2)


def test_texts_are_those_of_the_clip_and_of_each_object(clip) -> None:
    (result,) = outcomes(make_stage(), clip)
    texts = read(result, "text")
    captions = {caption.scope: caption.text for caption in clip[0].captions}
    encoder = load_text_encoder(backbone("wan"))
    assert texts.keys() == {"clip", "1", "2"}
    for scope, text in captions.items():
        name = "clip" if scope is None else str(scope)
        assert torch.equal(texts[name], encoder.encode([text])[0].to(torch.bfloat16))


def test_equal_clips_give_equal_bytes(clip) -> None:
    first, second = (outcomes(make_stage(masks=mix(davis=1)), clip)[0] for _ in range(2))
    assert first == second


def test_clip_that_cannot_be_trained_on_is_rejected_with_its_reason(clip) -> None:
    record, mp4, _ = clip
    stage = make_stage(windows=dataclasses.replace(WINDOWS, num_frames=25, pairs=((25, 13, 13),)))
    for wrong, reason in (
        (dataclasses.replace(record, captions=record.captions[1:]), Reason.NO_CAPTION),
        (dataclasses.replace(record, tracks=()), Reason.NO_TRACKS),
        (record, Reason.NO_WINDOW),
    ):
        with pytest.raises(Exception, match=f"^{reason}: ") as caught:
            stage.prepare(wrong, mp4)
        assert caught.value.reason is reason


def test_clip_without_room_for_a_pair_is_encoded_and_counted(clip) -> None:
    stage = make_stage(windows=dataclasses.replace(WINDOWS, pairs=((17, 9, 9),)))
    counted, result = outcomes(stage, clip)
    assert isinstance(counted, Rejected)
    assert (counted.reject.reason, counted.reject.id) == (Reason.NO_WINDOW, clip[0].id)
    assert [row.name for row in result.record.windows] == ["first", "last"]


def test_clip_whose_latents_are_no_numbers_is_rejected_and_the_next_one_encoded(clip) -> None:
    codec = load_codec(backbone("wan"))

    class Overflows:
        """A codec that overflows at one place of the first clip."""

        num_calls = 0

        def encode(self, video):
            self.num_calls += 1
            latents = codec.encode(video)
            if self.num_calls == 1:
                latents[0, 0, 0, 0, 0] = float("inf")
            return latents

    stage = Encode(EncodeSettings(windows=WINDOWS), backbone("wan"), codec=Overflows)
    stage.setup()
    rejected, *_, result = outcomes(stage, clip, clip)
    assert rejected.reject.reason is Reason.NOT_FINITE
    assert isinstance(result, Result)


def test_clip_too_large_for_the_gpu_is_rejected_and_the_next_one_encoded(clip) -> None:
    codec = load_codec(backbone("wan"))

    class Full:
        """A codec on a GPU without room for the first clip."""

        num_calls = 0

        def encode(self, video):
            self.num_calls += 1
            if self.num_calls <= 2:  # it is tried once more, alone
                raise torch.OutOfMemoryError("out of memory")
            return codec.encode(video)

    settings = EncodeSettings(windows=WINDOWS)
    stage = Encode(settings, backbone("wan"), codec=Full)
    stage.setup()
    rejected, *_, result = outcomes(stage, clip, clip)
    assert rejected.reject.reason is Reason.GPU_MEMORY
    assert isinstance(result, Result)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"num_frames": 10}, "9 or 13"), ({"width_px": 100}, "multiples of 16"), ({"pairs": ((9, 5, 7),)}, "5 or 9")],
)
def test_windows_that_the_backbone_does_not_take_are_refused_before_anything_runs(wrong, message) -> None:
    with pytest.raises(ConfigError, match=message):
        Encode(EncodeSettings(windows=dataclasses.replace(WINDOWS, **wrong)), backbone("wan"))


def test_pair_masks_that_leave_the_object_are_refused() -> None:
    for kind in ("davis", "inverted", "full_frame"):
        with pytest.raises(ValueError, match="need not hide the object"):
            EncodeSettings(pair_masks=mix(**{kind: 1}))


def test_what_changes_latents_changes_the_identity() -> None:
    def identity(name="wan", **settings):
        return Encode(EncodeSettings(windows=WINDOWS, **settings), backbone(name)).identity

    assert identity() == identity()
    others = [identity("wan-i2v"), identity(seed=1), identity(num_variants=3), identity(masks=mix(track=1))]
    assert all(other != identity() for other in others)
    on_gpu = dataclasses.replace(backbone("wan"), device="cuda", dtype="bfloat16")
    assert Encode(EncodeSettings(windows=WINDOWS), on_gpu).identity == identity()
