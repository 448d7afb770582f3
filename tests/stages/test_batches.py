"""Batches over the borders of items, against hand-made expectations."""

from __future__ import annotations

import itertools
import threading

import pytest

from vpdata.errors import Reason, RejectItem
from vpdata.stages.batches import Again, ask_in_batches

BAD = -1


class Doubler:
    """Doubles numbers; refuses any batch that holds a bad one."""

    def __init__(self):
        self.batches = []

    def __call__(self, requests):
        self.batches.append(list(requests))
        if BAD in requests:
            raise RejectItem(Reason.GPU_MEMORY, "too large")
        return [2 * request for request in requests]


def asked(items, *, batch_size):
    ask = Doubler()
    answers = list(ask_in_batches(items, requests_of=lambda item: item, ask=ask, batch_size=batch_size))
    return answers, ask.batches


def test_batches_are_filled_over_the_borders_of_items():
    answers, batches = asked([(1, 2, 3), (4,), (5, 6, 7)], batch_size=2)
    assert answers == [((1, 2, 3), [2, 4, 6]), ((4,), [8]), ((5, 6, 7), [10, 12, 14])]
    assert batches == [[1, 2], [3, 4], [5, 6], [7]]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_answers_do_not_depend_on_the_batch_size(batch_size):
    items = [(1,), (), (2, 3, 4, 5, 6), (), (7, 8)]
    answers, _ = asked(items, batch_size=batch_size)
    assert answers == [(item, [2 * one for one in item]) for item in items]


def test_bad_request_spoils_only_its_own_item():
    answers, batches = asked([(1, 2), (3, BAD), (4, 5)], batch_size=4)
    assert answers[0] == ((1, 2), [2, 4])
    assert answers[2] == ((4, 5), [8, 10])
    item, rejection = answers[1]
    assert item == (3, BAD)
    assert isinstance(rejection, RejectItem)
    assert rejection.reason is Reason.GPU_MEMORY
    assert batches == [[1, 2, 3, BAD], [1, 2], [3, BAD], [3], [BAD], [4, 5]]


def test_item_that_one_answer_rejects_costs_no_second_call():
    batches = []

    def ask(requests):
        batches.append(list(requests))
        return [RejectItem(Reason.TAGS_FAILED, "no") if request == BAD else 2 * request for request in requests]

    items = [(1,), (2, BAD, 3), (4, 5)]
    first, (_, rejection), last = ask_in_batches(items, requests_of=lambda item: item, ask=ask, batch_size=4)
    assert (first, last) == (((1,), [2]), ((4, 5), [8, 10]))
    assert isinstance(rejection, RejectItem)
    assert rejection.reason is Reason.TAGS_FAILED
    assert batches == [[1, 2, BAD, 3], [4, 5]]


def test_answers_come_before_the_input_ends():
    answers = ask_in_batches(
        ((number,) for number in itertools.count()), requests_of=lambda item: item, ask=Doubler(), batch_size=3
    )
    assert next(answers) == ((0,), [0])


def test_the_next_batch_is_gathered_while_one_is_asked():
    is_gathered = threading.Event()

    def items():
        yield (1, 2)
        yield (3,)
        is_gathered.set()
        yield (4,)

    def ask(requests):
        assert is_gathered.wait(timeout=60)
        return requests

    answers = ask_in_batches(items(), requests_of=lambda item: item, ask=ask, batch_size=2)
    assert list(answers) == [((1, 2), [1, 2]), ((3,), [3]), ((4,), [4])]


def test_answers_are_handed_out_while_the_next_batch_is_asked():
    is_handed_out = threading.Event()

    def ask(requests):
        assert requests == [1] or is_handed_out.wait(timeout=60)
        return requests

    answers = ask_in_batches([(1,), (2,), (3,)], requests_of=lambda item: item, ask=ask, batch_size=1)
    assert next(answers) == ((1,), [1])
    is_handed_out.set()
    assert list(answers) == [((2,), [2]), ((3,), [3])]


def test_what_is_asked_again_joins_the_next_batch_and_keeps_its_place():
    batches = []

    def ask(requests):
        batches.append(list(requests))
        return [Again(-request) if request in (1, 4, 7) else abs(request) for request in requests]

    items = [(1, 2), (3, 4), (5, 6), (7,)]
    answers = list(ask_in_batches(items, requests_of=lambda item: item, ask=ask, batch_size=2))
    assert answers == [(item, list(item)) for item in items]
    assert batches == [[1, 2], [-1, 3], [4, 5], [-4, 6], [7], [-7]]


@pytest.mark.parametrize("num_items", [1, 2, 5])
def test_an_error_of_the_model_is_raised(num_items):
    def ask(requests):
        raise OSError("no such weights")

    with pytest.raises(OSError, match="no such weights"):
        list(ask_in_batches([(1,)] * num_items, requests_of=lambda item: item, ask=ask, batch_size=2))


def test_too_few_answers_are_an_error():
    with pytest.raises(ValueError, match="shorter"):
        list(ask_in_batches([(1, 2)], requests_of=lambda item: item, ask=lambda requests: [1], batch_size=2))
