"""Records and rejects as the plain data that the page's script reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from vpdata import codec
from vpdata.records import Clip, Record, Reject, Track

MAX_LABEL_CHARS = 80
_MAX_CARD_CHARS = 400
_MAX_AREA_POINTS = 96


def clip_summary(record: Record, *, measures: Sequence[str], has_loop: bool) -> dict[str, Any]:
    """What a card in the gallery, search and sort need of a clip."""
    clip = record.clip
    values: dict[str, float | None] = {score.name: score.value for score in record.scores}
    values |= {"duration_s": clip.duration_s, "num_tracks": len(record.tracks or ())}
    texts = [caption.text for caption in record.captions or () if caption.scope is None]
    return {
        "id": record.id,
        "uri": clip.video.uri,
        "text": short_text(texts[0], max_chars=_MAX_CARD_CHARS) if texts else "",
        "tracks": [[track.id, short_text(track.label, max_chars=MAX_LABEL_CHARS)] for track in record.tracks or ()],
        "measures": [_rounded(values.get(name)) for name in measures],
        "size": [clip.width_px, clip.height_px],
        "loop": has_loop,
    }


def clip_detail(record: Record, *, loop_frames: range) -> dict[str, Any]:
    """What only the detail view needs of a clip."""
    clip = record.clip
    return {
        "captions": [
            {"text": one.text, "track": one.scope, "model": one.model, "prompt": one.prompt}
            for one in record.captions or ()
        ],
        "tracks": [_track(track) for track in record.tracks or ()],
        "loop_frames": [loop_frames.start, loop_frames.stop],
        "video": _video(clip),
        "fps": float(clip.fps),
        **{
            name: getattr(clip, name)
            for name in ("num_frames", "shot", "shot_start_s", "shot_stop_s", "start_s", "stop_s", "sha256")
        },
    }


def short_text(text: str, *, max_chars: int) -> str:
    """`text`, cut with an ellipsis where it is longer: models and source lists set no bound."""
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def reject_row(reject: Reject) -> dict[str, Any]:
    """What the page of rejects shows."""
    return codec.to_builtins(reject)


def as_script_data(value: object) -> str:
    """JSON that may stand inside `<script>`, as data or as a literal.

    Pure ASCII, so that neither the page's encoding nor U+2028 can break it, and without `<`, so that no text closes the
    element. ValueError for a number that JSON lacks (NaN, infinity).
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _video(clip: Clip) -> dict[str, Any]:
    video = clip.video
    names = ("uri", "width_px", "height_px", "size_bytes", "codec", "licence", "attribution")
    return {"fps": float(video.fps)} | {name: getattr(video, name) for name in names}


def _track(track: Track) -> dict[str, Any]:
    names = ("score", "mean_area_frac", "max_area_change_frac", "coverage_frac", "stability", "border_frac")
    points = np.linspace(0, len(track.area_frac) - 1, min(len(track.area_frac), _MAX_AREA_POINTS)).round().astype(int)
    measures = {name: _rounded(getattr(track, name)) for name in names}
    return {"id": track.id, "label": track.label, "area": [_rounded(track.area_frac[at]) for at in points]} | measures


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
