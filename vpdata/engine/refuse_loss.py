"""Refuses to remove a finished data set that could not be made again: its shards may be the only copy of the clips."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from vpdata.dataset import index, layout
from vpdata.dataset.run import Run, read_rows
from vpdata.engine.parts import num_records
from vpdata.errors import RunError
from vpdata.records import Source
from vpdata.sources import Input


def refuse_stripped(run: Run, kept: Sequence[str]) -> None:
    """RunError where shards are there, and the frozen sources or one of the stages `kept` they were made by is not.

    Such a stage would start over; a run that was imported has none of them.
    """
    if not kept:
        return
    names = ["source", *kept]
    if not run.folder.child(layout.INDEX).names() and not run.folder.exists(layout.PACK_PLAN):
        # A stage without a state is made anew, but the parts of all stages are those of the frozen sources.
        names = ["source"] if run.stage_folder("cut").exists(layout.STAGE_STATE) else []
    gone = [name for name in names if not run.stage_folder(name).exists(layout.STAGE_STATE)]
    if gone:
        files = ", ".join(f"{layout.STAGE_FOLDERS[name]}/{layout.STAGE_STATE}" for name in gone)
        raise RunError(
            f"{run.folder.uri}: nothing was changed, since it lacks {files}: what is there was imported, or parts of "
            f"it were removed, and a build would start over. Use it as it is, give another --output, or add "
            f"--redo {'cut' if gone[0] == 'source' else gone[0]} to make the rest anew"
        )


def refuse_loss(run: Run, source: Input, *, recut: Collection[str] | None) -> None:
    """RunError where shards that are made again would lack clips: a tar of `cut` is gone, or a source of its clips.

    `recut` are the parts that are to be cut again, None for all. A source that lies on a server is taken to be there.
    """
    cut = set(run.parts("cut"))
    if recut is not None:
        tars = set(run.stage_folder("cut").names(".tar"))
        needed = [part for part in sorted(cut.difference(recut)) if layout.tar_file(part) not in tars]
        missing = [part for part in needed if num_records(run, "cut", part)]
        if missing:
            raise RunError(
                f"{run.folder.uri}: nothing was removed, since shards cannot be made again: {len(missing)} tars of "
                f"clips are gone, such as {layout.STAGE_FOLDERS['cut']}/{layout.tar_file(missing[0])} (`vpdata clean` "
                "removes them). Use --redo cut, which cuts the sources again"
            )
    packed = _packed_videos(run)
    if packed and recut is not None:
        parts = [part for part in run.parts("source") if part in recut or part not in cut]
        folder = run.stage_folder("source")
        rows = (row for part in parts for row in read_rows(folder, layout.records_file(part), Source))
        packed = {row.id: row.uri for row in rows if row.id in packed}
    lost = source.lost(Source(id=video, uri=uri) for video, uri in packed.items()) if packed else []
    if lost:
        raise RunError(
            f"{run.folder.uri}: nothing was removed, since {len(lost)} sources of clips in the shards cannot be cut "
            f"again: {source.name} does not name them, or they cannot be opened, such as {lost[0].uri!r}. Bring them "
            "back, or build into a new folder"
        )


def _packed_videos(run: Run) -> dict[str, str]:
    """Id and uri of every video of which the shards hold a clip."""
    folder = run.folder.child(layout.INDEX)
    videos: dict[str, str] = {}
    for name in folder.names(".parquet"):
        table = index.read_index(folder, [name], ["video_id", "video_uri"])
        videos |= zip(table["video_id"].to_pylist(), table["video_uri"].to_pylist(), strict=True)
    return videos
