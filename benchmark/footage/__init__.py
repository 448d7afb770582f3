"""Synthetic footage with known cuts, objects and masks, equal for equal seeds."""

from benchmark.footage.films import Transition, film
from benchmark.footage.scenes import KINDS, Footage, Kind, scene
from benchmark.footage.video import read_video, write_video

__all__ = ["KINDS", "Footage", "Kind", "Transition", "film", "read_video", "scene", "write_video"]
