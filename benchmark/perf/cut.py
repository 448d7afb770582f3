"""What cutting costs, beside one ffmpeg process that does the least possible and PySceneDetect's own command line.

python -m benchmark.perf.cut                    # table on synthetic footage
python -m benchmark.perf.cut --footage FOLDER   # the same on real footage, looped to long shots
python -m benchmark.perf.cut --film             # peak memory of a four-hour film in one shot
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from vpdata.config import ModelChoice
from vpdata.media.clips import ClipSettings
from vpdata.records import Record, Source, video_id
from vpdata.stages.base import Result
from vpdata.stages.cut import Cut, CutSettings

FPS, WIDTH_PX, HEIGHT_PX = 25, 1280, 720
SHOTS_S = (7.0, 9.0, 8.0)
"""All longer than `min_s` and none longer than `max_s`: every frame is kept by everybody."""
NUM_WORKERS = 2
FILM_S, FILM_FPS, FILM_WIDTH_PX, FILM_HEIGHT_PX = 4 * 3600, 8, 320, 180

Frames = Iterator[NDArray[np.uint8]]
"""uint8 [H, W, 3] RGB."""


def main() -> None:
    """Print the table, or the film's peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, help="folder of single-shot mp4s to loop instead of synthetic pictures")
    parser.add_argument("--videos", type=int, default=2, help="number of videos, each of three shots")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--film", action="store_true")
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--scores", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        cut_all([Path(name) for name in args.work], with_scores=args.scores)
        return
    with tempfile.TemporaryDirectory(prefix="perf-cut-") as folder:
        if args.film:
            measure_film(Path(folder))
        else:
            compare(Path(folder), footage=args.footage, num_videos=args.videos, num_runs=args.runs)


def compare(folder: Path, *, footage: Path | None, num_videos: int, num_runs: int) -> None:
    """Measure all ways in turn, `num_runs` times, and print medians."""
    videos = [make_video(folder / f"video-{index}.mp4", seed=index, footage=footage) for index in range(num_videos)]
    spans = [span for line in ours(videos, with_scores=False).splitlines() for span in json.loads(line)]
    kept = {video.name: [(start, stop) for name, start, stop in spans if name == video.name] for video in videos}
    if [len(one) for one in kept.values()] != [len(SHOTS_S)] * num_videos:
        raise SystemExit(f"wanted {len(SHOTS_S)} clips of each video, got {kept}: the comparison would not be fair")
    # PySceneDetect looks for a program named ffmpeg.
    (folder / "bin").mkdir()
    (folder / "bin/ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    ways: dict[str, Callable[[], object]] = {
        "floor: ffmpeg, one decode, our spans": lambda: in_parallel(lambda v: floor(v, kept[v.name], folder), videos),
        "vpdata cut, no scores": lambda: ours(videos, with_scores=False),
        "vpdata cut, with scores": lambda: ours(videos, with_scores=True),
        "scenedetect, two videos at a time": lambda: in_parallel(lambda v: scenedetect(v, folder), videos),
        "scenedetect, one after another": lambda: [scenedetect(video, folder) for video in videos],
    }
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(num_runs):
        for name, way in ways.items():
            measured[name].append(cost_of(way))
    num_frames = int(sum(SHOTS_S) * FPS * num_videos)
    print(f"{num_videos} videos, {num_frames} frames of {WIDTH_PX}x{HEIGHT_PX}, medians of {num_runs} runs\n")
    print("| way | CPU s | CPU / floor | wall s | wall / ours |\n| --- | ---: | ---: | ---: | ---: |")
    cpu_s = {name: statistics.median(cpu for cpu, _ in runs) for name, runs in measured.items()}
    wall_s = {name: statistics.median(wall for _, wall in runs) for name, runs in measured.items()}
    least, ours_s = cpu_s["floor: ffmpeg, one decode, our spans"], wall_s["vpdata cut, no scores"]
    for name in ways:
        ratios = cpu_s[name] / least, wall_s[name] / ours_s
        print(f"| {name} | {cpu_s[name]:.1f} | {ratios[0]:.2f} | {wall_s[name]:.1f} | {ratios[1]:.2f} |")


def cost_of(way: Callable[[], object]) -> tuple[float, float]:
    """(CPU seconds of all child processes, wall seconds)."""
    before, start_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    way()
    after, stop_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return cpu_s, stop_s - start_s


def in_parallel(one: Callable[[Path], None], videos: list[Path]) -> None:
    with ThreadPoolExecutor(NUM_WORKERS) as pool:
        list(pool.map(one, videos))


def ours(videos: list[Path], *, with_scores: bool) -> str:
    """Cut the videos in two processes, as the engine would; returns the spans that were kept, a line per process."""
    command = [sys.executable, "-m", "benchmark.perf.cut", *(["--scores"] if with_scores else []), "--work"]
    groups = [videos[worker::NUM_WORKERS] for worker in range(NUM_WORKERS)]
    workers = [
        subprocess.Popen([*command, *map(str, group)], stdout=subprocess.PIPE, text=True) for group in groups if group
    ]
    outputs = [worker.communicate()[0] for worker in workers]
    if any(worker.returncode for worker in workers):
        raise SystemExit("a worker failed")
    return "".join(outputs)


def cut_all(videos: list[Path], *, with_scores: bool) -> None:
    """What one worker does; prints the kept spans as frames."""
    scorer = ModelChoice(name="embedded") if with_scores else None
    stage = Cut(CutSettings(scorer=scorer))
    stage.setup()
    sources = [Source(id=video_id(video.name), uri=video.name) for video in videos]
    inputs = (stage.prepare(source, video) for source, video in zip(sources, videos, strict=True))
    records = [outcome.record for outcome in stage.process_many(inputs) if isinstance(outcome, Result)]
    clips = [record.clip for record in records if isinstance(record, Record)]
    spans = [(clip.video.uri, round(clip.start_s * clip.fps), round(clip.stop_s * clip.fps)) for clip in clips]
    print(json.dumps(spans))


def floor(video: Path, spans: list[tuple[int, int]], folder: Path) -> None:
    """One ffmpeg process: one decode, each span encoded once."""
    names = [f"span{index}" for index in range(len(spans))]
    split = f"[0:v]split={len(spans)}" + "".join(f"[in-{name}]" for name in names)
    trims = [
        f"[in-{name}]trim=start_frame={start}:end_frame={stop},setpts=PTS-STARTPTS[{name}]"
        for name, (start, stop) in zip(names, spans, strict=True)
    ]
    outputs = [
        part
        for name in names
        for part in ("-map", f"[{name}]", *x264_arguments(), str(folder / f"floor-{video.stem}-{name}.mp4"))
    ]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-threads", "1", "-i", str(video)]
    subprocess.run([*command, "-filter_complex", ";".join([split, *trims]), *outputs], check=True)


def scenedetect(video: Path, folder: Path) -> None:
    """PySceneDetect's command line with the same encoder settings."""
    program = shutil.which("scenedetect", path=str(Path(sys.executable).parent)) or "scenedetect"
    encode = ["split-video", "--args", " ".join(["-v error -map 0:v:0", *x264_arguments()])]
    command = [program, "-q", "-i", str(video), "-o", str(folder / f"scenes-{video.stem}"), "detect-adaptive", *encode]
    subprocess.run(command, check=True, env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"})


def x264_arguments() -> list[str]:
    """The encoder settings of our clips as ffmpeg takes them."""
    settings = ClipSettings()
    x264 = "threads=1:lookahead-threads=1:cpu-independent=1"
    quality = ["-c:v", "libx264", "-crf", str(settings.crf), "-preset", settings.preset, "-g", str(FPS // 2)]
    return [*quality, "-x264-params", x264, "-movflags", "+faststart", "-an"]


def make_video(path: Path, *, seed: int, footage: Path | None) -> Path:
    """Shots of `SHOTS_S`, encoded as a camera would."""
    shots = [
        real_shot(footage, index=seed * len(SHOTS_S) + index) if footage else synthetic_shot(seed=seed * 100 + index)
        for index in range(len(SHOTS_S))
    ]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = context.color_range = 1
        for shot, length_s in zip(shots, SHOTS_S, strict=True):
            for _, image in zip(range(round(length_s * FPS)), shot, strict=False):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=1)))
        container.mux(stream.encode())
    return path


def synthetic_shot(*, seed: int) -> Frames:
    """A slow pan over a smooth random picture with sensor noise."""
    rng = np.random.default_rng(seed)
    margin = 300
    picture = sum(
        cv2.resize(rng.normal(0, 30, (9 * 2**octave, 16 * 2**octave, 3)), (WIDTH_PX + margin, HEIGHT_PX + margin))
        for octave in range(5)
    )
    picture = picture + rng.uniform(80, 170, 3)
    noise = rng.normal(0, 3, (HEIGHT_PX, WIDTH_PX, 3))
    for index in range(margin):
        window = picture[index // 2 : index // 2 + HEIGHT_PX, index : index + WIDTH_PX]
        yield (window + np.roll(noise, rng.integers(noise.size), axis=None)).clip(0, 255).astype(np.uint8)


def real_shot(footage: Path, *, index: int) -> Frames:
    """One file played forward and backward without end; every other shot is mirrored, so that neighbours differ."""
    files = sorted(footage.rglob("*.mp4"))
    with av.open(str(files[index % len(files)])) as container:
        frames = [frame for frame, _ in zip(container.decode(video=0), range(4 * FPS), strict=False)]
    while True:
        for frame in [*frames, *frames[-2:0:-1]]:
            image = np.asarray(frame.reformat(WIDTH_PX, HEIGHT_PX, "rgb24").to_ndarray(), dtype=np.uint8)
            yield np.ascontiguousarray(image[:, ::-1] if index % 2 else image)


def measure_film(folder: Path) -> None:
    """Peak memory of the process that cuts a four-hour shot, and what it kept."""
    path = folder / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FILM_FPS), options={"crf": "24", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = FILM_WIDTH_PX, FILM_HEIGHT_PX, "yuv420p"
        period = next(synthetic_shot(seed=0))
        period = np.concatenate([period, period[:, ::-1]], axis=1)
        for index in range(FILM_S * FILM_FPS):
            x = index * 2 % WIDTH_PX
            window = np.ascontiguousarray(period[:FILM_HEIGHT_PX, x : x + FILM_WIDTH_PX])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(window, format="rgb24")))
        container.mux(stream.encode())
    spans = json.loads(ours([path], with_scores=True))
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{FILM_S // 3600} h, {FILM_S * FILM_FPS} frames, {len(spans)} clips, peak memory {peak_mb:.0f} MB")


if __name__ == "__main__":
    main()
