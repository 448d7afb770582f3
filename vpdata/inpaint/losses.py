"""What the finished file does not keep of its input, outside of the hole too."""

from __future__ import annotations

import av

from vpdata.inpaint.input_video import MAX_PIXELS, VideoInput
from vpdata.media.video import StoredFrames, open_source, video_stream_of


def losses(video: VideoInput) -> list[str]:
    """In words, such as "10 bits of a colour become 8"; [] where nothing but H.264's own loss is added."""
    first = next(iter(StoredFrames(video.path, max_pixels=MAX_PIXELS)))
    found = _of_pixels(first.format)
    if first.interlaced_frame:
        found.append("interlaced fields become whole frames")
    with open_source(video.path) as container:
        streams = container.streams
        # FFmpeg's own decoder of VP9 leaves out the transparency that its container tells of.
        tags = {key.lower(): value for key, value in video_stream_of(container).metadata.items()}
        if tags.get("alpha_mode") == "1" or any(component.is_alpha for component in first.format.components):
            found.append("transparency is dropped")
        others = {
            "further video": len(streams.video) - 1,
            "subtitle": len(streams.subtitles),
            "data": len(streams.data),
            "attached": len(streams.attachments),
        }
        found += [f"{count} {kind} track{'s' * (count > 1)} dropped" for kind, count in others.items() if count]
        if container.chapters():
            found.append("chapters are dropped")
    return found


def _of_pixels(pixels: av.VideoFormat) -> list[str]:
    found = []
    colours = [component for component in pixels.components if not component.is_alpha]
    if (bits := max(component.bits for component in colours)) > 8:
        found.append(f"{bits} bits of a colour become 8")
    # An output of odd size keeps a colour sample for every pixel.
    is_odd = pixels.width % 2 or pixels.height % 2
    is_finer = pixels.chroma_width() * 2 > pixels.width or pixels.chroma_height() * 2 > pixels.height
    if (len(colours) > 1 or pixels.has_palette) and is_finer and not is_odd:
        found.append("four pixels share a colour sample")
    return found
