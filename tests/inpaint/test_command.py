import json
import shutil
import tracemalloc

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("peft")

from tests.caption_server import says, serving
from tests.inpaint.footage import decoded, numbered, numbers_of, probed, write_video
from tests.inpaint.trained import SMALL, save_adapter, save_encoder
from vpdata.cli import main
from vpdata.config import to_plain
from vpdata.inpaint.inpainter import Inpainter
from vpdata.inpaint.settings import with_trained
from vpdata.media.masks import decode_mask

torch.set_num_threads(1)

HEIGHT, WIDTH = 70, 102


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder with both trained parts."""
    folder = tmp_path_factory.mktemp("weights")
    save_encoder(folder / "context_encoder", "wan", weight=0.1)
    save_adapter(folder / "id_adapter", "wan")
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    backbone = {"tiny": "wan", "device": "cpu", "dtype": "float32"}
    path.write_text(json.dumps({"backbone": backbone, "output": {"feather_px": 3}, **SMALL}))
    return path


@pytest.fixture
def film(tmp_path):
    """12 frames of smooth ground in which a disc moves to the right; the video and its masks."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    frames = np.empty((12, HEIGHT, WIDTH, 3), np.uint8)
    frames[:] = np.stack([rows, columns, 200 - rows], axis=2)
    masks = np.stack([(rows - 35) ** 2 + (columns - 30 - 2 * index) ** 2 < 150 for index in range(12)])
    frames[masks] = (220, 40, 40)
    (tmp_path / "masks").mkdir()
    for index, mask in enumerate(masks):
        cv2.imwrite(str(tmp_path / f"masks/{index:03d}.png"), mask.astype(np.uint8) * 255)
    return write_video(tmp_path / "in.mp4", frames, audio="aac"), masks


def inpaint(film, weights, config, *more, output="out.mp4", mask=True):
    video, _ = film
    where = ["--mask", str(video.parent / "masks")] if mask else []
    places = ["--video", str(video), "--output", str(video.parent / output), "--weights", str(weights)]
    return main(["inpaint", *places, "--config", str(config), *where, *map(str, more)])


def test_output_has_the_inputs_frames_times_and_sound_and_another_hole(film, weights, config, capsys):
    video, masks = film
    assert inpaint(film, weights, config, "--prompt", "a red ball") == 0
    output = video.parent / "out.mp4"
    assert "12 frames" in capsys.readouterr().out
    assert (probed(output)["times"], probed(output)["audio"]) == (probed(video)["times"], probed(video)["audio"])
    before, after = decoded(video).astype(int), decoded(output).astype(int)
    assert after.shape == before.shape
    difference = np.abs(after - before).mean(axis=3)
    assert difference[masks].mean() > 10
    assert difference[:, :, 85:].mean() < 3
    assert [path.name for path in video.parent.iterdir() if path.name.startswith(".")] == []


def test_stopped_run_goes_on_and_gives_the_same_bytes(film, weights, config, monkeypatch, capsys):
    video, _ = film
    assert inpaint(film, weights, config, "--prompt", "a red ball", output="whole.mp4") == 0
    with monkeypatch.context() as patched:
        patched.setattr("vpdata.inpaint.command._Progress.on_step", stop_in_the_second_window)
        assert inpaint(film, weights, config, "--prompt", "a red ball") == 130
    assert not (video.parent / "out.mp4").exists()
    assert inpaint(film, weights, config, "--prompt", "a blue ball") == 1
    assert "--redo" in capsys.readouterr().err
    assert inpaint(film, weights, config, "--prompt", "a red ball") == 0
    assert (video.parent / "out.mp4").read_bytes() == (video.parent / "whole.mp4").read_bytes()


def test_first_frame_that_is_missing_is_told_before_anything_is_loaded(film, weights, config, capsys):
    video, _ = film
    use = ("--prompt", "a red ball", "--set", "backbone.tiny=wan-i2v")
    assert inpaint(film, weights, config, *use) == 1
    assert "must be given a first frame: give one whose hole is filled (--first-frame)" in capsys.readouterr().err
    # None is needed where the first frame has no hole: then the weights, of another backbone, are the next to be read.
    first = video.parent / "masks/000.png"
    cv2.imwrite(str(first), np.zeros((HEIGHT, WIDTH), np.uint8))
    assert inpaint(film, weights, config, *use) == 1
    assert "is for another backbone" in capsys.readouterr().err


@pytest.mark.parametrize(("told", "is_named"), [("8", True), ("25", False)])
def test_ltx_that_is_told_another_rate_than_the_videos_is_named(told, is_named, film, weights, config, caplog):
    use = ("--prompt", "a red ball", "--set", "backbone.tiny=ltx", "--set", f"backbone.frame_rate={told}")
    windows = ("--set", "windows.num_frames=17", "--set", "windows.overlap_frames=9")
    assert inpaint(film, weights, config, *use, *windows) == 1  # the weights are another backbone's
    assert ("has 25 frames a second, but this LTX is told 8 " in caplog.text) == is_named


def stop_in_the_second_window(self, window, step):
    if window.index == 1:
        raise KeyboardInterrupt


def test_tiling_that_is_left_to_the_memory_stays_as_it_was_begun(film, weights, config, monkeypatch, capsys):
    video, _ = film
    use, tiled = ("--prompt", "a red ball", "--set", "id_adapter=null"), ("--set", "memory.vae_tiling=true")
    assert inpaint(film, weights, config, *use, *tiled, output="tiled.mp4") == 0
    with monkeypatch.context() as patched:
        patched.setattr("vpdata.inpaint.command._Progress.on_step", stop_in_the_second_window)
        assert inpaint(film, weights, config, *use, *tiled) == 130
    assert inpaint(film, weights, config, *use, "--set", "memory.vae_tiling=false") == 1
    assert "begins anew:\n  model.vae_tiling: true before, false now\n" in capsys.readouterr().err
    assert inpaint(film, weights, config, *use) == 0
    assert (video.parent / "out.mp4").read_bytes() == (video.parent / "tiled.mp4").read_bytes()


def test_run_does_not_go_on_with_another_negative_prompt(film, weights, config, monkeypatch, capsys):
    use = ("--prompt", "a red ball", "--set", "sampling.guidance=2", "--set", "id_adapter=null", "--set")
    with monkeypatch.context() as patched:
        patched.setattr("vpdata.inpaint.command._Progress.on_step", stop_in_the_second_window)
        assert inpaint(film, weights, config, *use, "sampling.negative_prompt=blurry") == 130
    assert inpaint(film, weights, config, *use, "sampling.negative_prompt=dark") == 1
    said = 'begins anew:\n  model.sampling.negative_prompt: "blurry" before, "dark" now\n'
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "got nothing to make"),
        (["--prompt", "a", "--remove"], "wanted one of --prompt, --remove"),
        (["--edit", "make it blue"], "--edit without a --prompt"),
        (["--prompt-from", "3", "a"], "alone"),
        (["--prompt", "a", "--prompt-from", "12", "b"], "from frame 12 on, but the video's frames are 0 to 11"),
        (["--prompt", "a", "--object", "dog"], "got both a --mask and objects"),
        (["--prompt", "a", "--set", "sampling.negative_prompt=blurry"], "with guidance 1, which is none"),
        (["--prompt", "a", "--set", "sampling.num_step=3"], "did you mean 'num_steps'"),
        (["--prompt", "a", "--set", "backbone.tiny=cogvideox"], "is for another backbone"),
        (["--prompt", "a", "--set", "windows.overlap_frames=4"], "wanted 4k"),
        (["--prompt", "a", "--first-frame", "none.png"], "cannot read the picture"),
        (["--prompt", "a", "--weights", "nowhere"], "hold no context encoder"),
        (["--prompt", "a", "--style", "nowhere"], "which is not there"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(film, weights, config, capsys, more, message):
    video, _ = film
    assert inpaint(film, weights, config, *more) == 1
    assert message in capsys.readouterr().err
    assert {path.name for path in video.parent.iterdir()} == {"in.mp4", "masks"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"--output": "out.mp4", "--raw-output": "out.mp4"}, "as --output and --raw-output"),
        ({"--output": "linked.mp4", "--raw-output": "not_yet.mp4"}, "as --output and --raw-output"),
        ({"--output": "mask.mp4", "--mask": "mask.mp4"}, "as --output and --mask"),
        ({"--output": "mask.mp4", "--mask": "twin.mp4"}, "as --output and --mask"),
        ({"--output": "in.mp4"}, "as --output and --video"),
        ({"--raw-output": "first.mp4", "--first-frame": "first.mp4"}, "as --raw-output and --first-frame"),
        ({"--save-mask": "in.mp4", "--object": "moving object"}, "as --save-mask and --video"),
    ],
)
def test_no_file_is_written_over_another_one(names, message, film, weights, config, capsys):
    folder = film[0].parent
    for name in ("mask.mp4", "first.mp4"):
        shutil.copyfile(film[0], folder / name)
    (folder / "twin.mp4").hardlink_to(folder / "mask.mp4")
    (folder / "linked.mp4").symlink_to(folder / "not_yet.mp4")
    before = {path.name: path.read_bytes() for path in folder.glob("*.mp4") if path.exists()}
    places = [part for option, name in names.items() for part in (option, name if " " in name else folder / name)]
    assert inpaint(film, weights, config, "--prompt", "a", *places, mask="--object" not in names) == 1
    assert message in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.glob("*.mp4") if path.exists()} == before


def test_words_that_are_not_read_are_said(film, weights, config, caplog):
    # The windows are the frames 0 to 8, and 3 to 11 of which 9 to 11 are new.
    use = ("--prompt", "a ball " * 300, "--prompt-from", "5", "not seen", "--prompt-from", "10", "seen")
    assert inpaint(film, weights, config, *use) == 0
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    unused = [text for text in said if "is not used" in text]
    assert [text[:43] for text in unused] == ["the prompt from frame 5 on is not used: a w"]
    assert unused[0].endswith("the frames 4, 10")
    # 600 words and the end mark are 601 tokens, of which Wan takes 512.
    assert [text for text in said if "prompt is cut" in text] == [
        "the prompt is cut: 89 tokens at its end are more than the text encoder takes"
    ]


def test_weights_are_found_in_every_folder_that_training_leaves(weights, tmp_path):
    both = tmp_path / "trainings"
    for part in ("context_encoder", "id_adapter"):
        shutil.copytree(weights / part, both / part / part)
    encoder, adapter = (weights / part for part in ("context_encoder", "id_adapter"))
    for folder, wanted in (
        (encoder, {"context_encoder": str(encoder)}),
        (weights, {"context_encoder": str(encoder), "id_adapter": str(adapter)}),
        (both / "context_encoder", {"context_encoder": str(both / "context_encoder/context_encoder")}),
        (
            both,
            {
                "context_encoder": str(both / "context_encoder/context_encoder"),
                "id_adapter": str(both / "id_adapter/id_adapter"),
            },
        ),
    ):
        assert with_trained({"sampling": {}}, str(folder)) == {"sampling": {}, **wanted}


def test_empty_mask_copies_the_video_and_loads_no_weights(film, weights, config, capsys):
    video, _ = film
    for path in (video.parent / "masks").iterdir():
        cv2.imwrite(str(path), np.zeros((HEIGHT, WIDTH), np.uint8))
    damaged = video.parent / "damaged"
    damaged.mkdir()
    (damaged / "config.json").write_text("{}")
    assert inpaint(film, damaged, config, "--prompt", "a red ball") == 0
    assert "the mask is empty" in capsys.readouterr().out
    assert (video.parent / "out.mp4").read_bytes() == video.read_bytes()


def test_empty_mask_in_another_container_holds_no_window_of_the_video(tmp_path, weights, config):
    frames = numbered(60, height=400, width=600)
    video = write_video(tmp_path / "in.mp4", frames)
    (tmp_path / "masks").mkdir()
    for index in range(60):
        cv2.imwrite(str(tmp_path / f"masks/{index:03d}.png"), np.zeros((400, 600), np.uint8))
    tracemalloc.start()
    assert inpaint((video, None), weights, config, "--prompt", "a red ball", output="out.mkv") == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15 * frames[0].nbytes
    assert numbers_of(decoded(tmp_path / "out.mkv")) == list(range(60))


def test_object_is_found_by_a_box_and_followed(film, weights, config):
    video, masks = film
    target = video.parent / "found.json"
    assert inpaint(film, weights, config, "--box", "17,22,43,48", "--remove", "--save-mask", target, mask=False) == 0
    (track,) = json.loads(target.read_text())["tracks"]
    found = np.stack([decode_mask(one["counts"], height_px=HEIGHT, width_px=WIDTH) for one in track["masks"]])
    assert (found & masks).sum() / (found | masks).sum() > 0.8
    assert [path.name for path in video.parent.iterdir() if path.name.startswith(".")] == []


def test_what_cannot_be_made_is_told_before_the_object_is_looked_for(film, weights, config, tmp_path, capsys):
    video, _ = film
    cv2.imwrite(str(video.parent / "first.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    words, captioner = ("--prompt", "a red ball"), "captioner={name: embedded}"
    save_adapter(tmp_path / "other", "ltx")
    for more, message in (
        ((*words, "--set", "windows.overlap_frames=4"), "got an overlap of 4"),
        ((*words, "--set", "windows.num_frames=8"), "got a window of 8 frames"),
        ((*words, "--first-frame", video.parent / "first.png"), "makes video from text and takes none"),
        (("--edit", "make it blue"), "--edit without a --prompt"),
        (("--remove", "--set", captioner), "follows no instruction"),
        (("--remove", "--set", captioner.replace("embedded", "openia")), "did you mean 'openai'"),
        ((*words, "--style", "nowhere"), "got the style nowhere, which is not there"),
        ((*words, "--set", "context_encoder=nowhere"), "nowhere holds no context encoder"),
        ((*words, "--set", "backbone.tiny=cogvideox"), "context_encoder is for another backbone"),
        ((*words, "--set", "id_adapter=nowhere"), "nowhere holds no ID adapter"),
        ((*words, "--set", f"id_adapter={tmp_path / 'other'}"), "other is for another backbone"),
    ):
        assert inpaint(film, weights, config, "--box", "17,22,43,48", *more, mask=False) == 1
        assert message in capsys.readouterr().err
        assert not (video.parent / ".out.mp4.objects.json").exists()


def test_weights_that_do_not_fit_are_told_before_a_server_is_asked(film, weights, config, capsys):
    with serving() as server:
        captioner = {"name": "openai", "options": {"base_url": server.base_url, "model": "m"}}
        use = ["--set", f"captioner={json.dumps(captioner)}", "--remove", "--set", "id_adapter=nowhere"]
        assert inpaint(film, weights, config, *use) == 1
    assert "nowhere holds no ID adapter" in capsys.readouterr().err
    assert server.asked == []


def test_found_objects_that_were_damaged_are_named(film, weights, config, capsys):
    (film[0].parent / ".out.mp4.objects.json").write_text("{")
    assert inpaint(film, weights, config, "--box", "17,22,43,48", "--remove", mask=False) == 1
    assert ".out.mp4.objects.json is damaged" in capsys.readouterr().err


def test_word_that_the_embedded_detector_does_not_know_is_refused(film, weights, config, capsys):
    assert inpaint(film, weights, config, "--object", "the red car", "--remove", mask=False) == 1
    assert "person, face and moving object" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (("--box", "0,5,2000,20"), "--box: got 0,5,2000,20 on frame 0, but the video has 12 frames, from 0 on, of 102"),
        (("--point", "12:3,4.5"), "--point: got 3,4.5 on frame 12, but the video has 12 frames, from 0 on, of 102"),
    ],
)
def test_mark_outside_of_the_video_is_refused(mark, message, film, weights, config, capsys):
    assert inpaint(film, weights, config, *mark, "--remove", mask=False) == 1
    assert message in capsys.readouterr().err


def test_edit_asks_a_server_and_checks_its_answer(film, weights, config, capsys):
    video, _ = film
    with serving() as server:
        captioner = {"name": "openai", "options": {"base_url": server.base_url, "model": "m"}}
        use = ["--set", f"captioner={json.dumps(captioner)}", "--edit", "make it {blue}", "--prompt", "a red ball"]
        server.choose = lambda prompt, number: says("I'm sorry, I can't help with that.")
        assert inpaint(film, weights, config, *use) == 1
        assert "the captioner's answer is no prompt" in capsys.readouterr().err
        assert "make it {blue}" in server.prompts[0]
        assert "a red ball" in server.prompts[0]
        server.choose = lambda prompt, number: says("A blue ball moves over the ground to the right.")
        assert inpaint(film, weights, config, *use) == 0
    plain = ["--prompt", "A blue ball moves over the ground to the right."]
    assert inpaint(film, weights, config, *plain, output="plain.mp4") == 0
    assert (video.parent / "out.mp4").read_bytes() == (video.parent / "plain.mp4").read_bytes()


def test_stopped_run_goes_on_with_the_prompt_that_a_server_gave(film, weights, config, monkeypatch, capsys):
    video, _ = film
    colours = ["blue", "green"]
    with serving() as server, serving() as moved:
        for one in (server, moved):
            one.choose = lambda prompt, number: says(f"A {colours[number]} ball moves over the ground to the right.")

        def choice(one, **options):
            return {"name": "openai", "options": {"base_url": one.base_url, "model": "m", **options}}

        def edit(one, words="make it {bright}", **options):
            captioner = f"captioner={json.dumps(choice(one, **options))}"
            return inpaint(film, weights, config, "--edit", words, "--prompt", "a red ball", "--set", captioner)

        with monkeypatch.context() as patched:
            patched.setattr("vpdata.inpaint.command._Progress.on_step", stop_in_the_second_window)
            assert edit(server) == 130
        assert edit(moved, "make it dark") == 1
        assert 'model.asked.words.edit: "make it {bright}" before, "make it dark" now' in capsys.readouterr().err
        assert edit(moved, model="other") == 1
        assert 'model.asked.captioner.name: "openai m" before, "openai other" now' in capsys.readouterr().err
        num_asked = len(moved.asked)
        assert edit(moved) == 0
        assert (len(server.asked), len(moved.asked)) == (1, num_asked)
    plain = ["--prompt", "A blue ball moves over the ground to the right."]
    assert inpaint(film, weights, config, *plain, output="plain.mp4") == 0
    assert (video.parent / "out.mp4").read_bytes() == (video.parent / "plain.mp4").read_bytes()


def test_command_and_call_make_the_same_frames(film, weights, config):
    video, masks = film
    lossless = ["--set", "output.encode.crf=0", "--set", "mask.dilate_px=0", "--set", "output.feather_px=0"]
    assert inpaint(film, weights, config, "--prompt", "a red ball", *lossless, "--set", "id_adapter=null") == 0
    call = Inpainter.from_pretrained(
        tiny="wan",
        context_encoder=weights / "context_encoder",
        device="cpu",
        dtype="float32",
        output={"feather_px": 0},
        **SMALL,
    )
    made = call(decoded(video), masks, "a red ball")
    difference = np.abs(decoded(video.parent / "out.mp4").astype(int) - made)
    # H.264 keeps colours at half the resolution.
    assert difference[masks].mean() < 12
    assert to_plain(call.settings)["sampling"]["num_steps"] == 2
