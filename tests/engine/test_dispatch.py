"""Who is blamed when workers vanish or fail: the crew here is one that a test tells what befalls each worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Timer
from typing import TypeVar

import pytest

from vpdata.engine import dispatch as module
from vpdata.engine.crew import WorkerLost
from vpdata.engine.dispatch import Dispatch
from vpdata.engine.work import Counts, Job, OutOfRoomError, UnforeseenError, Work
from vpdata.errors import BackendError, ConfigError, RunError, StorageError
from vpdata.stages.base import Resources

T = TypeVar("T")

IDLE = WorkerLost("its node has died", had_begun=False)
AT_WORK = WorkerLost("its node has died", had_begun=True)


@dataclass(frozen=True, kw_only=True)
class NamedJob:
    name: str
    resources: Resources = field(default_factory=Resources)
    has_items = True
    num_finished: dict[str, int] = field(default_factory=dict)
    """Items of a part that are durable."""

    def num_durable(self, name: str) -> int:
        return self.num_finished.get(name, 0)

    def setup(self) -> None:
        raise NotImplementedError

    def run(self, work: Work, alive: Callable[[int], None]) -> Counts:
        raise NotImplementedError


@dataclass
class Told:
    """A hand whose number decides, by what the test has written down, how it ends."""

    crew: Crew
    stage: str
    number: int
    is_stopped: bool = False

    def is_placed(self) -> bool:
        return (self.stage, self.number) not in self.crew.pending

    def ready(self) -> Future[None]:
        if (self.stage, self.number) in self.crew.pending:
            return Future()
        if (self.stage, self.number) in self.crew.late:
            later: Future[None] = Future()
            Timer(0.3, later.set_result, [None]).start()
            return later
        errors = self.crew.at_start.get((self.stage, self.number), [])
        return _future(errors.pop(0) if errors else None, None)

    def run(self, name: str) -> Future[Counts]:
        if (self.stage, self.number) in self.crew.sick:
            return _future(UnforeseenError("CUDA error"), None)
        errors = self.crew.at_part.get(name, [])
        error = errors.pop(0) if errors else None
        self.crew.cut.num_finished[name] = self.crew.cut.num_durable(name) + self.crew.gets_further
        if error is None:
            self.crew.done.append((self.stage, name))
        if self.crew.sick:
            later: Future[Counts] = Future()
            Timer(0.1, later.set_result, [Counts(name=name, num_items=1, num_records=1, num_rejects=0)]).start()
            return later
        return _future(error, Counts(name=name, num_items=1, num_records=1, num_rejects=0))

    def stop(self) -> None:
        self.is_stopped = True


def _future(error: Exception | None, result: T) -> Future[T]:
    future: Future[T] = Future()
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
    return future


@dataclass
class Crew:
    """Errors by stage and number of the worker, from 0, or by the name of a part; one for each try."""

    at_start: dict[tuple[str, int], list[Exception]] = field(default_factory=dict)
    at_part: dict[str, list[Exception]] = field(default_factory=dict)
    pending: set[tuple[str, int]] = field(default_factory=set)
    """Workers for which there is no room."""
    late: set[tuple[str, int]] = field(default_factory=set)
    """Workers that have their place and take a moment to set up."""
    sick: set[tuple[str, int]] = field(default_factory=set)
    """Workers that fail at whatever they are given, at once, while others take a moment."""
    cut: NamedJob = field(default_factory=lambda: NamedJob(name="cut"))
    gets_further: bool = False
    """Whether each try makes an item of its part durable before it fails."""
    hands: list[Told] = field(default_factory=list)
    done: list[tuple[str, str]] = field(default_factory=list)

    def start(self, job: Job) -> Told:
        hand = Told(self, job.name, sum(hand.stage == job.name for hand in self.hands))
        self.hands.append(hand)
        return hand


PARTS = [f"part-{number:05d}" for number in range(20)]


def dispatch(crew: Crew, *, num_workers: int = 5) -> None:
    """Two stages at once, 20 parts, two workers that cut and some that track."""

    def staff(left: Sequence[Job]) -> dict[str, int]:
        num_of = {"cut": 2, "track": num_workers}
        return {job.name: num_of[job.name] for job in left}

    Dispatch(
        crew,
        [crew.cut, NamedJob(name="track")],
        waiting={"cut": PARTS, "track": []},
        following=lambda stage, counts: [counts.name],
        staff=staff,
        done=lambda stage, counts: None,
    ).run()


def test_all_workers_that_start_on_a_node_may_vanish_with_it() -> None:
    crew = Crew(at_start={("track", number): [IDLE] for number in range(5)})
    dispatch(crew)
    assert sorted(crew.done) == sorted((stage, part) for stage in ("cut", "track") for part in PARTS)


def test_all_workers_that_stand_idle_on_a_node_may_vanish_with_it() -> None:
    crew = Crew(at_part={PARTS[3]: [IDLE] * 5})
    dispatch(crew)
    assert sorted(crew.done) == sorted((stage, part) for stage in ("cut", "track") for part in PARTS)
    assert len(crew.hands) == 2 + 5 + 5
    assert all(hand.is_stopped for hand in crew.hands)


@pytest.mark.usefixtures("hasty")
def test_part_that_costs_worker_after_worker_stops_the_run() -> None:
    crew = Crew(at_part={PARTS[3]: [AT_WORK] * 5})
    what = "stage cut, part-00003: its worker was lost 5 times: its node has died; submit the same command again, if "
    with pytest.raises(RunError, match=f"{what}the machine ran out of memory with fewer cut.resources.workers"):
        dispatch(crew)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("error", [AT_WORK, StorageError("the server is down")])
def test_part_that_gets_further_between_never_stops_the_run(error: Exception) -> None:
    crew = Crew(at_part={PARTS[3]: [error] * 12}, gets_further=True)
    dispatch(crew)
    assert sorted(crew.done) == sorted((stage, part) for stage in ("cut", "track") for part in PARTS)


def test_each_loss_without_progress_is_waited_for_longer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LOSS_WAITS_S", (0.0, 0.1, 0.2, 0.3))
    crew = Crew(at_part={PARTS[3]: [AT_WORK] * 4})
    begun_s = time.monotonic()
    dispatch(crew)
    assert time.monotonic() - begun_s > 0.6
    told = [message.rpartition("takes over")[2] for message in caplog.messages]
    assert told == ["", " in 0.1 s", " in 0.2 s", " in 0.3 s"]


@pytest.mark.usefixtures("hasty")
def test_workers_that_vanish_whenever_they_start_stop_the_run() -> None:
    crew = Crew(at_start={("track", number): [IDLE] for number in range(100)})
    with pytest.raises(RunError, match="stage track, starting: its worker was lost 5 times"):
        dispatch(crew, num_workers=1)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tries more, as always, but without minutes between them."""
    monkeypatch.setattr(module, "STORAGE_WAITS_S", (0.01, 0.02, 0.04))
    monkeypatch.setattr(module, "ERROR_WAITS_S", (0.01, 0.02, 0.04))
    monkeypatch.setattr(module, "LOSS_WAITS_S", (0.0, 0.01, 0.02, 0.04))


def test_workers_that_find_no_room_are_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "SLOW_START_S", 0.1)
    monkeypatch.setattr(module, "ERROR_WAITS_S", (0.4,))
    pending = {("track", 0), ("track", 1), ("cut", 1)}
    crew = Crew(pending=pending, at_part={PARTS[3]: [UnforeseenError("takes its time")]})
    dispatch(crew, num_workers=3)
    told = [message for message in caplog.messages if "not ready" in message]
    assert [message.partition(" workers")[0] for message in sorted(told)] == [
        "stage cut: 1 of 2",
        "stage track: 2 of 3",
    ]
    assert "the cluster has no room for 2 of them (each wants 1 cpu, 1 GB)" in max(told)


PASSING = (StorageError("the server is down"), UnforeseenError("CUDA error"), OSError("cannot fork"))
LASTING = (ConfigError("a wrong setting"), BackendError("no model"), RunError("lost its lease"), OutOfRoomError("full"))


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("error", PASSING)
def test_what_passes_costs_a_try(error: Exception) -> None:
    crew = Crew(at_part={PARTS[3]: [error] * 3}, at_start={("track", 0): [error] * 3})
    dispatch(crew, num_workers=1)
    assert sorted(crew.done) == sorted((stage, part) for stage in ("cut", "track") for part in PARTS)
    assert len(crew.hands) == 2 + 1


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("error", PASSING)
def test_what_does_not_pass_stops_the_run_in_the_end(error: Exception) -> None:
    for crew in (Crew(at_part={PARTS[3]: [error] * 4}), Crew(at_start={("track", 0): [error] * 4})):
        with pytest.raises(type(error), match=str(error)):
            dispatch(crew, num_workers=1)


@pytest.mark.usefixtures("hasty")
def test_sick_worker_leaves_its_part_to_others_that_are_at_work() -> None:
    crew = Crew(sick={("cut", 0), ("track", 1)})
    dispatch(crew)
    assert sorted(crew.done) == sorted((stage, part) for stage in ("cut", "track") for part in PARTS)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("late", [set(), {("detect", number) for number in range(4, 8)}])
def test_no_part_goes_round_the_workers_of_a_sick_node(late: set[tuple[str, int]]) -> None:
    """Half of the workers fail, while the others are at work or still load their models."""
    crew = Crew(sick={("detect", number) for number in range(4)}, late=late)
    Dispatch(
        crew,
        [NamedJob(name="detect")],
        waiting={"detect": PARTS},
        following=lambda stage, counts: [],
        staff=lambda left: {job.name: 8 for job in left},
        done=lambda stage, counts: None,
    ).run()
    assert sorted(crew.done) == [("detect", part) for part in PARTS]


@pytest.mark.usefixtures("hasty")
def test_stage_all_of_whose_workers_are_sick_stops_the_run() -> None:
    with pytest.raises(UnforeseenError, match="CUDA error"):
        dispatch(Crew(sick={("track", number) for number in range(5)}))


@pytest.mark.usefixtures("hasty")
def test_worker_that_cannot_set_up_is_left_out_where_another_could(caplog: pytest.LogCaptureFixture) -> None:
    # With a sick one in it, all other workers of the crew take a moment.
    crew = Crew(at_start={("track", 1): [UnforeseenError("no GPU")] * 4}, sick={("cut", 0)})
    dispatch(crew)
    assert sorted(crew.done) == sorted((stage, part) for stage in ("cut", "track") for part in PARTS)
    assert "no GPU; its stage goes on without this worker" in caplog.text
    assert next(hand for hand in crew.hands if (hand.stage, hand.number) == ("track", 1)).is_stopped


@pytest.mark.parametrize("error", LASTING)
def test_what_cannot_pass_stops_the_run_at_once(error: Exception) -> None:
    for crew in (Crew(at_part={PARTS[3]: [error]}), Crew(at_start={("track", 0): [error]})):
        with pytest.raises(type(error), match=str(error)):
            dispatch(crew, num_workers=1)


@pytest.mark.usefixtures("hasty")
def test_last_part_of_a_stage_is_waited_for() -> None:
    crew = Crew(at_part={PARTS[-1]: [StorageError("the server is down")] * 3})
    dispatch(crew)
    assert sorted(crew.done) == sorted((stage, part) for stage in ("cut", "track") for part in PARTS)


@dataclass(eq=False)
class Guest:
    """A hand that needs a place, and does nothing before it has one."""

    cluster: SmallCluster
    stage: str
    place: Future[None] = field(default_factory=Future)
    is_lost: bool = False

    def is_placed(self) -> bool:
        return self.place.done()

    def ready(self) -> Future[None]:
        return self.place

    def run(self, name: str) -> Future[Counts]:
        if name == self.cluster.last_part:
            self.cluster.lose_a_node(self.stage)
        counts = Counts(name=name, num_items=1, num_records=1, num_rejects=0)
        if self.is_lost:
            return _future(AT_WORK, counts)
        self.cluster.finish(self.stage, name)
        if self.stage != self.cluster.slow_stage:
            return _future(None, counts)
        slow: Future[Counts] = Future()
        Timer(0.2, slow.set_result, [counts]).start()
        return slow

    def give_up(self) -> None:
        if not self.is_placed():
            self.place.set_exception(RunError("never got a place"))

    def stop(self) -> None:
        self.cluster.guests.remove(self)
        self.cluster.fill()


@dataclass(kw_only=True)
class SmallCluster:
    """It has few places, and gives a free one to whoever came last."""

    num_places: int
    last_part: str | None = None
    """At which a node is lost that had all workers of the stage."""
    slow_stage: str | None = None
    """Each part takes it twice as long as a stage waits for room."""
    back_after: tuple[str, int] | None = None
    """The lost node is the only one of its kind, and comes back when so many parts of the stage are done."""
    barred: str = ""
    """The stage that finds room on the lost node alone."""
    guests: list[Guest] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    done: list[tuple[str, str]] = field(default_factory=list)

    def start(self, job: Job) -> Guest:
        guest = Guest(self, job.name)
        # Else a build that waits for good would hang the test.
        timer = Timer(10.0, guest.give_up)
        timer.daemon = True
        timer.start()
        self.guests.append(guest)
        self.started.append(job.name)
        self.fill()
        return guest

    def fill(self) -> None:
        placed = [guest for guest in self.guests if guest.is_placed()]
        waiting = [guest for guest in self.guests if not guest.is_placed() and guest.stage != self.barred]
        for guest in waiting[::-1][: max(0, self.num_places - len(placed))]:
            guest.place.set_result(None)

    def finish(self, stage: str, name: str) -> None:
        self.done.append((stage, name))
        if self.back_after == (stage, sum(done == stage for done, _ in self.done)):
            self.num_places, self.barred = self.num_places + 1, ""
            self.fill()

    def lose_a_node(self, stage: str) -> None:
        self.last_part = None
        if self.back_after:
            self.barred = stage
        for guest in self.guests:
            if guest.stage == stage and guest.is_placed():
                guest.is_lost = True
                self.num_places -= 1


STAGES = [
    NamedJob(name="cut"),
    NamedJob(name="detect", resources=Resources(cpus=4, gpus=0.25)),
    NamedJob(name="caption", resources=Resources(gpus=0.5)),
]
ALL = sorted((job.name, part) for job in STAGES for part in PARTS)


def dispatch_all(cluster: SmallCluster, *, num_workers: int) -> None:
    Dispatch(
        cluster,
        STAGES,
        waiting={"cut": PARTS, "detect": [], "caption": []},
        following=lambda stage, counts: [counts.name] if stage != "caption" else [],
        staff=lambda left: {job.name: num_workers for job in reversed(left)},
        done=lambda stage, counts: None,
    ).run()


def test_workers_start_in_the_order_that_the_plan_names_them() -> None:
    cluster = SmallCluster(num_places=6)
    dispatch_all(cluster, num_workers=2)
    assert cluster.started[:6] == ["caption", "caption", "detect", "detect", "cut", "cut"]


def test_stage_that_lost_all_workers_gets_the_room_of_idle_ones_behind_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "ROOM_WAIT_S", 0.1)
    cluster = SmallCluster(num_places=6, last_part=PARTS[7])
    dispatch_all(cluster, num_workers=2)
    assert sorted(cluster.done) == ALL
    assert not cluster.guests
    told = [message for message in caplog.messages if "has started none of" in message]
    assert len(told) == 1
    assert told[0].startswith("stage cut: 13 part(s) wait, and for 0.1 s the cluster has started none of its 2")


def test_stage_that_waits_for_room_leaves_those_their_workers_that_are_about_to_get_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ROOM_WAIT_S", 0.1)
    cluster = SmallCluster(num_places=3, last_part=PARTS[4], slow_stage="detect", back_after=("caption", 4))
    dispatch_all(cluster, num_workers=1)
    assert sorted(cluster.done) == ALL


@pytest.mark.parametrize("num_places", [1, 2])
def test_stages_take_turns_where_there_is_room_for_one_alone(monkeypatch: pytest.MonkeyPatch, num_places: int) -> None:
    """Say because another build holds the rest."""
    monkeypatch.setattr(module, "ROOM_WAIT_S", 0.1)
    cluster = SmallCluster(num_places=num_places)
    dispatch_all(cluster, num_workers=2)
    assert sorted(cluster.done) == ALL
