"""Whether cases are sampled as those of VideoPainter's tables: at one size, one rate and one length."""

from __future__ import annotations

from benchmark.bench import LONG, Bench, Case
from benchmark.published import SAMPLING

_WANTED = (f"{SAMPLING.width_px}x{SAMPLING.height_px} px", f"{SAMPLING.fps} fps", f"{SAMPLING.num_frames} frames")


def unlike_published(bench: Bench) -> str | None:
    """In what, and on how many cases; None where none differs. Long cases are used whole there too."""
    found = [_setting(bench, case) for case in bench.cases]
    parts: list[str] = []
    for index, wanted in enumerate(_WANTED):
        if other := [setting[index] for setting in found if setting[index] != wanted]:
            parts.append(f"{other[0]} instead of {wanted} on {len(other)} of {len(found)} cases")
    return f"not the published setting: {', '.join(parts)}" if parts else None


def _setting(bench: Bench, case: Case) -> tuple[str, str, str]:
    num_frames, height_px, width_px = bench.shape(case)
    length = _WANTED[2] if case.subset in LONG else f"{num_frames} frames"
    return f"{width_px}x{height_px} px", f"{float(bench.sampling.fps_of(case)):g} fps", length
