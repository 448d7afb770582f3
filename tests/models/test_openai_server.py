"""One request to a caption server that is slow, rate-limits, errors, returns junk or hangs."""

from __future__ import annotations

import email.utils
import itertools
import logging
import threading
import time

import numpy as np
import pytest

from tests.caption_server import (
    breaks_off,
    drips,
    drips_headers,
    fails,
    falls_silent,
    floods,
    hangs,
    says,
    sends,
    serving,
    slowly,
)
from vpdata.config import fill
from vpdata.errors import BackendError, ConfigError
from vpdata.models.answers import Answer
from vpdata.models.openai_server import ChatServer, ServerSettings

KEY = "sk-planted-0123456789"
PLAIN = "What colour is this? Answer with one word."
PICTURE = np.zeros((64, 64, 3), np.uint8)
PICTURE[:, 32:] = (220, 30, 30)

JUNK = {
    "status 500": fails(500),
    "status 503": fails(503),
    "junk": sends(b"\x00\xff not JSON"),
    "truncated JSON": sends(b'{"choices": [{"message": {"content": "a re'),
    "broken off": breaks_off,
    "web page": sends(b"<html>sign in</html>", content_type="text/html"),
    "no content type": sends(b"hello", content_type=""),
    "no choices": sends(b'{"choices": []}'),
    "null choices": sends(b'{"choices": null}'),
    "list": sends(b"[]"),
    "number as text": says(7),
    "picture as text": says([{"type": "image_url"}]),
    "strings as parts": says(["a red square"]),
    "part without text": says([{"type": "text"}]),
    "deep": sends(b"[" * 200_000),
    "huge": sends(b'{"choices": "' + b"x" * 2_000_000 + b'"}'),
    "endless": floods,
    "broken compression": sends(b"no gzip", content_encoding="gzip"),
    "hang": hangs(5.0),
    "drip": drips(5.0),
}


@pytest.fixture
def server():
    with serving() as running:
        yield running


def client(server, *, sleep=time.sleep, **options):
    # Long beside the pauses of a busy machine.
    patience = {"request_timeout_s": 5.0, "max_attempts": 2, "wait_for_s": 4.0}
    return ChatServer(ServerSettings(base_url=server.base_url, model="a-vlm", **(patience | options)), sleep=sleep)


def patience_with(name):
    """For one kind of junk."""
    return {"request_timeout_s": 1.0} if name in ("hang", "drip") else {}


def no_sleep(seconds):
    """For tests of what is done, not when."""


def first(behaviour, *, num=1):
    """So for the first requests, well for all others."""
    return lambda prompt, number: behaviour if number < num else says("a red square")


def gaps_s(server):
    return [after.at_s - before.at_s for before, after in itertools.pairwise(server.asked)]


def test_server_gets_model_parameters_pictures_and_prompt(server, monkeypatch):
    monkeypatch.setenv("A_KEY", KEY)
    asking = client(server, api_key_env="A_KEY", parameters={"max_tokens": 7, "seed": 1})
    answer = asking.answer("Describe it.", images=[PICTURE])
    assert answer == Answer(text="An answer to Describe it.", input_tokens=100, output_tokens=10)
    (asked,) = server.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert (asked.body["model"], asked.body["max_tokens"], asked.body["seed"]) == ("a-vlm", 7, 1)
    ((message),) = asked.body["messages"]
    picture, text = message["content"]
    assert (message["role"], text) == ("user", {"type": "text", "text": "Describe it."})
    assert np.abs(decoded(picture["image_url"]["url"]).astype(int) - PICTURE).mean() < 4


def decoded(url):
    import io
    from urllib.request import urlopen

    from PIL import Image

    with urlopen(url) as data:
        return np.asarray(Image.open(io.BytesIO(data.read())))


def test_server_without_a_key_gets_none(server):
    client(server).answer("Describe it.", images=[])
    assert "authorization" not in server.asked[0].headers


def test_rate_limit_is_waited_out_as_long_as_the_server_says(server):
    server.choose = first(fails(429, retry_after="1"))
    assert client(server).answer("Describe it.", images=[]).text == "a red square"
    assert gaps_s(server)[0] >= 1.0


def test_rate_limit_may_be_a_date(server):
    server.choose = first(fails(429, retry_after=email.utils.formatdate(time.time() + 3, usegmt=True)))
    slept_s = []
    client(server, sleep=slept_s.append).answer("Describe it.", images=[])
    # The date has no fractions of a second, and the machine may be slow.
    assert 0.6 < max(slept_s) <= 3


@pytest.mark.parametrize("header", ["soon", "-3", "nan", "Wed, 99 Nov 2026 99:99:99 GMT", ""])
def test_senseless_retry_after_is_passed_over(server, header):
    server.choose = first(fails(503, retry_after=header))
    slept_s = []
    client(server, sleep=slept_s.append).answer("Describe it.", images=[])
    assert sum(slept_s) == pytest.approx(0.6, abs=0.1)


def test_rate_limit_of_one_request_holds_back_all(server):
    server.choose = lambda prompt, number: fails(429, retry_after="1") if number == 0 else says("yes")
    asking = client(server)
    limited = threading.Thread(target=asking.answer, args=("first",), kwargs={"images": []})
    limited.start()
    while not server.asked:
        time.sleep(0.01)
    time.sleep(0.1)
    asking.answer("second", images=[])
    limited.join()
    assert min(one.at_s for one in server.asked[1:]) - server.asked[0].at_s >= 1.0


def test_waits_grow_while_a_server_is_overloaded(server):
    server.choose = first(fails(429), num=9)
    slept_s = []
    asking = client(server, sleep=slept_s.append, wait_for_s=300.0)
    assert asking.answer("Describe it.", images=[]).text == "a red square"
    waits_s = [seconds for seconds in slept_s if seconds]
    wanted = [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert [low <= seconds <= 1.25 * low for low, seconds in zip(wanted, waits_s, strict=True)] == [True] * 9


@pytest.mark.parametrize("name", JUNK)
def test_request_that_failed_is_sent_again(server, name):
    server.choose = first(JUNK[name])
    asking = client(server, sleep=no_sleep, **patience_with(name))
    assert asking.answer("Describe it.", images=[PICTURE]).text == "a red square"
    assert len(server.asked) == 2


@pytest.mark.parametrize("name", ["status 500", "junk", "broken off", "endless", "hang"])
def test_request_that_fails_while_others_do_not_gets_no_answer(server, caplog, name):
    server.choose = lambda prompt, number: JUNK[name] if prompt == "bad" else says("grey")
    asking = client(server, sleep=no_sleep, **patience_with(name))
    assert asking.answer("bad", images=[PICTURE]) is None
    assert asking.answer("good", images=[PICTURE]).text == "grey"
    assert server.prompts == ["bad", "bad", PLAIN, "good"]
    assert [record.levelno for record in caplog.records if record.name.startswith("vpdata")] == [logging.WARNING]


@pytest.mark.parametrize("status", [408, 502, 503, 504])
def test_request_that_alone_gets_a_gateways_error_gets_no_answer(server, status):
    server.choose = lambda prompt, number: fails(status) if prompt == "bad" else says("grey")
    asking = client(server, sleep=no_sleep)
    assert asking.answer("bad", images=[PICTURE]) is None
    assert server.prompts == ["bad", "bad", PLAIN]


@pytest.mark.parametrize(
    "busy",
    [fails(425), fails(429), fails(529), *(fails(status, retry_after="0.01") for status in (408, 502, 503, 504))],
    ids=["425", "429", "529", "408 until", "502 until", "503 until", "504 until"],
)
def test_request_that_a_busy_server_puts_off_is_to_blame_for_nothing(server, busy):
    server.choose = first(busy, num=5)
    assert client(server, sleep=no_sleep).answer("Describe it.", images=[]).text == "a red square"
    assert server.prompts == ["Describe it."] * 6


def test_failures_of_a_server_that_answers_nobody_are_not_the_requests(server):
    server.choose = first(fails(502), num=4)
    assert client(server, sleep=no_sleep).answer("Describe it.", images=[]).text == "a red square"
    assert server.prompts == ["Describe it.", "Describe it.", PLAIN, "Describe it.", "Describe it."]


@pytest.mark.parametrize("name", ["status 500", "status 503", "web page", "no choices"])
def test_server_that_answers_nothing_well_stops_the_run(server, name):
    server.choose = lambda prompt, number: JUNK[name]
    with pytest.raises(BackendError, match="finished work is kept"):
        client(server, wait_for_s=1.2).answer("Describe it.", images=[])
    assert PLAIN in server.prompts


@pytest.mark.parametrize(
    "behaviour",
    [hangs(20.0), drips(20.0), drips_headers(20.0), falls_silent(0.35, 20.0)],
    ids=["hang", "dripping answer", "dripping header", "late silence"],
)
def test_server_that_never_finishes_stops_the_run_within_its_patience(server, behaviour):
    server.choose = lambda prompt, number: behaviour
    asking = client(server, request_timeout_s=0.4, wait_for_s=1.0)
    started = time.monotonic()
    with pytest.raises(BackendError, match="no whole answer within"):
        asking.answer("Describe it.", images=[])
    longest_silence_s = 1.0 + 3 * 0.4
    assert time.monotonic() - started < longest_silence_s + 5.0


def test_server_that_asks_for_more_patience_than_there_is_stops_the_run_at_once(server):
    server.choose = lambda prompt, number: fails(429, message="quota", retry_after="3600")
    with pytest.raises(BackendError, match="quota"):
        client(server).answer("Describe it.", images=[])
    assert len(server.asked) == 1


def test_server_that_is_down_is_waited_for():
    with serving() as gone:
        port = gone.server_port
    asking = client(gone)
    texts = []
    waiting = threading.Thread(target=lambda: texts.append(asking.answer("Describe it.", images=[]).text))
    waiting.start()
    time.sleep(0.7)
    assert not texts
    with serving(port):
        waiting.join()
    assert texts == ["An answer to Describe it."]


def test_server_that_stays_down_stops_the_run():
    with serving() as gone:
        pass
    with pytest.raises(BackendError, match="no connection"):
        client(gone, wait_for_s=0.6).answer("Describe it.", images=[])


def test_slow_answer_is_an_answer(server):
    server.choose = lambda prompt, number: slowly(0.3, says("at last"))
    assert client(server).answer("Describe it.", images=[]).text == "at last"


def test_patience_counts_from_the_last_answer_to_anybody(server):
    """One request is limited for longer than `wait_for_s` while others are answered: the server is not down."""
    server.choose = lambda prompt, number: fails(429) if prompt == "late" and number < 8 else says("yes")
    asking = client(server, wait_for_s=1.3)
    answers = []
    late = threading.Thread(target=lambda: answers.append(asking.answer("late", images=[])))
    late.start()
    while late.is_alive():
        asking.answer("other", images=[])
        time.sleep(0.2)
    assert answers[0].text == "yes"


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422])
def test_server_that_refuses_every_request_stops_the_run_at_once(server, status):
    server.choose = lambda prompt, number: fails(status, message="there is no such model")
    with pytest.raises(BackendError, match=f"status {status}.*no such model"):
        client(server).answer("Describe it.", images=[])
    assert len(server.asked) == 2


def test_request_that_alone_is_refused_gets_no_answer(server):
    server.choose = lambda prompt, number: fails(400, message="bad picture") if prompt == "bad" else says("grey")
    assert client(server).answer("bad", images=[PICTURE]) is None
    assert server.prompts == ["bad", PLAIN]
    assert [len(one.body["messages"][0]["content"]) for one in server.asked] == [2, 2]


NOISE = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)


def pictures_in(asked):
    return [part["image_url"]["url"] for part in asked.body["messages"][0]["content"] if part["type"] == "image_url"]


LIMITS = {
    "number of pictures": lambda asked: len(pictures_in(asked)) > 2,
    "size of a picture": lambda asked: any(decoded(url).size > 64 * 64 * 3 for url in pictures_in(asked)),
    "context": lambda asked: len(asked.prompt) > 300,
    "body": lambda asked: int(asked.headers["content-length"]) > 100_000,
}


@pytest.mark.parametrize("is_over", LIMITS.values(), ids=LIMITS)
def test_limit_that_a_small_question_keeps_within_stops_the_run_at_once(server, is_over):
    def judge(handler):
        (fails(400, message="over the limit") if is_over(server.asked[-1]) else says("grey"))(handler)

    server.choose = lambda prompt, number: judge
    with pytest.raises(
        BackendError, match=r"3 picture\(s\) of up to 320x240 px.*over the limit.*--limit-mm-per-prompt"
    ):
        client(server).answer("Describe it. " * 40, images=[PICTURE, NOISE, NOISE])
    _, plain = server.asked
    assert plain.prompt.startswith(PLAIN)
    assert [decoded(url).shape for url in pictures_in(plain)] == [(64, 64, 3), NOISE.shape, NOISE.shape]
    assert all((decoded(url) == 128).all() for url in pictures_in(plain))
    assert client(server).answer("Describe it.", images=[PICTURE]).text == "grey"


def test_large_request_that_a_gateway_gives_up_gets_no_text_while_small_ones_are_answered(server):
    def judge(handler):
        (fails(504) if len(pictures_in(server.asked[-1])) > 1 else says("grey"))(handler)

    server.choose = lambda prompt, number: judge
    one = client(server, sleep=no_sleep, max_attempts=2)
    assert one.answer("Describe it.", images=[PICTURE]).text == "grey"
    assert one.answer("Describe it.", images=[PICTURE, NOISE]) is None
    assert one.num_unfinished == 1


def test_plain_question_is_no_longer_than_what_was_refused_for_its_words(server):
    words = "Describe it. " * 40

    def judge(handler):
        prompt = server.asked[-1].prompt
        (fails(400) if prompt == words or len(prompt) > len(words) else says("grey"))(handler)

    server.choose = lambda prompt, number: judge
    assert client(server).answer(words, images=[]) is None


def test_refusal_is_judged_only_when_the_server_has_time_for_a_plain_question(server):
    server.choose = lambda prompt, number: {0: fails(400), 1: fails(429), 2: fails(400)}.get(number, says("grey"))
    assert client(server, sleep=no_sleep).answer("bad", images=[]) is None
    assert server.prompts == ["bad", PLAIN, "bad", PLAIN]


def test_key_appears_in_no_error_and_no_log(server, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("A_KEY", KEY)
    server.choose = lambda prompt, number: fails(401, message=f"Incorrect key: {KEY} {'x' * 200} {KEY}")
    asking = client(server, api_key_env="A_KEY")
    with pytest.raises(BackendError) as caught:
        asking.answer("Describe it.", images=[])
    assert "Incorrect key: [key]" in str(caught.value)
    assert len(server.asked) == 2
    assert KEY not in repr(caught.value) + repr(caught.value.__cause__) + caplog.text + repr(
        asking.__dict__["_settings"]
    )


def test_key_that_a_broken_off_answer_quotes_appears_in_no_log(server, monkeypatch, caplog):
    monkeypatch.setenv("A_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    server.choose = lambda prompt, number: says("half", error={"message": KEY}) if prompt == "hard" else says("grey")
    assert client(server, api_key_env="A_KEY", max_attempts=1).answer("hard", images=[]) is None
    assert "the server failed on the way" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize("value", [None, "", "  ", "two words", "line\nbreak", "schlüssel"])
def test_missing_or_senseless_key_names_the_variable_alone(server, monkeypatch, value):
    if value is None:
        monkeypatch.delenv("A_KEY", raising=False)
    else:
        monkeypatch.setenv("A_KEY", value)
    with pytest.raises(BackendError, match="environment variable A_KEY") as caught:
        client(server, api_key_env="A_KEY")
    assert not (value or "").strip() or value not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"base_url": "localhost:8000"}, "base_url"),
        ({"base_url": "ftp://host/v1"}, "base_url"),
        ({"base_url": "http://host:99999/v1"}, "Port"),
        ({"base_url": "https://user:secret-word@host/v1"}, "api_key_env"),
        ({"base_url": "https://host/v1?key=secret-word"}, "api_key_env"),
        ({"concurrency": 0}, "concurrency"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"request_timeout_s": 0}, "request_timeout_s"),
        ({"wait_for_s": float("nan")}, "wait_for_s"),
        ({"parameters": {"stream": True}}, "stream"),
        ({"parameters": {"messages": []}}, "messages"),
    ],
)
def test_wrong_settings_are_refused(options, match):
    with pytest.raises(ConfigError, match=match) as caught:
        fill(ServerSettings, {"base_url": "http://host/v1", "model": "m"} | options, where="captioner")
    assert "secret-word" not in str(caught.value)
