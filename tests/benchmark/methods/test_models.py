"""Methods with a model, on tiny random checkpoints that are opened like published ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("peft")

from diffusers.pipelines.wan import pipeline_wan_vace
from diffusers.pipelines.wan.pipeline_wan_vace import WanVACEPipeline
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from PIL import Image

from benchmark.methods import tiny_vace
from benchmark.methods.kinds import kind_of
from benchmark.methods.port import Method, Prompts
from benchmark.results import Frames
from tests.backbones.umt5 import CAR, SNOW, save_umt5_tokenizer
from tests.benchmark.methods.footage import WORDS, crossing, panned, with_hole
from tests.inpaint.trained import SMALL, save_adapter, save_encoder, tiny
from vpdata.backbones.loading import load_codec
from vpdata.config import fill, to_plain
from vpdata.errors import BackendError, ConfigError
from vpdata.inpaint.diffusion import as_frames, as_video
from vpdata.inpaint.inpainter import Inpainter
from vpdata.inpaint.paste import paste
from vpdata.models.weights import WEIGHTS_VARIABLE, Lock, write_lock
from vpdata.storage import Folder

torch.set_num_threads(1)

TRUTH = panned((2, 0), num_frames=14, height=100, width=150)
MASKS = crossing(TRUTH, step_px=5)
GIVEN = with_hole(TRUTH, MASKS)
TINY = to_plain(tiny("wan"))
WINDOWS = {"num_frames": 9, "overlap_frames": 5, "area_px": 32 * 48}
OURS = {**SMALL, "windows": WINDOWS}


def loaded(kind: str, options: Mapping[str, Any]) -> Method:
    settings = fill(kind_of(kind).settings, options)
    assert isinstance(kind_of(kind).weights(settings), Mapping)
    return kind_of(kind).load(settings)


def backbone(**options: Any) -> Method:
    return loaded("backbone", {"backbone": TINY, "num_steps": 2, "guidance": 1.0, "windows": WINDOWS} | options)


def vace(**options: Any) -> Method:
    small = {"weights": None, "tiny": True, "device": "cpu", "dtype": "float32"}
    return loaded("wan_vace", small | {"num_steps": 2, "guidance": 2.0, "windows": WINDOWS} | options)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("encoder"), "wan", weight=0.1)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_adapter(tmp_path_factory.mktemp("adapter"), "wan")


@pytest.mark.parametrize("make", [backbone, vace])
def test_equal_seeds_give_equal_frames_of_any_size_and_length(make: Any) -> None:
    method = make()
    made = method.inpaint(GIVEN, MASKS, WORDS)
    assert (made.dtype, made.shape) == (np.uint8, TRUTH.shape)
    np.testing.assert_array_equal(make().inpaint(GIVEN, MASKS, WORDS), made)
    assert not np.array_equal(make(seed=7).inpaint(GIVEN, MASKS, WORDS)[MASKS], made[MASKS])
    other_words = Prompts(case_id="s-0", video="a dark sky", region="a dark sky")
    assert not np.array_equal(method.inpaint(GIVEN, MASKS, other_words)[MASKS], made[MASKS])
    assert make().inpaint(GIVEN[:1, :67, :81], MASKS[:1, :67, :81], WORDS).shape == (1, 67, 81, 3)


def test_the_backbone_alone_keeps_known_latents() -> None:
    """Of one window at the model's own size: beside the hole it is what the VAE makes of the video."""
    given, masks = GIVEN[:9, :64, :96], np.zeros((9, 64, 96), bool)
    masks[:, 8:40, 8:40] = True
    codec = load_codec(tiny("wan"))
    with torch.inference_mode():
        coded = as_frames(codec.decode(codec.encode(as_video(given))))

    def error(made: Frames, where: np.ndarray) -> float:
        return float(np.abs(made[where].astype(float) - coded[where]).mean())

    made = backbone(windows={**WINDOWS, "area_px": 64 * 96}).inpaint(given, masks, WORDS)
    far = np.ones_like(masks)
    far[:, :56, :56] = False
    assert error(made, far) < 0.3 * error(made, masks)


def test_an_image_to_video_backbone_must_be_given_the_first_frame() -> None:
    method = backbone(backbone=to_plain(tiny("wan-i2v")))
    given, masks = GIVEN[:9], MASKS[:9].copy()
    with pytest.raises(ConfigError, match="must be given a first frame"):
        method.inpaint(given, masks, WORDS)
    masks[0] = False
    assert method.inpaint(given, masks, WORDS).shape == given.shape


def test_ours_is_the_inpainter_before_known_pixels_are_put_back(encoder: Path) -> None:
    made = loaded("vpdata", {"backbone": TINY, "context_encoder": str(encoder), **OURS}).inpaint(GIVEN, MASKS, WORDS)
    inpainter = Inpainter.from_pretrained(
        tiny="wan", context_encoder=encoder, device="cpu", dtype="float32", output={"feather_px": 0}, **OURS
    )
    pasted = inpainter(GIVEN, MASKS, WORDS.video)
    np.testing.assert_array_equal(paste(GIVEN, made, MASKS, feather_px=0), pasted)
    assert not np.array_equal(made[~MASKS], TRUTH[~MASKS])


def test_the_id_adapter_changes_what_follows_the_first_window(encoder: Path, adapter: Path) -> None:
    options = {"backbone": TINY, "context_encoder": str(encoder), **OURS}
    without = loaded("vpdata", options).inpaint(GIVEN, MASKS, WORDS)
    with_adapter = loaded("vpdata", options | {"id_adapter": str(adapter)}).inpaint(GIVEN, MASKS, WORDS)
    np.testing.assert_array_equal(with_adapter[:4], without[:4])
    assert not np.array_equal(with_adapter[9:], without[9:])


def test_other_trained_weights_are_another_method(encoder: Path, adapter: Path, tmp_path: Path) -> None:
    kind = kind_of("vpdata")

    def weights(**parts: Path) -> Mapping[str, str]:
        paths = {name: str(path) for name, path in parts.items()}
        return kind.weights(fill(kind.settings, {"backbone": TINY, **paths}))

    other = save_encoder(tmp_path / "other", "wan", weight=0.2)
    assert weights(context_encoder=encoder) == weights(context_encoder=encoder)
    assert weights(context_encoder=encoder) != weights(context_encoder=other)
    parts = {"context_encoder", "id_adapter"}
    both = weights(context_encoder=encoder, id_adapter=adapter)
    assert set(both) == parts | {f"held out of {part}" for part in parts}
    with pytest.raises(ConfigError, match="holds no files that are wanted"):
        weights(context_encoder=tmp_path / "nothing")


@pytest.mark.parametrize(
    ("training_data", "told"),
    [
        (None, "unknown"),
        ({"splits": []}, "nothing"),
        (
            {"splits": [{"name": "a.parquet", "sha256": "ab" * 32}, {"name": "b.parquet", "sha256": "cd" * 32}]},
            "a.parquet abababab and b.parquet cdcdcdcd",
        ),
        (
            {"splits": [{"name": "a.parquet", "sha256": "ab" * 32}], "start_from": {"splits": [], "start_from": None}},
            "a.parquet abababab, before that nothing, before that unknown",
        ),
    ],
)
def test_a_method_says_what_was_held_out_of_its_training(
    training_data: Mapping[str, Any] | None, told: str, encoder: Path, tmp_path: Path
) -> None:
    shutil.copytree(encoder, tmp_path / "encoder")
    config = json.loads((encoder / "config.json").read_text())
    (tmp_path / "encoder/config.json").write_text(json.dumps(config | {"training_data": training_data}))
    kind = kind_of("vpdata")
    options = {"backbone": TINY, "context_encoder": str(tmp_path / "encoder")}
    assert kind.weights(fill(kind.settings, options))["held out of context_encoder"] == told


@pytest.mark.parametrize("kind", ["backbone", "vpdata"])
def test_another_painter_of_the_first_frame_is_another_method(
    kind: str, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    parts = {"context_encoder": str(encoder)} if kind == "vpdata" else {}
    settings = fill(kind_of(kind).settings, {"backbone": TINY, "first_frame": {"weights": "lab/fill"}, **parts})
    with pytest.raises(BackendError, match="vpdata models fetch lab/fill --to"):
        kind_of(kind).weights(settings)
    for revision in ("1", "2"):
        write_lock(Folder(tmp_path).child("lab/fill"), Lock(source="lab/fill", revision=revision, files={}))
        assert kind_of(kind).weights(settings)["first frame"] == revision


def test_vace_is_sampled_as_in_the_example_of_diffusers() -> None:
    defaults = kind_of("wan_vace").settings()
    example = " ".join(pipeline_wan_vace.EXAMPLE_DOC_STRING.split())
    assert f'negative_prompt = "{defaults.negative_prompt}"' in example
    for setting in (
        f"flow_shift = {defaults.flow_shift} ",
        f"num_inference_steps={defaults.num_steps},",
        f"guidance_scale={defaults.guidance},",
        f"manual_seed({defaults.seed})",
        f"num_frames = {defaults.windows.num_frames} ",
        f'model_id = "{defaults.weights}"',
    ):
        assert setting in example


def test_vace_is_the_pipeline_of_diffusers() -> None:
    """One window at the model's own size, by a call of the pipeline itself."""
    given, masks = GIVEN[:9, :64, :96], MASKS[:9, :64, :96]
    pipeline: Any = WanVACEPipeline.from_pretrained(tiny_vace.tiny_vace_folder(), local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = UniPCMultistepScheduler.from_config(pipeline.scheduler.config, flow_shift=7.0)
    video = pipeline(
        prompt=WORDS.video,
        negative_prompt=kind_of("wan_vace").settings().negative_prompt,
        video=[Image.fromarray(frame) for frame in given],
        mask=[Image.fromarray(np.uint8(255) * mask) for mask in masks],
        height=64,
        width=96,
        num_frames=9,
        num_inference_steps=2,
        guidance_scale=2.0,
        generator=torch.Generator("cpu").manual_seed(42),
    ).frames[0]
    made = vace(windows={**WINDOWS, "area_px": 64 * 96}, flow_shift=7.0).inpaint(given, masks, WORDS)
    np.testing.assert_allclose(made.astype(int), np.rint(video * 255), atol=1)


def test_vace_listens_to_what_is_known() -> None:
    made = vace().inpaint(GIVEN, MASKS, WORDS)
    assert not np.array_equal(vace().inpaint(255 - GIVEN, MASKS, WORDS), made)
    assert not np.array_equal(vace().inpaint(GIVEN, MASKS[:, ::-1], WORDS), made)


def test_vace_reads_its_tokenizer_as_the_file_says(tmp_path: Path) -> None:
    tiny_vace.save_tiny_vace(tmp_path)
    save_umt5_tokenizer(tmp_path / "tokenizer")
    method = vace(weights=str(tmp_path), tiny=False)
    snow, car = (method.inpaint(GIVEN, MASKS, Prompts(case_id="s-0", video=text, region=text)) for text in (SNOW, CAR))
    assert not np.array_equal(snow, car)


def test_missing_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VPDATA_WEIGHTS", raising=False)
    with pytest.raises(BackendError, match=r"vpdata models fetch .*Wan2\.1-VACE"):
        loaded("wan_vace", {})
    with pytest.raises(BackendError, match="cannot be loaded as a VACE pipeline"):
        loaded("wan_vace", {"weights": str(tmp_path)})


def test_numbers_that_are_wrong_are_named() -> None:
    for kind, options, message in [
        ("backbone", {"num_steps": 0}, "num_steps 0"),
        ("wan_vace", {"tiny": True}, "exactly one of the two"),
        ("wan_vace", {"flow_shift": 0}, "flow_shift 0"),
        ("wan_vace", {"windows": {"num_frames": 48}}, "windows of 48 frames"),
    ]:
        with pytest.raises(ConfigError, match=message):
            fill(kind_of(kind).settings, options)
