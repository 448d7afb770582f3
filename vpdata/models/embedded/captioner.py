"""Captions composed from measurements alone: every statement can be checked against the pixels."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vpdata import __version__
from vpdata.config import to_plain
from vpdata.models.embedded.colours import main_colours
from vpdata.models.embedded.observations import (
    MIN_ABSENCE_S,
    MIN_SHIFT,
    CameraCourse,
    ObjectCourse,
    masks_at,
    observe_camera,
    observe_object,
)
from vpdata.models.embedded.wording import (
    and_list,
    at,
    capitalised,
    direction,
    noun_phrase,
    number_word,
    place,
    share,
    speed,
    with_article,
)
from vpdata.models.ports import CaptionRequest, ModelCard, unheard

_WORDINGS = (
    "{subject}, about {size} of the frame in size, {whereabouts}.",
    "There is {subject} that {whereabouts}, covering some {size} of the picture.",
    "{subject} {whereabouts}; it takes up {size} of the view.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCaptionerSettings:
    """Options of `MeasuredCaptioner`."""

    max_objects: int = 3
    """Objects described one by one in the caption of the clip, largest first; the others are counted."""

    def __post_init__(self) -> None:
        if self.max_objects < 0:
            raise ValueError(f"max_objects: got {self.max_objects}, wanted 0 or more")

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        return ModelCard(
            role=role,
            name="embedded",
            revision=__version__,
            licence="Apache-2.0",
            source=f"vpdata {__version__}",
            options=to_plain(self),
        )


class MeasuredCaptioner:
    """A `Captioner` that says what was measured, and nothing else; it ignores the prompt.

    Measured are: labels, colours, sizes, places and times of the tracks, their motion against the scene, the camera's
    motion, and the light. What could not be measured (say, the way of an object while the camera spins) is left out.
    """

    def __init__(self, settings: MeasuredCaptionerSettings) -> None:
        self._settings = settings

    def caption(self, requests: Sequence[CaptionRequest], *, alive: Callable[[], None] = unheard) -> list[str]:
        return [self._of_clip(one) if one.track is None else _of_track(one) for one in requests]

    def _of_clip(self, request: CaptionRequest) -> str:
        tracks = sorted(request.record.tracks or (), key=lambda track: (-track.mean_area_frac, track.id))
        masks_of = {track.id: masks_at(track, request) for track in tracks}
        hidden = np.logical_or.reduce([np.zeros(request.images.shape[:3], dtype=np.bool_), *masks_of.values()])
        sentences = []
        for track in tracks[: self._settings.max_objects]:
            course = observe_object(
                track,
                record=request.record,
                frames=request.frames,
                images=request.images,
                masks=masks_of[track.id],
            )
            if course is not None:
                sentences.append(_object_in_scene(course, turn=_number_of(request.record.id) + len(sentences)))
        others = len(tracks) - len(sentences)
        if others and sentences:
            more = "One more object is" if others == 1 else f"{capitalised(number_word(others))} more objects are"
            sentences.append(f"{more} seen.")
        camera = observe_camera(request.record, request.images, hidden)
        return " ".join([*sentences, *_camera(camera, request), *_light(request, hidden)])


def _of_track(request: CaptionRequest) -> str:
    (track,) = [track for track in request.record.tracks or () if track.id == request.track]
    masks = masks_at(track, request) if request.masks is None else request.masks
    course = observe_object(track, record=request.record, frames=request.frames, images=request.images, masks=masks)
    if course is None:
        return ""
    phrases = [_whereabouts(course), *_times(course)]
    size = f"about {share(course.mean_area_frac)} of the frame in size"
    return capitalised(f"{with_article(noun_phrase(course))}, {size}, that {and_list(phrases)}.")


def _object_in_scene(course: ObjectCourse, *, turn: int) -> str:
    """One or two sentences; `turn` goes round the wordings, so that neighbours do not sound alike."""
    wording = _WORDINGS[turn % len(_WORDINGS)]
    sentence = wording.format(
        subject=with_article(noun_phrase(course)), size=share(course.mean_area_frac), whereabouts=_whereabouts(course)
    )
    times = _times(course)
    return capitalised(sentence) + (f" It {and_list(times)}." if times else "")


def _whereabouts(course: ObjectCourse) -> str:
    """Where it is and how it moves, as a verb phrase."""
    start, stop = place(course.places[0]), place(course.places[-1])
    if course.shift is None or course.span_s <= 0:
        return f"is first {at(start)} and finally {at(stop)}" if start != stop else f"is seen {at(start)}"
    net = float(np.hypot(*course.shift))
    if net >= MIN_SHIFT and net >= 0.5 * course.extent:
        way = f"moves {speed(net / course.span_s)} {direction(course.shift)}"
        if start != stop:
            return f"{way}, from {start} to {stop} of the frame"
        followed = " while the camera follows" if _is_followed(course) else ""
        return f"{way} {at(start)} of the frame{followed}"
    if start != stop and float(np.hypot(*np.subtract(course.places[-1], course.places[0]))) > 3 * MIN_SHIFT:
        return f"passes from {start} to {stop} of the frame as the camera moves"
    where = at(start) if start == stop else f"between {start} and {stop}"
    if course.extent >= 2 * MIN_SHIFT:
        if (far := _far_end(course)) not in (None, start, stop):
            return f"moves from {start} to {far} of the frame and back"
        return f"moves back and forth {where}"
    return f"stays {where}" + (" while its outline keeps changing" if course.stability < 0.9 else "")


def _far_end(course: ObjectCourse) -> str | None:
    """Where it turns; None for what swings to both sides of where it starts."""
    ways = np.subtract(course.places, course.places[0])
    farthest = ways[int(np.linalg.norm(ways, axis=1).argmax())]
    reach = float(np.linalg.norm(farthest))
    if reach == 0 or float((ways @ farthest).min()) / reach < -MIN_SHIFT:
        return None
    return place(tuple(np.add(course.places[0], farthest)))


def _is_followed(course: ObjectCourse) -> bool:
    """Whether the object went a good way, was never lost, and yet kept its place in the frame."""
    drift = float(np.linalg.norm(np.subtract(course.places, course.places[0]), axis=1).max())
    net = float(np.hypot(*(course.shift or (0.0, 0.0))))
    return net >= 4 * MIN_SHIFT and drift < 0.3 * net and course.hidden_s == 0


def _times(course: ObjectCourse) -> list[str]:
    """When it comes and goes and how its size changes, as verb phrases."""
    phrases = []
    if course.enters_s is not None:
        phrases.append(f"appears after {course.enters_s:.1f} seconds")
    if course.hidden_s >= MIN_ABSENCE_S:
        phrases.append(f"is out of sight for {course.hidden_s:.1f} seconds in between")
    if course.growth >= 1.4:
        phrases.append(f"comes to fill about {course.growth:.1f} times its first area")
    elif course.growth <= 0.7:
        phrases.append(f"shrinks to about {share(course.growth)} of its first area")
    if course.leaves_s is not None:
        phrases.append(f"is gone after {course.leaves_s:.1f} seconds")
    return phrases


def _camera(camera: CameraCourse, request: CaptionRequest) -> list[str]:
    if camera.is_still:
        return ["The camera stands still."]
    if camera.to_first is None:
        return []
    phrases = []
    if np.hypot(*camera.shift) >= MIN_SHIFT:
        seconds = (request.frames[-1] - request.frames[0]) / float(request.record.clip.fps)
        manner = speed(float(np.hypot(*camera.shift)) / max(seconds, 1e-6))
        phrases.append(f"the camera moves {manner} {direction(camera.shift)}")
    if camera.zoom >= 1.15:
        phrases.append(f"the view closes in, to about {camera.zoom:.1f} times the size")
    elif camera.zoom <= 0.87:
        phrases.append(f"the view widens, to about {camera.zoom:.1f} times the size")
    return [capitalised(and_list(phrases)) + "."] if phrases else ["The camera hardly moves."]


def _light(request: CaptionRequest, hidden: np.ndarray) -> list[str]:
    """Colours and light of the scene, and how the light changes."""
    scene = request.images[~hidden]
    sentences = []
    if colours := main_colours(scene, most=3):
        sentences.append(f"The surroundings are mainly {and_list(colours)}.")
    luma = request.images.astype(np.float32).mean(axis=3) / 255
    level, spread = float(luma.mean()), float(luma.std(axis=(1, 2)).mean())
    brightness = "low" if level < 0.25 else "high" if level > 0.65 else "medium"
    contrast = "low" if spread < 0.12 else "high" if spread > 0.25 else "medium"
    if brightness == contrast:
        sentences.append(f"Brightness and contrast are {contrast}.")
    else:
        sentences.append(f"The picture has {brightness} brightness and {contrast} contrast.")
    change = float(luma[-1].mean() - luma[0].mean())
    if abs(change) > 0.08:
        sentences.append(f"It gets {'brighter' if change > 0 else 'darker'} towards the end.")
    return sentences


def _number_of(key: str) -> int:
    """A number that is the same for a key on every machine."""
    return zlib.crc32(key.encode("utf-8"))
