"""What a caption server replies, as vLLM, gateways and reasoning models write it, by way of a whole request."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.caption_server import Behaviour, fails, says, sends, serving
from vpdata.errors import BackendError
from vpdata.models.answers import Answer
from vpdata.models.openai_server import ChatServer, ServerSettings

PLAIN = "What colour is this? Answer with one word."
PICTURE = np.full((64, 64, 3), (220, 30, 30), np.uint8)


@pytest.fixture
def server():
    with serving() as running:
        yield running


def client(server) -> ChatServer:
    settings = ServerSettings(
        base_url=server.base_url, model="a-vlm", request_timeout_s=5.0, max_attempts=2, wait_for_s=4.0
    )
    return ChatServer(settings)


@pytest.mark.parametrize(
    "refusal",
    [
        fails(400, code="content_policy_violation"),
        fails(403, code="moderation_blocked"),
        sends(
            json.dumps({"error": {"code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}).encode(),
            status=400,
        ),
        says("half a sen", finish_reason="content_filter"),
        says("I'm sorry", message={"content": None, "refusal": "I can't help with that."}),
        says(None),
        says(""),
        says(" \n\u200b"),
        says([{"type": "refusal", "refusal": "I can't help with that."}]),
        says("", finish_reason="content_filter"),
        says("half a sen", finish_reason="SAFETY"),
        says("half a sen", finish_reason="content_filter: PROHIBITED_CONTENT"),
    ],
)
def test_refusal_for_content_is_an_empty_answer(server, refusal):
    server.choose = lambda prompt, number: refusal
    assert client(server).answer("Describe it.", images=[]).text == ""
    assert len(server.asked) == 1


def test_text_may_come_in_parts(server):
    parts = [
        {"type": "thinking", "thinking": "I see red."},
        {"type": "text", "text": "a red "},
        {"type": "text", "text": "square"},
    ]
    server.choose = lambda prompt, number: says(parts, input_tokens=70, output_tokens=5)
    answer = client(server).answer("Describe it.", images=[PICTURE])
    assert answer == Answer(text="a red square", input_tokens=70, output_tokens=5)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "said",
    [
        says("<think>I see\nred.</think>\n\na red square"),
        says("I see red.</think>a red square"),
        says([{"type": "output_text", "text": "a red square"}]),
    ],
)
def test_reasoning_is_no_part_of_the_answer(server, said):
    server.choose = lambda prompt, number: said
    assert client(server).answer("Describe it.", images=[PICTURE]).text == "a red square"


def error_in_a_body(code: object) -> Behaviour:
    """An error as gateways send it that have answered 200 already."""
    return sends(json.dumps({"error": {"message": "no", "code": code}}).encode())


@pytest.mark.parametrize("code", [429, "503", 502])
def test_error_in_the_body_of_a_200_is_waited_out(server, code):
    server.choose = lambda prompt, number: error_in_a_body(code) if number == 0 else says("a square")
    assert client(server).answer("Describe it.", images=[]).text == "a square"
    assert len(server.asked) == 2


@pytest.mark.parametrize("failure", [{"finish_reason": "error"}, {"error": {"code": 502, "message": "lost"}}])
def test_answer_that_broke_off_on_the_servers_side_is_asked_for_again(server, failure):
    server.choose = lambda prompt, number: says("half a capt", **failure) if number == 0 else says("a square")
    asking = client(server)
    assert asking.answer("Describe it.", images=[]).text == "a square"
    assert asking.spent == (200, 20)


def test_refusal_in_the_body_of_a_200_costs_one_request_its_text(server, caplog):
    server.choose = lambda prompt, number: says("grey") if prompt == PLAIN else error_in_a_body(400)
    assert client(server).answer("hard", images=[PICTURE]) is None
    assert "status 400" in caplog.text


def test_tokens_of_an_answer_that_cannot_be_read_are_counted(server):
    unreadable = says([{"type": "image", "image": "x"}], input_tokens=7, output_tokens=3)
    server.choose = lambda prompt, number: unreadable if number == 0 else says("a square")
    asking = client(server)
    assert asking.answer("Describe it.", images=[]).text == "a square"
    assert asking.spent == (107, 13)


USED_UP = {
    "reasoning without an end": says("<think>I see red", finish_reason="length", output_tokens=512),
    "in capitals": says("", finish_reason="MAX_TOKENS", output_tokens=512),
    "by another word": says("", finish_reason="max_tokens", output_tokens=512),
    "no content": says(None, finish_reason="length", output_tokens=512),
    "empty content": says("\n", finish_reason="length", output_tokens=512),
    "reasoning alone": says([{"type": "thinking"}], finish_reason="length", output_tokens=512),
}


@pytest.mark.parametrize("used_up", USED_UP.values(), ids=USED_UP.keys())
def test_model_that_used_up_its_tokens_has_not_answered(server, caplog, used_up):
    server.choose = lambda prompt, number: used_up if prompt == "hard" else says("grey")
    asking = client(server)
    assert asking.answer("hard", images=[PICTURE]) is None
    assert server.prompts == ["hard", PLAIN]
    assert "512 tokens were used up before the first word" in caplog.text
    assert asking.spent == (200, 522)


def test_model_that_always_uses_up_its_tokens_stops_the_run_at_once(server):
    server.choose = lambda prompt, number: USED_UP["no content"]
    with pytest.raises(BackendError, match="raise max_tokens"):
        client(server).answer("Describe it.", images=[])
    assert len(server.asked) == 2


def test_answer_is_text_and_nothing_else(server):
    server.choose = lambda prompt, number: says("  a\x00 <b>red\x1b[31m</b>\u202e square\r\n\tmoves\ud800 \n")
    assert client(server).answer("Describe it.", images=[]).text == "a <b>red[31m</b> square\n moves"


@pytest.mark.parametrize("usage", [b"null", b"[]", b'{"prompt_tokens": -5, "completion_tokens": "many"}'])
def test_senseless_token_counts_are_none(server, usage):
    completion = b'{"choices": [{"message": {"content": "a square"}}], "usage": ' + usage + b"}"
    server.choose = lambda prompt, number: sends(completion)
    answer = client(server).answer("Describe it.", images=[])
    assert answer == Answer(text="a square", input_tokens=0, output_tokens=0)
