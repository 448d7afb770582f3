"""The study on disk: one SQLite file with who is asked what, and every answer as soon as it is given.

SQLite in WAL mode with `synchronous = FULL`: an answer is on the disk before the participant is told that it is kept.
Of an invitation only a hash is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmark.metrics.table import Output
from benchmark.study.ballots import QUESTIONS, Ballot, Question, Shown
from vpdata.codec import from_json, to_json
from vpdata.errors import ConfigError, StorageError

_SCHEMA = """
CREATE TABLE study (facts BLOB NOT NULL);
CREATE TABLE cases (id TEXT PRIMARY KEY, text TEXT NOT NULL, region_text TEXT NOT NULL, instruction TEXT);
CREATE TABLE files (case_id TEXT, name TEXT, variant INTEGER, file TEXT NOT NULL, PRIMARY KEY (case_id, name, variant));
CREATE TABLE participants (number INTEGER PRIMARY KEY, token_hash BLOB NOT NULL);
CREATE TABLE ballots (participant INTEGER, number INTEGER, case_id TEXT NOT NULL, is_check INTEGER NOT NULL,
    reference_id TEXT NOT NULL UNIQUE, PRIMARY KEY (participant, number));
CREATE TABLE choices (participant INTEGER, ballot INTEGER, place INTEGER, name TEXT NOT NULL, variant INTEGER NOT NULL,
    video_id TEXT NOT NULL UNIQUE, PRIMARY KEY (participant, ballot, place));
CREATE TABLE answers (participant INTEGER, ballot INTEGER, question TEXT, place INTEGER NOT NULL, unix_s REAL NOT NULL,
    PRIMARY KEY (participant, ballot, question),
    FOREIGN KEY (participant, ballot, place) REFERENCES choices (participant, ballot, place));
"""
_TOKEN_BYTES = 16
REFERENCE = ":reference"
"""Name of the video of a case as it was, with the region outlined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was asked of whom, in `results.json` too."""

    bench: str
    subsets: tuple[str, ...]
    seed: int
    num_cases: int
    """As asked for; the cases may be fewer."""
    num_checks: int
    methods: tuple[str, ...]
    short_side_px: int
    """Largest of the videos that are shown."""
    shown: Output = "raw"
    """Which videos of the methods; raw in a study from before this was kept."""
    case_ids: tuple[str, ...] = ()
    check_ids: tuple[str, ...] = ()
    left_out: Mapping[str, str]
    """Cases that could not be drawn, for want of a method's result: id to the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseText:
    """What people read of a case."""

    text: str
    """Of the whole video as it should be."""
    region_text: str
    """Of what should be in the region; "" where no words are about it."""
    instruction: str | None
    """Of an edit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a participant. It says nothing of methods."""

    number: int
    """From 1."""
    case: CaseText
    reference_id: str
    video_ids: tuple[str, ...]
    """In the order in which they are shown: place 0 first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, named again."""

    participant: int
    ballot: int
    case_id: str
    is_check: bool
    question: Question
    place: int
    chosen: str
    """A method, or what a check showed."""
    shown: tuple[str, ...]
    """All that could be chosen, in the order in which they were shown."""
    unix_s: float


class Refused(Exception):  # noqa: N818  it names an outcome, not a fault of ours
    """Answers that are not taken; the message says why, in words for the participant."""


class Store:
    """A study in its file. Threads may share it; so may processes."""

    def __init__(self, path: str | Path) -> None:
        """ConfigError where the file is no study."""
        self.path = Path(path)
        if not self.path.is_file():
            raise ConfigError(f"{path} is no study: there is no such file; `python -m benchmark study serve` makes one")
        self._lock = threading.Lock()
        self._connection = _connect(self.path)
        try:
            (facts,) = self._connection.execute("SELECT facts FROM study").fetchone()
        except sqlite3.DatabaseError as error:
            raise ConfigError(f"{path} is no study: {error}") from error
        self.facts = from_json(facts, Facts)

    def close(self) -> None:
        self._connection.close()

    @property
    def participants(self) -> tuple[int, ...]:
        """Their numbers, from 1."""
        return tuple(number for (number,) in self._all("SELECT number FROM participants ORDER BY number"))

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all videos' files."""
        return tuple(file for (file,) in self._all("SELECT DISTINCT file FROM files ORDER BY file"))

    def invite(self, ballots: Mapping[int, Sequence[Ballot]]) -> dict[int, str]:
        """Add participants with their pages, all or none; number to token. The tokens are stored nowhere."""
        tokens = {number: _new_token(number) for number in ballots}
        with self._writing() as connection:
            for number, token in tokens.items():
                connection.execute("INSERT INTO participants VALUES (?, ?)", (number, _hash(token)))
                for page, ballot in enumerate(ballots[number], start=1):
                    connection.execute(
                        "INSERT INTO ballots VALUES (?, ?, ?, ?, ?)",
                        (number, page, ballot.case_id, ballot.is_check, secrets.token_urlsafe(_TOKEN_BYTES)),
                    )
                    connection.executemany(
                        "INSERT INTO choices VALUES (?, ?, ?, ?, ?, ?)",
                        [
                            (number, page, place, shown.name, shown.variant, secrets.token_urlsafe(_TOKEN_BYTES))
                            for place, shown in enumerate(ballot.shown)
                        ],
                    )
        return tokens

    def invite_again(self, participants: Sequence[int]) -> dict[int, str]:
        """New tokens for participants who are there, all or none; the old ones are refused from now on, answers stay.

        ConfigError for a number that nobody has.
        """
        if unknown := [number for number in participants if number not in self.participants]:
            raise ConfigError(f"got the participants {unknown}, wanted some of 1 to {len(self.participants)}")
        tokens = {number: _new_token(number) for number in participants}
        with self._writing() as connection:
            connection.executemany(
                "UPDATE participants SET token_hash = ? WHERE number = ?",
                [(_hash(token), number) for number, token in tokens.items()],
            )
        return tokens

    def participant_of(self, token: str) -> int | None:
        """Whose invitation it is; None for one that was never given out."""
        number = token.partition("-")[0]
        # Found by its open part and compared in constant time, so that no answer's delay tells of the secret one.
        rows = self._all("SELECT number, token_hash FROM participants WHERE CAST(number AS TEXT) = ?", number)
        stored, expected = rows[0] if rows else (None, b"\0" * hashlib.sha256().digest_size)
        return stored if hmac.compare_digest(_hash(token), expected) else None

    def progress(self, participant: int) -> tuple[int, int]:
        """How many pages are answered, and how many there are."""
        (row,) = self._all(
            "SELECT (SELECT count(DISTINCT ballot) FROM answers WHERE participant = ?1), "
            "(SELECT count(*) FROM ballots WHERE participant = ?1)",
            participant,
        )
        return row

    def page(self, participant: int) -> Page | None:
        """The first page without an answer; None where all have one."""
        number = self.progress(participant)[0] + 1
        rows = self._all(
            "SELECT text, region_text, instruction, reference_id FROM ballots JOIN cases ON cases.id = case_id "
            "WHERE participant = ? AND number = ?",
            participant,
            number,
        )
        if not rows:
            return None
        text, region_text, instruction, reference_id = rows[0]
        videos = self._all(
            "SELECT video_id FROM choices WHERE participant = ? AND ballot = ? ORDER BY place", participant, number
        )
        return Page(
            number=number,
            case=CaseText(text=text, region_text=region_text, instruction=instruction),
            reference_id=reference_id,
            video_ids=tuple(video_id for (video_id,) in videos),
        )

    def video(self, video_id: str) -> tuple[int, str] | None:
        """Whose video it is and its file; None for an id that nobody was given."""
        rows = self._all(
            "SELECT participant, file FROM choices JOIN ballots USING (participant) "
            "JOIN files ON files.case_id = ballots.case_id AND files.name = choices.name "
            "AND files.variant = choices.variant WHERE video_id = ?1 AND ballots.number = choices.ballot "
            "UNION ALL SELECT participant, file FROM ballots JOIN files USING (case_id) "
            "WHERE reference_id = ?1 AND files.name = ?2",
            video_id,
            REFERENCE,
        )
        return rows[0] if rows else None

    def answer(self, participant: int, ballot: int, places: Mapping[Question, int]) -> None:
        """Keep the answers to one page; on the disk when this returns.

        The same answers again are taken as said before: a lost reply is repeated. Refused for others than those kept,
        for a page that is not yet due, and for a video that the page does not have.
        """
        if set(places) != set(QUESTIONS):
            raise Refused(f"got answers to {len(places)} questions, wanted one to each of {len(QUESTIONS)}")
        with self._writing() as connection:
            kept = dict(
                connection.execute(
                    "SELECT question, place FROM answers WHERE participant = ? AND ballot = ?", (participant, ballot)
                )
            )
            if kept:
                if kept != dict(places):
                    raise Refused("this page has been answered already, and answers are final")
                return
            (num_answered,) = connection.execute(
                "SELECT count(DISTINCT ballot) FROM answers WHERE participant = ?", (participant,)
            ).fetchone()
            if ballot != num_answered + 1:
                raise Refused("this page is not the next one; open your link again")
            now = time.time()
            rows = [(participant, ballot, question, place, now) for question, place in places.items()]
            try:
                connection.executemany("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", rows)
            except sqlite3.IntegrityError as error:
                raise Refused("this page has no such video") from error

    def answers(self) -> list[Answer]:
        """All answers, by participant and page."""
        shown: dict[tuple[int, int], list[str]] = {}
        for participant, ballot, name in self._all(
            "SELECT participant, ballot, name FROM choices ORDER BY participant, ballot, place"
        ):
            shown.setdefault((participant, ballot), []).append(name)
        rows = self._all(
            "SELECT participant, ballot, case_id, is_check, question, place, unix_s FROM answers "
            "JOIN ballots USING (participant) WHERE ballots.number = ballot ORDER BY participant, ballot, question"
        )
        return [
            Answer(
                participant=participant,
                ballot=ballot,
                case_id=case_id,
                is_check=bool(is_check),
                question=question,
                place=place,
                chosen=shown[participant, ballot][place],
                shown=tuple(shown[participant, ballot]),
                unix_s=unix_s,
            )
            for participant, ballot, case_id, is_check, question, place, unix_s in rows
        ]

    def _all(self, query: str, *values: object) -> list[tuple]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            # IMMEDIATE: what is read before the write is still so when it is written.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            try:
                self._connection.execute("COMMIT")
            except sqlite3.OperationalError as error:
                self._connection.execute("ROLLBACK")
                raise StorageError(f"{self.path}: an answer could not be kept: {error}") from error


def create(path: Path, facts: Facts, *, texts: Mapping[str, CaseText], files: Mapping[tuple[str, Shown], str]) -> None:
    """A study without participants, whole or not at all. `files`: case id and what is shown, to the video's file."""
    aside = path.with_name(f".{path.name}.aside")
    aside.unlink(missing_ok=True)
    aside.touch(mode=0o600)  # who is asked what, and answers; SQLite gives its log files the same mode
    connection = sqlite3.connect(aside)
    try:
        connection.executescript(_SCHEMA)
        connection.execute("INSERT INTO study VALUES (?)", (to_json(facts),))
        connection.executemany(
            "INSERT INTO cases VALUES (?, ?, ?, ?)",
            [(case_id, case.text, case.region_text, case.instruction) for case_id, case in texts.items()],
        )
        connection.executemany(
            "INSERT INTO files VALUES (?, ?, ?, ?)",
            [(case_id, shown.name, shown.variant, file) for (case_id, shown), file in files.items()],
        )
        connection.commit()
    finally:
        connection.close()
    aside.replace(path)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    connection.execute("PRAGMA foreign_keys = ON")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise ConfigError(f"{path} is no study: {error}") from error
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _new_token(participant: int) -> str:
    return f"{participant}-{secrets.token_urlsafe(_TOKEN_BYTES)}"


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
