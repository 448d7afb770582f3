"""Many captions from a server: at once, in order, paid once."""

from __future__ import annotations

import json
import socket
import threading
import time

import numpy as np
import pytest

from tests.caption_server import fails, says, serving, slowly
from tests.fakes import make_clip, squares_film
from vpdata import models
from vpdata.config import ModelChoice, to_plain
from vpdata.errors import BackendError, ConfigError, StorageError
from vpdata.models.answers import question_key
from vpdata.models.openai_captioner import Cost, OpenAICaptioner, OpenAICaptionerSettings
from vpdata.models.ports import CaptionRequest

FRAMES = squares_film({"red square": [(4 * frame, 8, 4 * frame + 24, 40) for frame in range(8)]})


@pytest.fixture
def server():
    with serving() as running:
        yield running


def captioner(server, **options):
    patience = {"request_timeout_s": 5.0, "max_attempts": 2, "wait_for_s": 0.4}
    return OpenAICaptioner(OpenAICaptionerSettings(base_url=server.base_url, model="a-vlm", **(patience | options)))


def request(number, *, is_track=False):
    record, _ = make_clip(FRAMES)
    images = FRAMES[[0, 4]]
    return CaptionRequest(
        record=record,
        track=1 if is_track else None,
        frames=(0, 4),
        images=images,
        masks=(images == (220, 30, 30)).all(axis=-1) if is_track else None,
        prompt_name="dense_clip",
        prompt=f"Question {number}",
    )


PLAIN = "What colour is this? Answer with one word."
REQUESTS = [request(number) for number in range(8)]


def test_texts_come_in_the_order_of_the_requests(server):
    server.choose = lambda prompt, number: slowly(0.02 * (8 - int(prompt.split()[1])), says(f"Answer to {prompt}"))
    texts = captioner(server, concurrency=8).caption(REQUESTS)
    assert texts == [f"Answer to Question {number}" for number in range(8)]
    assert captioner(server).caption([]) == []


def test_requests_are_on_their_way_at_once_and_no_more_than_allowed(server):
    all_there = threading.Barrier(4, timeout=10)

    def meet(handler):
        all_there.wait()
        says("We met.")(handler)

    server.choose = lambda prompt, number: meet
    assert captioner(server, concurrency=4).caption(REQUESTS) == ["We met."] * 8
    assert server.most_at_once == 4


def test_an_object_is_shown_outlined_and_alone(server):
    captioner(server).caption([request(0), request(0, is_track=True)])
    num_parts = sorted(len(one.body["messages"][0]["content"]) for one in server.asked)
    assert num_parts == [2 + 1, 2 * 2 + 1]


def test_request_that_fails_alone_costs_the_others_nothing(server):
    server.choose = lambda prompt, number: fails(422) if prompt == "Question 3" else says("Fine.")
    assert captioner(server).caption(REQUESTS) == ["Fine."] * 3 + [""] + ["Fine."] * 4
    assert len(server.asked) == 8 + 1


def test_finished_work_is_never_paid_twice(server, tmp_path):
    first = captioner(server, answers=str(tmp_path))
    texts = first.caption(REQUESTS[:3])
    assert captioner(server, answers=str(tmp_path)).caption(REQUESTS) == [
        *texts,
        *captioner(server).caption(REQUESTS[3:]),
    ]
    assert sorted(server.prompts) == sorted(one.prompt for one in [*REQUESTS, *REQUESTS[3:]])
    num_asked = len(server.asked)
    assert captioner(server, answers=str(tmp_path)).caption(REQUESTS[:3]) == texts
    assert len(server.asked) == num_asked


def test_another_revision_has_answers_of_its_own(server, tmp_path):
    for revision in ("1", "2", "1", "2"):
        server.choose = lambda prompt, number, revision=revision: says(f"Text of {revision}.")
        asking = captioner(server, answers=str(tmp_path), revision=revision)
        assert asking.caption(REQUESTS[:1]) == [f"Text of {revision}."]
    assert len(server.asked) == 2


def test_answers_outlive_a_server_that_breaks_down(server, tmp_path):
    server.choose = lambda prompt, number: says(f"Answer to {prompt}") if number < 5 else fails(503)
    with pytest.raises(BackendError, match="finished work is kept"):
        captioner(server, answers=str(tmp_path), concurrency=1).caption(REQUESTS)
    num_asked = len(server.asked)
    server.choose = lambda prompt, number: says(f"Answer to {prompt}")
    texts = captioner(server, answers=str(tmp_path), concurrency=1).caption(REQUESTS)
    assert texts == [f"Answer to Question {number}" for number in range(8)]
    assert server.prompts[num_asked:] == ["Question 5", "Question 6", "Question 7"]


@pytest.mark.parametrize(
    "declined",
    [says("", finish_reason="content_filter"), says(None, message={"refusal": "No."}), fails(400, code="safety")],
)
def test_answers_that_were_declined_are_kept_too(server, tmp_path, declined):
    server.choose = lambda prompt, number: declined
    for _ in range(2):
        assert captioner(server, answers=str(tmp_path)).caption(REQUESTS[:1]) == [""]
    assert len(server.asked) == 1


@pytest.mark.parametrize("silent", [says(""), says(None), says(None, message={"role": "assistant"})])
def test_silence_is_not_kept_for_an_answer(server, tmp_path, silent):
    server.choose = lambda prompt, number: silent if number == 0 else says("Fine.")
    assert captioner(server, answers=str(tmp_path)).caption(REQUESTS[:1]) == [""]
    assert captioner(server, answers=str(tmp_path)).caption(REQUESTS[:1]) == ["Fine."]


@pytest.mark.parametrize("failure", [fails(400), says(None, finish_reason="length")], ids=["refused", "used up"])
def test_request_that_failed_is_asked_again_in_the_next_run(server, tmp_path, failure):
    server.choose = lambda prompt, number: failure if number == 0 else says("Fine.")
    assert captioner(server, answers=str(tmp_path)).caption(REQUESTS[:1]) == [""]
    assert captioner(server, answers=str(tmp_path)).caption(REQUESTS[:1]) == ["Fine."]


@pytest.mark.parametrize(
    "failure", [says(None, finish_reason="length"), fails(504)], ids=["tokens used up", "out of time"]
)
def test_server_that_finishes_plain_answers_alone_stops_the_run(server, tmp_path, failure):
    requests = [request(number) for number in range(22)]
    server.choose = lambda prompt, number: failure if prompt.startswith("Question") else says("Grey.")
    with pytest.raises(BackendError, match=r"none of the first 20 answers.*raise max_tokens"):
        captioner(server, concurrency=1, max_attempts=1).caption(requests)
    # One that was answered, now or earlier, shows that it can.
    server.choose = lambda prompt, number: failure if prompt not in ("Question 0", PLAIN) else says("Fine.")
    for _ in range(2):
        asking = captioner(server, concurrency=1, max_attempts=1, answers=str(tmp_path))
        assert asking.caption(requests) == ["Fine."] + [""] * 21


def test_requests_that_are_refused_one_by_one_stop_no_run(server):
    server.choose = lambda prompt, number: fails(400) if prompt.startswith("Question") else says("Grey.")
    assert captioner(server).caption([request(number) for number in range(24)]) == [""] * 24


def test_damaged_answer_is_named_and_not_paid_again_in_silence(server, tmp_path):
    captioner(server, answers=str(tmp_path)).caption(REQUESTS[:1])
    (file,) = tmp_path.rglob("*.json")
    for damage in ("{", "[]", json.dumps({"text": "x"})):
        file.write_text(damage)
        with pytest.raises(StorageError, match=file.name):
            captioner(server, answers=str(tmp_path)).caption(REQUESTS[:1])


def test_key_of_an_answer_holds_all_that_it_depends_on():
    common = {"model": "a", "revision": "1", "prompt": "p", "images": [FRAMES[0], FRAMES[1]]}
    common["parameters"] = {"seed": 1, "top_p": 0.5}
    keys = {
        question_key(**(common | change))
        for change in (
            {},
            {"model": "b"},
            {"revision": "2"},
            {"prompt": "q"},
            {"images": [FRAMES[1], FRAMES[0]]},
            {"images": [FRAMES[0]]},
            {"images": [FRAMES[0].reshape(96, 64, 3), FRAMES[1]]},
            {"parameters": {"seed": 2, "top_p": 0.5}},
        )
    }
    assert len(keys) == 8
    assert question_key(**common) == question_key(**(common | {"parameters": {"top_p": 0.5, "seed": 1}}))
    assert question_key(**common) == question_key(**(common | {"images": [np.array(one) for one in common["images"]]}))


def test_cost_is_counted_from_tokens_and_prices(server, tmp_path, caplog):
    caplog.set_level("INFO")
    server.choose = lambda prompt, number: says("Fine.", input_tokens=2_000, output_tokens=50)
    prices = {"usd_per_million_input_tokens": 2.5, "usd_per_million_output_tokens": 10.0}
    asking = captioner(server, answers=str(tmp_path), **prices)
    assert asking.cost == Cost()
    asking.caption(REQUESTS[:4])
    asking.caption(REQUESTS[2:5])
    # 5 answers: 10 000 tokens at 2.5 and 250 at 10 USD per million.
    usd = pytest.approx(0.025 + 0.0025)
    assert asking.cost == Cost(num_paid=5, num_kept=2, input_tokens=10_000, output_tokens=250, usd=usd)
    assert "a-vlm, this worker so far: 5 answers paid and 2 kept, 10000 tokens in, 250 out, 0.0275 USD" in caplog.text


def test_cost_holds_what_came_to_nothing_and_no_request_that_was_refused_unread(server):
    behaviours = {
        "Question 0": says("Fine.", input_tokens=100, output_tokens=10),
        "Question 1": says(None, finish_reason="length", input_tokens=100, output_tokens=512),
        "Question 2": fails(400, code="content_filter"),
        "Question 3": says("", finish_reason="content_filter", input_tokens=100, output_tokens=1),
    }
    plain = says("grey", input_tokens=20, output_tokens=2)
    server.choose = lambda prompt, number: behaviours.get(prompt, plain)
    asking = captioner(server, usd_per_million_output_tokens=1000.0)
    assert asking.caption(REQUESTS[:4]) == ["Fine.", "", "", ""]
    assert asking.cost == Cost(num_paid=2, input_tokens=320, output_tokens=525, usd=pytest.approx(0.525))


def test_key_reaches_no_file_card_or_setting(server, tmp_path, monkeypatch):
    monkeypatch.setenv("A_KEY", "sk-planted-0123456789")
    options = {"base_url": server.base_url, "model": "a-vlm", "api_key_env": "A_KEY", "answers": str(tmp_path)}
    choice = ModelChoice(name="openai", options=options)
    models.maker("captioner", choice)().caption(REQUESTS[:2])
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"Answer" in written or b"answer" in written
    told = repr(models.describe("captioner", choice)) + repr(to_plain(choice))
    assert b"sk-planted" not in written
    assert "sk-planted" not in told


def test_moving_the_server_or_its_prices_changes_nothing_that_a_run_depends_on():
    choices = [
        ModelChoice(name="openai", options={"base_url": url, "model": "m", "usd_per_million_input_tokens": price})
        for url, price in (("http://one/v1", 1.0), ("http://two/v1", 2))
    ]
    one, two = (models.describe("captioner", choice) for choice in choices)
    assert one == two
    assert one.name == "openai m"


@pytest.mark.parametrize(
    ("parameters", "sent"),
    [
        ({}, {"max_tokens": 512, "temperature": 0.0}),
        (
            {"chat_template_kwargs": {"enable_thinking": False}},
            {"max_tokens": 512, "temperature": 0.0, "chat_template_kwargs": {"enable_thinking": False}},
        ),
        ({"max_tokens": None, "temperature": None, "max_completion_tokens": 900}, {"max_completion_tokens": 900}),
        ({"temperature": 0.5}, {"max_tokens": 512, "temperature": 0.5}),
    ],
)
def test_parameters_stand_beside_the_usual_ones(parameters, sent, server):
    assert captioner(server, parameters=parameters).caption([request(0)]) == ["An answer to Question 0"]
    (asked,) = server.asked
    assert {name: value for name, value in asked.body.items() if name not in ("model", "messages")} == sent
    options = {"base_url": server.base_url, "model": "m", "parameters": parameters}
    card = models.describe("captioner", ModelChoice(name="openai", options=options))
    assert card.options == {"parameters": sent}


def test_no_text_is_lost_where_our_own_requests_keep_each_other_waiting(server):
    """A server that answers one at a time, and as vLLM does drops those whose client has hung up."""
    is_free = threading.Lock()

    def in_turn(handler):
        with is_free:
            handler.connection.setblocking(False)
            try:
                has_left = handler.connection.recv(1, socket.MSG_PEEK) == b""
            except BlockingIOError:
                has_left = False
            handler.connection.setblocking(True)
            if not has_left:
                time.sleep(0.3)
                says("Fine.")(handler)

    server.choose = lambda prompt, number: in_turn
    asking = captioner(server, concurrency=12, max_attempts=2, request_timeout_s=1.3, wait_for_s=60.0)
    assert asking.caption([request(number) for number in range(12)]) == ["Fine."] * 12
    assert len(server.asked) > 12


def test_wrong_options_are_refused():
    for wrong in ({"usd_per_million_input_tokens": -1}, {"api_key": "sk-1"}, {"answer": "x"}):
        options = {"base_url": "http://host/v1", "model": "m"} | wrong
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            models.describe("captioner", ModelChoice(name="openai", options=options))
