"""The study over HTTP, as a participant and as a stranger."""

from __future__ import annotations

import io
import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import av
import httpx
import numpy as np
import pytest

from benchmark.bench import open_bench
from benchmark.results import open_results
from benchmark.study.ballots import QUESTIONS
from benchmark.study.store import Store
from tests.benchmark.study.studies import METHODS, Participant, Served

Newcomer = Callable[[], Participant]


def decoded(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def kept(material: Path, participant: Participant) -> int:
    """How many pages the file holds answers to, by a connection of its own."""
    number = int(participant.client.headers["authorization"].split()[1].partition("-")[0])
    store = Store(material / "study.db")
    try:
        return store.progress(number)[0]
    finally:
        store.close()


def test_a_participant_answers_page_by_page_to_the_end_and_every_answer_is_kept(material: Path, newcomer: Newcomer):
    participant = newcomer()
    state = participant.page()
    # Four cases with all results and a check: of s-3 a method has none.
    assert (state["answered"], state["total"], state["page"]["ballot"]) == (0, 5, 1)
    assert participant.answer_all() == 5
    assert participant.page() == {"answered": 5, "total": 5, "page": None}
    assert kept(material, participant) == 5


def test_what_a_participant_receives_names_no_method_case_or_check(study: Served, newcomer: Newcomer):
    participant = newcomer()
    received = [participant.client.get(path) for path in ("/", "/study.css", "/study.js")]
    addresses = []
    while page := participant.page()["page"]:
        received.append(participant.client.get("/api/page"))
        addresses += [page["reference"], *page["videos"]]
        assert len(page["videos"]) == len(METHODS)
        assert set(page) == {"ballot", "text", "region", "instruction", "reference", "videos"}
        participant.answer(page["ballot"])
    received += [participant.client.get(address) for address in addresses]
    assert len(set(addresses)) == len(addresses)
    assert all(re.fullmatch(r"/videos/[A-Za-z0-9_-]{22}", address) for address in addresses)
    for reply in received:
        assert reply.status_code == 200
        # Addresses are random, and may hold a short name by chance.
        told = re.sub(rb"/videos/[A-Za-z0-9_-]{22}", b"", reply.content + json.dumps(dict(reply.headers)).encode())
        for name in (*METHODS, "s-0", "s-1", "s-2", "edit-s-0", ":original", "broken", "is_check"):
            assert name.encode() not in told, (reply.url, name)
    times = {reply.headers.get("last-modified") for reply in received if "videos" in str(reply.url)}
    assert len(times) == 1  # when a file was written would tell the methods apart


def test_two_participants_share_no_address_and_see_the_same_videos(newcomer: Newcomer):
    seen = []
    for participant in (newcomer(), newcomer()):
        addresses = []
        while page := participant.page()["page"]:
            addresses += page["videos"]
            participant.answer(page["ballot"])
        seen.append({address: participant.client.get(address).content for address in addresses})
    assert not seen[0].keys() & seen[1].keys()
    assert sorted(seen[0].values()) == sorted(seen[1].values())


def test_each_page_shows_every_method_once_and_the_check_the_original_beside_broken_copies(
    material: Path, newcomer: Newcomer
):
    bench, results = open_bench(material / "bench"), open_results(material / "results")
    truth = {(case.id, "original"): bench.sampled(case).frames for case in bench.cases}
    for case in bench.cases:
        truth |= {(case.id, name): results.frames(name, case.id) for name in METHODS if case.id != "s-3"}
    participant = newcomer()
    seen: dict[str, list[str]] = {}
    while page := participant.page()["page"]:
        found = []
        for address in page["videos"]:
            frames = decoded(participant.client.get(address).content).astype(float)
            errors = {key: np.abs(frames - one).mean() for key, one in truth.items() if one.shape == frames.shape}
            best = min(errors, key=errors.__getitem__, default=("", ""))
            found.append(best if errors and errors[best] < 15 else ("", "broken"))
        (case_id,) = {case_id for case_id, name in found if name != "broken"}
        assert page["text"] == bench.case(case_id).prompt
        reference = decoded(participant.client.get(page["reference"]).content).astype(float)
        outline = np.abs(reference - truth[case_id, "original"]).mean(axis=(0, 3)) > 20
        assert 0.01 < outline.mean() < 0.6
        seen.setdefault(case_id, []).append(" ".join(sorted(name for _, name in found)))
        participant.answer(page["ballot"])
    check = "broken broken original"
    assert sorted(seen) == ["edit-s-0", "s-0", "s-1", "s-2"] or seen.pop("s-3") == [check]
    pages = [names for one in seen.values() for names in one if names != check]
    assert pages == [" ".join(METHODS)] * 4


def test_videos_are_served_in_ranges(newcomer: Newcomer):
    participant = newcomer()
    address = participant.page()["page"]["videos"][0]
    whole = participant.client.get(address)
    assert (whole.headers["content-type"], whole.headers["accept-ranges"]) == ("video/mp4", "bytes")
    part = participant.client.get(address, headers={"Range": "bytes=10-19"})
    assert part.status_code == 206
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    assert part.content == whole.content[10:20]
    assert participant.client.get(address, headers={"Range": "bytes=99999999-"}).status_code == 416


@pytest.mark.parametrize(
    "token", ["", "1", "1-", "1-AAAAAAAAAAAAAAAAAAAAAA", "x-y", "999-AAAAAAAAAAAAAAAAAAAAAA", "-", "é"]
)
def test_an_invalid_token_reads_and_writes_nothing(study: Served, token: str):
    headers = {"Authorization": f"Bearer {token}".rstrip().encode("latin-1")}
    with httpx.Client(base_url=study.url, headers=headers) as client:
        answers = {"ballot": 1, **dict.fromkeys(QUESTIONS, 0)}
        for reply in (client.get("/api/page"), client.post("/api/answers", json=answers)):
            assert reply.status_code in (401, 429)
            assert set(reply.json()) == {"detail"}


def test_a_token_of_one_with_the_number_of_another_is_refused(study: Served):
    secret = study.tokens[0].partition("-")[2]
    assert Participant(study, f"2-{secret}").client.get("/api/page").status_code in (401, 429)
    assert httpx.get(f"{study.url}/api/page").status_code in (401, 429)


def test_guessing_tokens_is_slowed_down_and_holds_up_nobody_with_a_right_one(study: Served, newcomer: Newcomer):
    with httpx.Client(base_url=study.url) as client:
        codes = [
            client.get("/api/page", headers={"Authorization": f"Bearer 1-{number}"}).status_code for number in range(60)
        ]
    assert set(codes) <= {401, 429}
    assert codes[-1] == 429
    assert newcomer().client.get("/api/page").status_code == 200


@pytest.mark.slow
def test_a_participant_who_asks_too_fast_is_slowed_down_alone(newcomer: Newcomer):
    hasty, patient = newcomer(), newcomer()
    codes = (hasty.client.get("/api/page").status_code for _ in range(400))
    assert next((number for number, code in enumerate(codes) if code == 429), None) is not None
    assert patient.client.get("/api/page").status_code == 200


def test_an_answer_sent_again_is_kept_once_and_another_is_refused(material: Path, newcomer: Newcomer):
    participant = newcomer()
    assert participant.answer(1, 1).status_code == 204
    assert participant.answer(1, 1).status_code == 204
    other = participant.answer(1, 2)
    assert other.status_code == 409
    assert "final" in other.json()["detail"]
    assert kept(material, participant) == 1
    store = Store(material / "study.db")
    number = int(participant.client.headers["authorization"].split()[1].partition("-")[0])
    assert {one.place for one in store.answers() if one.participant == number} == {1}
    store.close()


@pytest.mark.parametrize("ballot", [2, 5, 6, 99_999])
def test_a_page_that_is_not_due_or_not_there_is_refused(material: Path, newcomer: Newcomer, ballot: int):
    participant = newcomer()
    assert participant.answer(ballot).status_code == 409
    assert kept(material, participant) == 0


def test_what_is_no_answer_is_refused(material: Path, newcomer: Newcomer):
    participant = newcomer()
    assert participant.answer(1, 3).status_code == 409  # the page has three videos
    good = {"ballot": 1, "background": 0, "text": 0, "quality": 0}
    bad = [{**good, "text": value} for value in (-1, 8, 1.5, "0", True, None, [0])]
    bad += [{**good, "participant": 2}, {name: good[name] for name in list(good)[:-1]}, [], "x", {**good, "ballot": 0}]
    for answers in bad:
        assert participant.client.post("/api/answers", json=answers).status_code == 422, answers
    for content in (b"", b"{", b"\xff\x00", b"[" * 2000, b'{"ballot": "\\ud800"}'):
        reply = participant.client.post("/api/answers", content=content, headers={"Content-Type": "application/json"})
        assert reply.status_code in (400, 422)
    assert kept(material, participant) == 0


def test_a_large_body_is_refused_also_when_its_length_is_not_told(material: Path, newcomer: Newcomer):
    participant = newcomer()
    headers = {"Content-Type": "application/json"}
    assert participant.client.post("/api/answers", content=b" " * 5000, headers=headers).status_code == 413
    pieces = (b" " * 1000 for _ in range(6))
    assert participant.client.post("/api/answers", content=pieces, headers=headers).status_code == 413
    assert kept(material, participant) == 0


@pytest.mark.slow
def test_a_body_that_never_ends_is_given_up(study: Served):
    host, port = study.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"POST /api/answers HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        began = time.monotonic()
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began < 30


@pytest.mark.parametrize("path", ["/", "/study.js", "/api/page", "/videos/x", "/nothing", "/videos/..%2f..%2fstudy.db"])
def test_every_reply_carries_the_policy(study: Served, path: str):
    reply = httpx.get(study.url + path)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"
    if path.startswith(("/videos", "/nothing")):
        assert reply.status_code == 404


def test_the_page_holds_no_script_or_style_and_nothing_of_others(study: Served):
    text = httpx.get(study.url).text
    assert re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL) == [(' src="/study.js" defer', "")]
    assert not re.search(r"<style|style=|\son\w+=|https?:", text)


def test_another_name_for_this_machine_is_refused(study: Served):
    assert httpx.get(study.url, headers={"Host": "evil.example"}).status_code == 400


def test_the_documents_of_the_framework_are_not_served(study: Served):
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert httpx.get(study.url + path).status_code == 404


def test_the_file_holds_no_token_and_is_the_owners_alone(study: Served, material: Path):
    assert {path.stat().st_mode & 0o777 for path in material.glob("study.db*") if path.is_file()} == {0o600}
    held = b"".join(path.read_bytes() for path in material.glob("study.db*") if path.is_file())
    for token in study.tokens:
        assert token.encode() not in held
        assert token.partition("-")[2].encode() not in held
