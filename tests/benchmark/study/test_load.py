"""Two hundred people at once lose nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import httpx
import pytest

from benchmark.study.ballots import QUESTIONS
from tests.benchmark.study.studies import Served, make_material, served

NUM_PEOPLE = 200
pytestmark = pytest.mark.slow


async def take_part(client: httpx.AsyncClient, token: str) -> dict[int, tuple[int, int, int]]:
    """Look at one video of each page, answer all of them, each by the participant's own pattern; what was confirmed."""
    headers = {"Authorization": f"Bearer {token}"}
    number = int(token.partition("-")[0])
    confirmed = {}
    while page := (await client.get("/api/page", headers=headers)).raise_for_status().json()["page"]:
        part = await client.get(page["videos"][0], headers={"Range": "bytes=0-99"})
        assert part.status_code == 206
        places = tuple((number // 3**index + page["ballot"]) % 3 for index in range(3))
        answers = {"ballot": page["ballot"], **dict(zip(QUESTIONS, places, strict=True))}
        (await client.post("/api/answers", headers=headers, json=answers)).raise_for_status()
        confirmed[page["ballot"]] = places
    return confirmed


async def all_take_part(server: Served) -> list[dict[int, tuple[int, int, int]]]:
    limits = httpx.Limits(max_connections=NUM_PEOPLE)
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as client:
        return await asyncio.gather(*(take_part(client, token) for token in server.tokens))


def test_two_hundred_people_answer_at_once_and_nothing_is_lost_or_mixed_up(tmp_path: Path):
    make_material(tmp_path, num_cases=1)
    with served(tmp_path, participants=NUM_PEOPLE) as server:
        assert len(server.tokens) == NUM_PEOPLE
        confirmed = asyncio.run(all_take_part(server))
    with sqlite3.connect(tmp_path / "study.db") as connection:
        kept = set(connection.execute("SELECT participant, ballot, question, place FROM answers"))
    wanted = {
        (number, ballot, question, place)
        for number, pages in enumerate(confirmed, start=1)
        for ballot, places in pages.items()
        for question, place in zip(QUESTIONS, places, strict=True)
    }
    assert kept == wanted
    assert len(kept) == NUM_PEOPLE * 3 * 3
