"""`python -m benchmark hold-out`: the split that keeps a run's training from a benchmark that was not made of it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from benchmark.opening import add_bench_options, bench_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.split.foreign import ForeignVideos
    from benchmark.split.held_out import HeldOutFacts
    from vpdata.dataset.clip_looks import ClipLooks
    from vpdata.dataset.run import Run


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `hold-out`."""
    parser.add_argument("--run", metavar="RUN", required=True, help="a finished run that is to be trained on")
    add_bench_options(parser)
    parser.add_argument(
        "--build-config",
        metavar="YAML",
        help="of the run's build, or a run.yaml that you trust (default: the run's, as far as it only reads)",
    )


def main(args: argparse.Namespace) -> int:
    """Write it, and print what is held out."""
    import logging

    from benchmark.split.command import held_out_text
    from benchmark.split.foreign import Onlooker, foreign_videos
    from benchmark.split.held_out import HASHES_ALONE
    from benchmark.split.kept_config import build_config
    from vpdata.config import to_plain
    from vpdata.dataset.clip_looks import clip_looks
    from vpdata.dataset.run import Run
    from vpdata.errors import RunError
    from vpdata.media.phash import HEX_PER_FRAME
    from vpdata.storage import Folder

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run, bench = Run(Folder(args.run)), bench_of(args)
    build = build_config(run, args.build_config)
    clips = clip_looks(run, with_embeddings=build is not None and build.detect.embedder is not None)
    if not clips:
        raise RunError(f"{args.run} holds no clip that a benchmark could be held out of")
    onlooker = Onlooker(build, num_hashed_frames=len(clips[0].looks.phash) // HEX_PER_FRAME, embedder=clips[0].embedder)
    uri, facts = hold_out(run, clips, foreign_videos(bench, onlooker))
    if not facts.has_embeddings:
        print(f"warning: {HASHES_ALONE}")
    print(f"{uri}: {held_out_text(to_plain(facts))}")
    return 0


def hold_out(run: Run, clips: Sequence[ClipLooks], foreign: ForeignVideos) -> tuple[str, HeldOutFacts]:
    """Write `splits/<name>.parquet` of a run whose clips these are; its uri.

    A video with the bytes of one of the benchmark's is held out with all its clips, and so is what looks like either.
    """
    from benchmark.split.held_out import HeldOutFacts
    from vpdata.dataset.split import write_split

    hashes = set(foreign.videos.values())
    same = [clip for clip in clips if clip.content_hash in hashes]
    hash_of = {clip.video_id: clip.content_hash for clip in same}
    others = [clip.looks for clip in clips if clip.video_id not in hash_of]
    shown = [*foreign.looks, *(clip.looks for clip in same)]
    uri, num_alike = write_split(
        run.folder, foreign.facts, videos={**foreign.videos, **hash_of}, shown=shown, others=others
    )
    facts = HeldOutFacts(
        num_videos=len(hash_of),
        num_clips=len(same),
        num_look_alikes=num_alike,
        num_left=len(others) - num_alike,
        has_embeddings=any(one.embedding for one in foreign.looks),
    )
    return uri, facts
