"""A build whose captions come from a server that breaks down in the middle."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from benchmark.footage import scene, write_video
from tests.caption_server import fails, says, serving
from tests.test_build import CONFIG, SMALL
from vpdata.cli import main
from vpdata.dataset.reader import open_dataset

KEY = "sk-planted-0123456789"


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return write_videos(tmp_path_factory.mktemp("videos"), num=2)


def write_videos(folder: Path, *, num: int) -> Path:
    for seed in range(num):
        frames = scene("plain", seed=seed, num_frames=60, height_px=120, width_px=160).frames
        write_video(folder / f"{seed}.mp4", frames, fps=25)
    return folder


def build(
    videos: Path, folder: Path, base_url: str, answers: Path, *, settings: tuple[str, ...] = (), **options: float
) -> int:
    asked = {
        "base_url": base_url,
        "model": "a-vlm",
        "api_key_env": "A_KEY",
        "answers": str(answers),
        "concurrency": 1,
        "wait_for_s": 0.8,
        **options,
    }
    captioner = json.dumps({"name": "openai", "options": asked})
    # Every rule at the end, so that what the captioner is asked for does not hang on what a rule makes of the scenes.
    all_settings = (f"caption.captioner={captioner}", "caption.batch_size=1", "filter.early=false", *settings)
    more = [word for setting in all_settings for word in ("--set", setting)]
    return main(
        [
            "build",
            "--config",
            CONFIG,
            "--input",
            str(videos),
            "--output",
            str(folder),
            "--engine",
            "local",
            *SMALL,
            *more,
        ]
    )


@pytest.mark.slow
def test_build_stops_when_its_server_is_down_and_goes_on_without_paying_twice(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("A_KEY", KEY)
    text = "A bright figure moves over a textured ground while the camera stands still."
    with serving() as server:
        server.choose = lambda prompt, number: says(text) if number < 2 else fails(503, message=KEY)
        assert build(videos, tmp_path / "run", server.base_url, tmp_path / "answers") != 0
        assert "finished work is kept" in capsys.readouterr().err
        assert not list(tmp_path.glob("run/shards/*"))
        server.choose = lambda prompt, number: says(text)
        assert build(videos, tmp_path / "run", server.base_url, tmp_path / "answers") == 0
        assert "a-vlm, this worker so far: " in capsys.readouterr().err
        answered = Counter(json.dumps(one.body) for one in server.asked)
    assert len(answered) >= 4
    # Only the request that met the breakdown was sent more than once, and no answer but the last came of it.
    assert len([body for body, times in answered.items() if times > 1]) == 1
    captions = [caption for sample in open_dataset(tmp_path / "run") for caption in sample.captions]
    assert {(caption.text, caption.model) for caption in captions} == {(text, "openai a-vlm as served")}
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_slow_answers_that_take_longer_together_than_an_item_may_are_no_hang(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("A_KEY", KEY)
    (tmp_path / "videos").mkdir()
    videos = write_videos(tmp_path / "videos", num=3)
    answer = says("A bright figure moves over a textured ground while the camera stands still.")

    def slowly(handler):
        time.sleep(1.5)
        answer(handler)

    with serving() as server:
        server.choose = lambda prompt, number: slowly
        limits = ("caption.batch_size=16", "caption.resources.timeout_s=6.5", "engine.videos_per_part=4")
        waits = {"wait_for_s": 0.2, "request_timeout_s": 2.0}
        assert build(videos, tmp_path / "run", server.base_url, tmp_path / "answers", settings=limits, **waits) == 0
        assert len(server.asked) * 1.5 > 6.5, "one call has more answers than its limit has time for"
    assert "worker died" not in caplog.text


@pytest.mark.slow
def test_own_prompt_is_asked_and_an_edit_of_it_wants_a_redo(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("A_KEY", KEY)
    (tmp_path / "home of planted").mkdir()
    own = tmp_path / "home of planted" / "mine.txt"
    # One line that begins as a path does, and could be shortened as one.
    own.write_text("/no_think Say in English and/or French what is in these {num_frames} frames.")
    run, settings = tmp_path / "run", (f"caption.clip_prompt={own}",)
    with serving() as server:
        server.choose = lambda prompt, number: says("A bright figure moves over a textured ground.")

        def again(*settings: str) -> int:
            return build(videos, run, server.base_url, tmp_path / "answers", settings=settings)

        assert again(*settings) == 0
        asked = [json.dumps(one.body) for one in server.asked]
        assert any("/no_think Say in English and/or French what is in these 8 frames." in body for body in asked)
        written = own.read_text()
        own.write_text(written.replace("and/or", "or/and"))
        capsys.readouterr()
        assert again(*settings) == 1
        assert "--redo caption" in capsys.readouterr().err
        own.write_text(written.replace("num_frames", "number"))
        assert again(*settings) == 1
        assert "caption.clip_prompt: got the field {number}" in capsys.readouterr().err
        own.write_text(written)
        moved = own.rename(tmp_path / "mine.txt")
        assert again(f"caption.clip_prompt={moved}") == 0
        assert len(server.asked) == len(asked)
    captions = [caption for sample in open_dataset(run) for caption in sample.captions if caption.scope is None]
    assert {caption.prompt for caption in captions} == {"mine.txt"}
    for path in run.rglob("*"):
        assert not path.is_file() or b"home of planted" not in path.read_bytes(), path
