"""Hand-made records for tests of rules."""

from fractions import Fraction

from vpdata.records import Caption, Clip, Record, Score, Track, Video

ORDINARY = {
    "motion": 0.05,
    "camera_motion": 0.03,
    "object_motion": 0.02,
    "sharpness": 0.03,
    "exposure": 0.4,
    "contrast": 0.4,
    "black_border_frac": 0.0,
    "static_frac": 0.0,
    "caption_words": 20.0,
    "caption_repetition_frac": 0.0,
}
"""Scores of footage that every default rule lets through."""


def make_track(number=1, *, area=0.1, coverage=1.0, change=0.05, stability=0.9, border=0.0):
    return Track(
        id=number, label="dog", score=0.9, masks=(None,) * 4, area_frac=(area,) * 4, mean_area_frac=area,
        max_area_change_frac=change, coverage_frac=coverage, stability=stability, border_frac=border,
    )  # fmt: skip


def make_record(number=0, *, duration_s=8.0, tracks=None, scores=ORDINARY, unmeasured=()):
    """A record as `caption` leaves it: one good track, and ordinary scores but for `scores` and `unmeasured`."""
    tracks = (make_track(),) if tracks is None else tuple(tracks)
    video_id = f"{number:016x}"
    video = Video(
        id=video_id, uri=f"dogs/{number}.mp4", size_bytes=1, width_px=64, height_px=48, fps=Fraction(24),
        num_frames=480, duration_s=20.0, codec="h264", content_hash=f"{number:064x}",
    )  # fmt: skip
    clip = Clip(
        id=f"{video_id}-0-{round(duration_s * 1000)}", video=video, shot=0, shot_start_s=0.0, shot_stop_s=20.0,
        start_s=0.0, stop_s=duration_s, num_frames=round(duration_s * 24), fps=Fraction(24), width_px=64, height_px=48,
        sha256="0" * 64, phash="0" * 128,
    )  # fmt: skip
    values = {name: value for name, value in (ORDINARY | dict(scores)).items() if name not in unmeasured}
    captions = [Caption(text="a dog runs over the lawn", scope=None, model="hand", prompt="")]
    captions += [Caption(text="a dog", scope=track.id, model="hand", prompt="") for track in tracks]
    return Record(
        id=clip.id, clip=clip, detections=(), tracks=tracks, captions=tuple(captions),
        scores=tuple(Score(name=name, value=value, model="hand") for name, value in values.items()),
    )  # fmt: skip
