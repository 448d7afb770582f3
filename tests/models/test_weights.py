"""Weights are fetched whole, and opened only as they were fetched."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from tests.models.local_hub import LocalHub
from vpdata import models
from vpdata.config import ModelChoice
from vpdata.errors import BackendError, ConfigError, StorageError
from vpdata.models.fetch import fetch
from vpdata.models.hub import HuggingFaceHub
from vpdata.models.weights import LOCK_FILE, local_weights, refuse_missing
from vpdata.storage import Folder

REPO = "some-lab/tiny-detector"


def safetensors(values: list[float]) -> bytes:
    """A file of one float32 tensor, written by the format's own specification."""
    header = json.dumps({"scale": {"dtype": "F32", "shape": [len(values)], "data_offsets": [0, 4 * len(values)]}})
    return struct.pack("<Q", len(header)) + header.encode() + struct.pack(f"<{len(values)}f", *values)


FILES = {
    "model.safetensors": safetensors([1.5, -2.0]),
    "config.json": b'{"model_type": "tiny"}',
    "pytorch_model.bin": b"a pickle",
    "modeling_tiny.py": b"import os",
    "onnx/config.json": b"{}",
}


@pytest.fixture
def hub(tmp_path) -> LocalHub:
    hub = LocalHub(tmp_path / "hub")
    hub.publish(REPO, FILES)
    return hub


@pytest.fixture
def shared(tmp_path, monkeypatch) -> Folder:
    monkeypatch.setenv("VPDATA_WEIGHTS", str(tmp_path / "shared"))
    return Folder(tmp_path / "shared")


def test_fetched_weights_are_opened_where_they_are(hub, shared):
    lock = fetch(REPO, to=shared, hub=hub)
    folder = local_weights(REPO)
    assert folder == Path(shared.uri, REPO)
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert lock.revision == "c0ffee"


def test_neither_pickles_nor_code_nor_subfolders_are_fetched(hub, shared):
    fetch(REPO, to=shared, hub=hub)
    assert Folder(shared.path(REPO)).names() == ["config.json", "model.safetensors", LOCK_FILE]


def test_the_tokenizer_of_sentencepiece_is_fetched(hub, shared):
    hub.publish(REPO, FILES | {"tokenizer.model": b"pieces"}, revision="decade")
    assert "tokenizer.model" in fetch(REPO, to=shared, hub=hub).files
    assert shared.path(f"{REPO}/tokenizer.model").read_bytes() == b"pieces"


def test_the_lock_says_size_hash_and_revision_of_every_file(hub, shared):
    fetch(REPO, to=shared, hub=hub)
    lock = yaml.safe_load(shared.read(f"{REPO}/{LOCK_FILE}"))
    content = FILES["model.safetensors"]
    wanted = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert lock["files"]["model.safetensors"] == wanted
    assert (lock["source"], lock["revision"]) == (REPO, "c0ffee")


def test_weights_that_were_never_fetched_name_the_command(shared):
    with pytest.raises(BackendError, match=f"vpdata models fetch {REPO}@abc --to {shared.uri}"):
        local_weights(REPO, "abc")


def test_weights_without_their_lock_file_are_said_to_be_there(hub, shared):
    fetch(REPO, to=shared, hub=hub)
    shared.path(f"{REPO}/{LOCK_FILE}").unlink()
    with pytest.raises(BackendError, match=rf"Of {REPO} there are files, but no {LOCK_FILE}.*Fetch them once"):
        local_weights(REPO)


def test_weights_that_no_fetch_would_bring_are_given_no_command(shared):
    with pytest.raises(ConfigError, match=r"unknown weights 'my', wanted a hub id .* by its path, such as \./my"):
        local_weights("my")


def test_without_a_place_for_weights_the_variable_is_named(monkeypatch):
    monkeypatch.delenv("VPDATA_WEIGHTS", raising=False)
    with pytest.raises(BackendError, match="VPDATA_WEIGHTS"):
        local_weights(REPO)


def test_a_file_cut_short_is_named(hub, shared):
    fetch(REPO, to=shared, hub=hub)
    path = shared.path(f"{REPO}/model.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    size = len(FILES["model.safetensors"])
    with pytest.raises(BackendError, match=rf"{path}: got {size - 1} bytes, wanted {size}"):
        local_weights(REPO)


def test_a_quick_look_sees_what_is_missing_cut_short_or_of_another_revision_and_hashes_nothing(hub, shared, tmp_path):
    fetch(REPO, to=shared, hub=hub)
    own = tmp_path / "own"
    own.mkdir()
    path = shared.path(f"{REPO}/model.safetensors")
    path.write_bytes(bytes(path.stat().st_size))
    refuse_missing([(REPO, "c0ffee"), (str(own), None)])
    with pytest.raises(BackendError, match="got revision c0ffee, wanted 123abc"):
        refuse_missing([(REPO, "123abc")])
    with pytest.raises(BackendError, match=f"there is no folder {own}2"):
        refuse_missing([(f"{own}2", None)])
    with pytest.raises(BackendError, match=f"vpdata models fetch some-lab/a some-lab/b@1 --to {shared.uri}"):
        refuse_missing([("some-lab/a", None), (REPO, None), ("some-lab/b", "1")])
    path.write_bytes(b"")
    with pytest.raises(BackendError, match=rf"{path}: got 0 bytes"):
        refuse_missing([(REPO, None)])


def test_a_changed_file_of_the_same_size_is_named(hub, shared):
    fetch(REPO, to=shared, hub=hub)
    path = shared.path(f"{REPO}/model.safetensors")
    path.write_bytes(safetensors([1.5, -2.5]))
    with pytest.raises(BackendError, match=f"{path}: got SHA-256"):
        local_weights(REPO)


def test_a_missing_file_is_named(hub, shared):
    fetch(REPO, to=shared, hub=hub)
    shared.path(f"{REPO}/config.json").unlink()
    with pytest.raises(BackendError, match=r"config\.json: got no file"):
        local_weights(REPO)


def test_another_revision_than_the_fetched_one_is_refused(hub, shared):
    fetch(REPO, to=shared, hub=hub)
    assert local_weights(REPO, "c0ffee")
    with pytest.raises(BackendError, match="got revision c0ffee, wanted 123abc"):
        local_weights(REPO, "123abc")


def test_a_branch_that_was_asked_for_is_pinned_to_its_commit(hub, shared):
    fetch(REPO, to=shared, hub=hub, revision="main")
    hub.publish(REPO, {"model.safetensors": safetensors([9.0])}, revision="decade")
    assert fetch(REPO, to=shared, hub=hub, revision="main").revision == "c0ffee"
    assert local_weights(REPO, "main")


def test_a_second_fetch_downloads_nothing(hub, shared):
    first, calls = fetch(REPO, to=shared, hub=hub), hub.calls
    assert fetch(REPO, to=shared, hub=hub) == first
    assert hub.calls == calls > 0


def test_a_second_fetch_mends_what_was_damaged(hub, shared):
    fetch(REPO, to=shared, hub=hub)
    shared.path(f"{REPO}/model.safetensors").write_bytes(b"")
    hub.publish(REPO, {"model.safetensors": safetensors([9.0])}, revision="decade")
    fetch(REPO, to=shared, hub=hub)
    assert (local_weights(REPO) / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_revision_that_the_hub_changed_afterwards_is_refused(hub, shared):
    fetch(REPO, to=shared, hub=hub)
    shared.path(f"{REPO}/config.json").unlink()
    hub.publish(REPO, {"config.json": b"{}"})
    with pytest.raises(BackendError, match="is not what it was"):
        fetch(REPO, to=shared, hub=hub)


def test_fetching_another_revision_over_the_first_is_refused(hub, shared):
    fetch(REPO, to=shared, hub=hub)
    hub.publish(REPO, FILES, revision="decade")
    with pytest.raises(ConfigError, match="holds revision c0ffee, got decade"):
        fetch(REPO, to=shared, hub=hub, revision="decade")


def test_a_download_that_is_not_what_the_hub_says_is_refused_and_can_be_repeated(hub, shared):
    hub.stated = {"model.safetensors": "0" * 64}
    with pytest.raises(BackendError, match=r"model\.safetensors: got SHA-256"):
        fetch(REPO, to=shared, hub=hub)
    with pytest.raises(BackendError, match="vpdata models fetch"):
        local_weights(REPO)
    hub.stated = {}
    fetch(REPO, to=shared, hub=hub)
    assert local_weights(REPO)


def test_of_two_fetches_at_once_the_second_waits_and_downloads_nothing(hub, shared, tmp_path, caplog):
    both_are_inside = threading.Barrier(2)

    class SlowHub(LocalHub):
        def snapshot(self, *args, **options):
            with suppress(threading.BrokenBarrierError):
                both_are_inside.wait(timeout=0.5)
            return super().snapshot(*args, **options)

    slow = SlowHub(hub.root)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: fetch(REPO, to=shared, hub=slow), range(2))
    assert first == second
    fetch(REPO, to=Folder(tmp_path / "alone"), hub=hub)
    assert slow.calls == hub.calls
    assert f"another process is fetching {REPO}" in caplog.text
    assert local_weights(REPO)


def test_an_interrupted_fetch_leaves_nothing_to_open_and_nothing_in_the_next(hub, shared):
    hub.publish(REPO, FILES | {"added_tokens.json": b"{}"}, revision="decade")
    hub.fails_after = "added_tokens.json"
    with pytest.raises(StorageError):
        fetch(REPO, to=shared, hub=hub)
    with pytest.raises(BackendError, match="vpdata models fetch"):
        local_weights(REPO)
    hub.fails_after = None
    fetch(REPO, to=shared, hub=hub, revision="c0ffee")
    assert not (local_weights(REPO) / "added_tokens.json").exists()


PARTS = ("scheduler", "text_encoder_2", "tokenizer", "tokenizer_2", "transformer", "transformer_2", "unet", "vae")
PIPELINE = {
    "model_index.json": json.dumps(
        {"_class_name": "Pipe", "boundary_ratio": 0.9, "image_encoder": [None, None]}
        | {part: ["diffusers", "Part"] for part in PARTS}
    ).encode(),
    "scheduler/scheduler_config.json": b"{}",
    "text_encoder_2/model.safetensors": safetensors([4.0]),
    # CLIP's and T5's tokenizer in FLUX's order; HunyuanVideo has LLaMA's and CLIP's.
    "tokenizer/merges.txt": b"a b",
    "tokenizer/vocab.json": b"{}",
    "tokenizer_2/spiece.model": b"pieces",
    "transformer/config.json": b"{}",
    "transformer/diffusion_pytorch_model-00001-of-00001.safetensors": safetensors([1.0]),
    "transformer_2/diffusion_pytorch_model.safetensors": safetensors([3.0]),
    "unet/diffusion_pytorch_model.safetensors": safetensors([5.0]),
    "vae/diffusion_pytorch_model.safetensors": safetensors([2.0]),
}
"""What is wanted of a repository in diffusers' layout."""
BESIDE = {
    "README.md": b"words",
    "pipeline-2b-v0.9.safetensors": safetensors([1.0, 2.0]),
    "assets/film.mp4": b"film",
    "assets/teaser.json": b"{}",
    "image_encoder/model.safetensors": safetensors([6.0]),
    "text_encoders/t5.safetensors": safetensors([4.0]),
    "transformer/diffusion_pytorch_model.bin": b"a pickle",
    "unet/diffusion_pytorch_model.fp16.safetensors": safetensors([5.0]),
    "unet/diffusion_pytorch_model.fp16-00001-of-00001.safetensors": safetensors([5.0]),
}
"""What such repositories hold beside it: the same weights for other programs and in half precision."""


def test_of_a_pipeline_the_folders_of_its_parts_are_fetched_and_no_weights_twice(hub, shared):
    hub.publish("lab/pipeline", PIPELINE | BESIDE)
    lock = fetch("lab/pipeline", to=shared, hub=hub)
    assert sorted(lock.files) == sorted(PIPELINE)
    folder = local_weights("lab/pipeline")
    assert (folder / "tokenizer_2/spiece.model").read_bytes() == b"pieces"
    assert not Path(shared.uri, ".aside-lab--pipeline").exists()


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_a_damaged_index_of_a_pipeline_is_named(hub, shared, content):
    hub.publish("lab/pipeline", PIPELINE | {"model_index.json": content})
    with pytest.raises(BackendError, match=r"lab/pipeline: .*model_index\.json"):
        fetch("lab/pipeline", to=shared, hub=hub)


def test_a_damaged_part_of_a_pipeline_is_mended_and_stops_only_those_who_open_it(hub, shared):
    hub.publish("lab/pipeline", PIPELINE)
    fetch("lab/pipeline", to=shared, hub=hub)
    damaged = Path(shared.uri, "lab/pipeline/vae/diffusion_pytorch_model.safetensors")
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    local_weights("lab/pipeline", only=("transformer/",))
    for only in (("vae/",), ("transformer/", "vae/"), ("",)):
        with pytest.raises(BackendError, match=r"vae/diffusion_pytorch_model.safetensors: got SHA-256"):
            local_weights("lab/pipeline", only=only)
    fetch("lab/pipeline", to=shared, hub=hub)
    local_weights("lab/pipeline")


def test_a_repository_without_safetensors_is_refused(hub, shared):
    hub.publish("some-lab/old", {"pytorch_model.bin": b"a pickle", "config.json": b"{}"})
    with pytest.raises(BackendError, match="has no safetensors"):
        fetch("some-lab/old", to=shared, hub=hub)


@pytest.mark.parametrize("name", ["../etc", "a/../../b", "s3://a/b", "a/b/c", "", "a b"])
def test_what_is_no_hub_id_is_refused(name, shared, hub):
    with pytest.raises((ConfigError, BackendError), match=r"wanted a hub id|no folder"):
        local_weights(name)
    with pytest.raises(ConfigError, match="wanted a hub id"):
        fetch(name, to=shared, hub=hub)


def test_a_misspelt_name_of_a_single_file_names_the_nearest(shared, hub):
    with pytest.raises(ConfigError, match="did you mean 'raft-large'"):
        fetch("raft-larg", to=shared, hub=hub)


def test_an_own_folder_needs_no_lock(tmp_path):
    assert local_weights(str(tmp_path)) == tmp_path
    with pytest.raises(BackendError, match="there is no folder"):
        local_weights(str(tmp_path / "elsewhere"))


def test_an_own_copy_of_fetched_weights_is_checked_too(hub, shared, tmp_path):
    fetch(REPO, to=shared, hub=hub)
    shutil.copytree(shared.path(REPO), tmp_path / "copy")
    (tmp_path / "copy" / "config.json").write_bytes(b"{}")
    with pytest.raises(BackendError, match=r"config\.json"):
        local_weights(str(tmp_path / "copy"))


@pytest.mark.parametrize("content", [b"files: [", b"revision: 3", b"\xff"], ids=["yaml", "keys", "bytes"])
def test_a_damaged_lock_file_is_named(hub, shared, content):
    fetch(REPO, to=shared, hub=hub)
    shared.write(f"{REPO}/{LOCK_FILE}", content)
    with pytest.raises(BackendError, match=LOCK_FILE):
        local_weights(REPO)


def test_pickled_tensors_become_safetensors_of_the_same_names(hub, shared, monkeypatch):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    from vpdata.models import catalogue

    tensors = {"layers.0.weight": torch.arange(6.0).reshape(2, 3).T, "layers.0.bias": torch.ones(2)}
    url = hub.root / "head.pth"
    torch.save(tensors, url)
    known = hashlib.sha256(url.read_bytes()).hexdigest()
    head = catalogue.Published(
        name="head", licence="MIT", size_gb=0.0, models=(), url="https://example.org/head.pth", sha256=known[:8]
    )
    monkeypatch.setattr(catalogue, "PUBLISHED", (head,))
    lock = fetch("head", to=shared, hub=hub)
    found = load_file(local_weights("head") / "model.safetensors")
    assert lock.revision == known
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)

    other = dict(tensors, extra=torch.zeros(1))
    torch.save(other, url)
    with pytest.raises(BackendError, match="got SHA-256"):
        fetch("head", to=Folder(Path(shared.uri) / "second"), hub=hub)


def test_a_pickle_in_open_clips_layout_becomes_safetensors(hub, shared, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    torch.save({"logit_scale": torch.tensor(4.6)}, tmp_path / "pickle")
    files = {"open_clip_config.json": b"{}", "open_clip_pytorch_model.bin": (tmp_path / "pickle").read_bytes()}
    hub.publish("some-lab/clip", files)
    fetch("some-lab/clip", to=shared, hub=hub)
    folder = local_weights("some-lab/clip")
    assert load_file(folder / "open_clip_model.safetensors")["logit_scale"] == torch.tensor(4.6)
    assert sorted(path.name for path in folder.iterdir()) == [
        "open_clip_config.json",
        "open_clip_model.safetensors",
        LOCK_FILE,
    ]


def test_a_single_file_is_copied_from_its_url(tmp_path):
    (tmp_path / "there").write_bytes(b"content")
    HuggingFaceHub().file((tmp_path / "there").as_uri(), to=tmp_path / "here")
    assert (tmp_path / "here").read_bytes() == b"content"
    with pytest.raises(StorageError, match="cannot download"):
        HuggingFaceHub().file((tmp_path / "nowhere").as_uri(), to=tmp_path / "here")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", "got 3 bytes, wanted 100"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\nabc", "IncompleteRead"),
        (b"\x00garbage\r\n\r\n", "garbage"),
        (b"", "closed connection"),
    ],
    ids=["cut short", "cut in a chunk", "no HTTP", "nothing"],
)
def test_an_answer_of_a_server_that_is_not_whole_is_named(tmp_path, answer, message):
    def serve():
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as thread:
        thread.submit(serve)
        with pytest.raises(StorageError, match=f"cannot download .*{message}"):
            HuggingFaceHub().file(f"http://127.0.0.1:{server.getsockname()[1]}/head.pth", to=tmp_path / "here")


def test_a_pickle_of_what_safetensors_cannot_hold_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    from vpdata.models.pickled import rewrite

    torch.save({1: torch.ones(1)}, tmp_path / "numbered.pth")
    with pytest.raises(BackendError, match=r"numbered\.pth: got a dict, wanted a dictionary of tensors by name"):
        rewrite(tmp_path / "numbered.pth", tmp_path / "out.safetensors")
    for number, tensor in enumerate((torch.eye(2).to_sparse(), torch.ones(1, dtype=torch.complex128))):
        torch.save({"weight": tensor}, tmp_path / f"{number}.pth")
        with pytest.raises(BackendError, match=rf"{number}\.pth: got tensors that safetensors cannot hold"):
            rewrite(tmp_path / f"{number}.pth", tmp_path / "out.safetensors")


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    from vpdata.models.pickled import rewrite

    torch.save({"weight": torch.ones(1), "then": Path}, tmp_path / "bad.pth")
    with pytest.raises(BackendError, match=r"bad\.pth cannot be read as plain tensors"):
        rewrite(tmp_path / "bad.pth", tmp_path / "out.safetensors")
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(BackendError, match="got a list"):
        rewrite(tmp_path / "list.pth", tmp_path / "out.safetensors")


def recorded_revision(weights: str, **options: str) -> str:
    choice = ModelChoice(name="sam2", options={"weights": weights, **options})
    return models.describe("mask_tracker", choice).revision


def test_a_run_names_the_commit_of_what_was_fetched_though_nobody_set_it(hub, shared):
    assert recorded_revision(REPO) == "local"
    assert recorded_revision(REPO, revision="main") == "main"
    lock = fetch(REPO, to=shared, hub=hub, revision="main")
    assert recorded_revision(REPO) == recorded_revision(REPO, revision="main") == lock.revision
    # Not there, so refused before anything is opened.
    assert recorded_revision(REPO, revision="another") == "another"


def test_a_folder_of_ones_own_has_the_commit_that_its_lock_file_names(hub, shared, tmp_path, monkeypatch):
    lock = fetch(REPO, to=shared, hub=hub)
    monkeypatch.delenv("VPDATA_WEIGHTS")
    assert recorded_revision(str(tmp_path / "shared" / REPO)) == lock.revision
    (tmp_path / "own").mkdir()
    assert recorded_revision(str(tmp_path / "own")) == "local"
