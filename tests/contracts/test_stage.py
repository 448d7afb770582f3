"""What the engine may rely on, for each of the five stages."""

import dataclasses
import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from benchmark.footage.video import write_video
from tests.fakes import ColourDetector, ColourTracker, LabelCaptioner, make_clip, squares_film
from tests.records import ORDINARY
from vpdata import codec
from vpdata.config import ModelChoice
from vpdata.dataset.layout import STAGE_NAMES
from vpdata.errors import Reason, RejectItem
from vpdata.media.masks import encode_mask
from vpdata.media.track_measures import measured_track
from vpdata.models.ports import unheard
from vpdata.records import Caption as Text
from vpdata.records import Detection, Record, Score, Source, video_id
from vpdata.stages.base import Rejected, Resources, Result, Stage
from vpdata.stages.caption import Caption, CaptionSettings
from vpdata.stages.cut import Cut, CutSettings
from vpdata.stages.detect import Detect, DetectSettings
from vpdata.stages.filter import Filter
from vpdata.stages.rules import FilterSettings
from vpdata.stages.track import Track, TrackSettings

LABELS = ModelChoice(name="fixed", options={"labels": ["red square"]})
MEASURED = DetectSettings(
    tagger=LABELS, tagger_batch_size=1, detector_batch_size=3, scorers=(ModelChoice(name="embedded"),)
)
NUM_FRAMES, NUM_ITEMS, BAD = 16, 8, 2
"""Of the items, number `BAD` is bad; it stands among good ones, so that batches hold both."""


def refuse_black(images: np.ndarray) -> None:
    if images.max() < 30:
        raise RejectItem(Reason.DECODE_ERROR, "nothing but black")


class PickyDetector(ColourDetector):
    def detect(self, key_frames):
        for one in key_frames:
            refuse_black(one.image)
        return super().detect(key_frames)


class PickyTracker(ColourTracker):
    def track(self, frames, prompts, **size):
        refuse_black(frames)
        return super().track(frames, prompts, **size)


class PickyCaptioner(LabelCaptioner):
    def caption(self, requests, *, alive=unheard):
        for one in requests:
            refuse_black(one.images)
        return super().caption(requests, alive=alive)


def box_at(number: int, frame: int) -> tuple[int, int, int, int]:
    """Where the square of film `number` is: it crosses the picture, lower down from film to film."""
    return 4 * frame, 6 + 4 * number, 4 * frame + 24, 30 + 4 * number


def film(number: int) -> np.ndarray:
    """A red square over a textured ground; the bad film is black."""
    if number == BAD:
        return np.zeros((NUM_FRAMES, 64, 96, 3), np.uint8)
    return squares_film({"red square": [box_at(number, frame) for frame in range(NUM_FRAMES)]})


def with_detection(record: Record, number: int) -> Record:
    detection = Detection(frame=0, box=box_at(number, 0), label="red square", score=0.9)
    return dataclasses.replace(record, detections=(detection,))


def with_track(record: Record, number: int) -> Record:
    masks = np.zeros((NUM_FRAMES, 64, 96), np.bool_)
    for frame, mask in enumerate(masks):
        x0, y0, x1, y1 = box_at(number, frame)
        mask[y0:y1, x0:x1] = True
    counts = [encode_mask(mask) for mask in masks]
    track = measured_track(counts, id=1, label="red square", score=0.9, height_px=64, width_px=96)
    return dataclasses.replace(with_detection(record, number), tracks=(track,))


def with_all(record: Record, number: int) -> Record:
    scores = ORDINARY | ({"motion": None} if number == BAD else {})
    captions = (Text(text="a red square", scope=None, model="hand", prompt=""),)
    measured = tuple(Score(name=name, value=value, model="hand") for name, value in scores.items())
    return dataclasses.replace(with_track(record, number), captions=captions, scores=measured)


@dataclass(frozen=True)
class Case:
    make: Callable[[], Stage]
    items: list[tuple[Any, Any]]
    """Each item with its media."""
    writes: tuple[str, ...]
    """Fields of `Record` that the stage fills."""


@pytest.fixture(scope="session")
def cases(tmp_path_factory) -> dict[str, Case]:
    """Each stage with items as the stage before leaves them."""
    folder = tmp_path_factory.mktemp("films")
    sources, clips = [], []
    for number in range(NUM_ITEMS):
        frames = film(number)[:1] if number == BAD else np.repeat(film(number), 2, axis=0)
        path = write_video(folder / f"{number}.mp4", frames, fps=16)
        sources.append((Source(id=video_id(path.name), uri=path.name), path))
        clips.append(make_clip(film(number), name=path.name))

    def records(fill: Callable[[Record, int], Record]) -> list[tuple[Record, bytes]]:
        return [(fill(record, number), mp4) for number, (record, mp4) in enumerate(clips)]

    return {
        "cut": Case(lambda: Cut(CutSettings(min_s=0.5, max_s=1.0)), sources, ("clip", "scores")),
        "detect": Case(lambda: Detect(MEASURED, detector=PickyDetector), clips, ("tags", "detections", "scores")),
        "track": Case(lambda: Track(TrackSettings(), tracker=PickyTracker), records(with_detection), ("tracks",)),
        "caption": Case(
            lambda: Caption(CaptionSettings(batch_size=3), captioner=PickyCaptioner),
            records(with_track),
            ("tracks", "captions", "scores"),
        ),
        "filter": Case(
            lambda: Filter(FilterSettings()),
            [(record, b"") for record, _ in records(with_all)],
            ("tracks", "captions", "verdict"),
        ),
    }


@pytest.fixture(params=STAGE_NAMES)
def case(request, cases) -> Case:
    return cases[request.param]


def run(stage: Stage, items: list[tuple[Any, Any]]) -> list[Result | Rejected]:
    return list(stage.process_many(stage.prepare(item, media) for item, media in items))


def ready(case: Case) -> Stage:
    stage = pickle.loads(pickle.dumps(case.make()))
    stage.setup()
    return stage


def as_bytes(outcome: Result | Rejected) -> tuple[bytes, dict[str, bytes]]:
    if isinstance(outcome, Rejected):
        return codec.to_json(outcome.reject), {}
    return codec.to_json(outcome.record), dict(outcome.members)


def test_stages_stand_in_the_order_of_the_run_folder(cases):
    assert [case.make().name for case in cases.values()] == list(STAGE_NAMES)


def test_stage_travels_to_a_worker_before_setup_and_runs_there(case):
    assert run(ready(case), case.items)


def test_identity_is_plain_data_equal_for_equal_settings(case):
    identity = case.make().identity
    assert json.loads(json.dumps(identity)) == identity
    assert ready(case).identity == identity


def test_models_are_described_without_loading_them(case):
    assert all(card.name and card.licence and card.revision for card in case.make().models)
    assert isinstance(case.make().resources, Resources)


def test_equal_items_give_equal_bytes(case):
    first, again = (run(ready(case), case.items) for _ in range(2))
    assert [as_bytes(outcome) for outcome in first] == [as_bytes(outcome) for outcome in again]


def test_every_item_is_answered_in_order(case):
    answered = [outcome.item_id for outcome in run(ready(case), case.items)]
    assert list(dict.fromkeys(answered)) == [item.id for item, _ in case.items]
    assert answered == sorted(answered, key=[item.id for item, _ in case.items].index)


def test_bad_item_is_rejected_and_spoils_no_other(case):
    whole = run(ready(case), case.items)
    bad = case.items[BAD][0].id
    rejects = [outcome.reject for outcome in whole if isinstance(outcome, Rejected)]
    assert {(reject.video_id, reject.stage) for reject in rejects} == {(bad.split("-")[0], case.make().name)}
    alone = run(ready(case), [pair for pair in case.items if pair[0].id != bad])
    assert [as_bytes(one) for one in whole if one.item_id != bad] == [as_bytes(one) for one in alone]
    assert alone


def test_outcomes_come_while_inputs_are_still_being_drawn(case):
    stage, drawn = ready(case), []

    def inputs() -> Iterator[Any]:
        for item, media in case.items:
            drawn.append(item.id)
            yield stage.prepare(item, media)

    next(iter(stage.process_many(inputs())))
    assert len(drawn) < len(case.items)


def test_no_items_give_no_outcomes(case):
    assert list(ready(case).process_many(iter(()))) == []


def test_record_keeps_every_field_that_the_stage_does_not_write(case):
    for outcome in run(ready(case), case.items):
        if isinstance(outcome, Result):
            before = next(item for item, _ in case.items if item.id == outcome.item_id)
            for field in dataclasses.fields(Record):
                value = getattr(outcome.record, field.name)
                if field.name in case.writes:
                    assert value not in (None, ()), field.name
                elif isinstance(before, Record):
                    assert value == getattr(before, field.name), field.name
