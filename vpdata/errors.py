"""What can go wrong: exceptions for set-ups and the closed list of reasons for rejecting an item."""

from __future__ import annotations

from enum import StrEnum


class VpdataError(Exception):
    """Base of every error we raise on purpose; the command line prints its message without a traceback."""


class ConfigError(VpdataError):
    """A setting, a file of settings, or a command line is wrong."""


class BackendError(VpdataError):
    """A model or an optional package cannot be loaded or run."""


class RunError(VpdataError):
    """A run folder cannot be used as asked: held by another build, made with other settings, incomplete."""


class StorageError(VpdataError):
    """Reading or writing the run failed for a reason no item is to blame for (disk full, server down)."""


class Reason(StrEnum):
    """Why an item was rejected. The list is closed: a report, a test and a reader can name every member."""

    # sources
    FETCH_FAILED = "fetch_failed"
    """The server, or the network, did not deliver the source after all retries."""
    FETCH_TIMEOUT = "fetch_timeout"
    """The download passed its time limit."""
    BLOCKED_ADDRESS = "blocked_address"
    """The address is private, loopback or link-local, or its scheme or path is not allowed."""
    WRONG_CONTENT_TYPE = "wrong_content_type"
    """The server says that this is not a video."""
    TOO_MANY_BYTES = "too_many_bytes"
    """The source is larger than `source.max_bytes`."""
    SOURCE_GONE = "source_gone"
    """The source was listed and is no longer there, or its path leads to no file."""
    # import
    BAD_ANNOTATION = "bad_annotation"
    """A row or a mask file of an imported data set is malformed, or does not fit its video."""
    # cut
    EMPTY_FILE = "empty_file"
    """Zero bytes."""
    NOT_VIDEO = "not_video"
    """No allowed video container was recognised."""
    UNREADABLE = "unreadable"
    """The container was recognised but its index or headers are missing or damaged."""
    NO_VIDEO_STREAM = "no_video_stream"
    """The container holds no video stream (audio only)."""
    STILL_PICTURE = "still_picture"
    """The source is one picture."""
    DECODE_ERROR = "decode_error"
    """Frames could not be decoded."""
    BAD_FRAME_RATE = "bad_frame_rate"
    """Frame rate is missing, zero or absurd and cannot be recovered from the time stamps."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """A frame is larger than `cut.max_pixels`."""
    TOO_LONG = "too_long"
    """The source is longer than `cut.max_duration_s`."""
    HDR = "hdr"
    """HLG or PQ transfer: rejected until a tone curve has been measured."""
    TOO_SHORT = "too_short"
    """A shot, or what is left of it after its last full clip, is shorter than `cut.min_s`."""
    # engine
    WORKER_CRASH = "worker_crash"
    """This item alone killed its own process twice."""
    TIMEOUT = "timeout"
    """This item alone passed its time limit twice."""
    GPU_MEMORY = "gpu_memory"
    """This item alone does not fit into the GPU's memory."""
    # models
    TAGS_FAILED = "tags_failed"
    """The tagger gave no usable list of labels."""
    NO_TAGS = "no_tags"
    """The tagger found nothing to name, and the detector looks only for what is named."""
    NO_DETECTIONS = "no_detections"
    """The detector found no object on any key frame."""
    NO_TRACKS = "no_tracks"
    """No object could be tracked, or every track was dropped by a rule."""
    CAPTION_FAILED = "caption_failed"
    """The captioner gave no usable text."""
    SCORE_FAILED = "score_failed"
    """A score that a rule needs, or the embedding, could not be computed."""
    # encode
    NO_CAPTION = "no_caption"
    """The clip has no caption of its own, without which nothing can be trained on it."""
    NO_WINDOW = "no_window"
    """The clip is shorter than every window, or than every ID pair, that was asked for."""
    EMPTY_MASK = "empty_mask"
    """No object can be seen in a window, and no mask that does without one was drawn."""
    NOT_FINITE = "not_finite"
    """The VAE or the text encoder gave NaN or infinity, which would spoil a training step."""
    # run-wide pass
    DUPLICATE = "duplicate"
    """Another source of this run has the same bytes."""
    NEAR_DUPLICATE = "near_duplicate"
    """A kept clip of this run looks the same."""
    SEMANTIC_DUPLICATE = "semantic_duplicate"
    """A kept clip of this run means the same: their embeddings are close."""
    # rules on clips
    DURATION = "duration"
    MOTION = "motion"
    CAMERA_MOTION = "camera_motion"
    OBJECT_MOTION = "object_motion"
    SHARPNESS = "sharpness"
    EXPOSURE = "exposure"
    CONTRAST = "contrast"
    BLACK_BORDERS = "black_borders"
    STATIC = "static"
    NUM_TRACKS = "num_tracks"
    AESTHETIC = "aesthetic"
    UNSAFE = "unsafe"
    TEXT_OVERLAY = "text_overlay"
    CAPTION_LENGTH = "caption_length"
    CAPTION_REPETITION = "caption_repetition"
    TEXT_ALIGNMENT = "text_alignment"
    # rules on tracks
    TRACK_AREA = "track_area"
    TRACK_AREA_CHANGE = "track_area_change"
    TRACK_COVERAGE = "track_coverage"
    TRACK_STABILITY = "track_stability"
    TRACK_BORDER = "track_border"


class RejectItem(VpdataError):  # noqa: N818  it names an outcome, not a fault of ours
    """This one item is bad. Raised by a stage or a source; the engine turns it into a `Reject` row."""

    def __init__(self, reason: Reason, detail: str, *, got: str = "", wanted: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.got = got
        self.wanted = wanted

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_reject_item, (self.reason, self.detail, self.got, self.wanted)


def _rebuild_reject_item(reason: Reason, detail: str, got: str, wanted: str) -> RejectItem:
    return RejectItem(reason, detail, got=got, wanted=wanted)
