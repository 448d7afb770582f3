"""The page: four steps, each shown once the one before is done."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import gradio as gr
from gradio.components import Component

from vpdata.app.handlers import BOX, DESCRIBE, MAX_WORDS, POINT, REMOVE, REPLACE, Handlers
from vpdata.app.limits import AppSettings


def read_asset(name: str) -> str:
    """A file beside this one."""
    return files("vpdata.app").joinpath(name).read_text(encoding="utf-8")


def build_page(handlers: Handlers, settings: AppSettings, *, wants_first_frame: bool) -> gr.Blocks:
    """All components and their events. `wants_first_frame` shows a place for that picture."""
    grace_s = settings.grace_s
    with gr.Blocks(title="vpdata", analytics_enabled=False, delete_cache=(max(1, grace_s // 2), grace_s)) as page:
        gr.Markdown("# Inpaint a video", elem_id="title")
        with gr.Row(equal_height=False):
            with gr.Column(min_width=320):
                dropzone, facts = _video_step(settings)
                with gr.Column(visible=False, elem_id="object") as object_step:
                    picture, frame, how, names, forget, find, stop_finding, found = _object_step()
            with gr.Column(min_width=320):
                with gr.Column(visible=False, elem_id="fill") as fill_step:
                    overlay, what, text, first_frame, make, stop_making, made = _fill_step(wants_first_frame)
                with gr.Column(visible=False, elem_id="result") as result_step:
                    compare, download = _result_step()
        claimed = dropzone.upload(
            handlers.claim,
            dropzone,
            concurrency_limit=None,  # at once, since the server keeps an upload for `grace_s` only
            preprocess=False,  # whose check of the path is not ours, and which leaves a file behind
            show_progress="hidden",
        )
        claimed.success(
            handlers.take_in,
            outputs=[dropzone, facts, frame, picture, first_frame, object_step, fill_step, result_step],
            concurrency_limit=2,
            trigger_mode="multiple",  # the next upload stops the one that is being read
            show_progress_on=facts,
        )
        frame.input(handlers.show_frame, frame, picture, trigger_mode="always_last", show_progress="hidden")
        picture.select(handlers.click, [frame, how], picture, show_progress="hidden")
        forget.click(handlers.forget_clicks, frame, picture, show_progress="hidden")
        first_frame.upload(
            handlers.take_first_frame, first_frame, first_frame, preprocess=False, show_progress="hidden"
        )
        first_frame.clear(handlers.drop_first_frame)
        what.change(lambda chosen: gr.Textbox(visible=chosen != REMOVE), what, text, show_progress="hidden")
        _job(find, stop_finding, found, handlers, handlers.find, [names], [found, overlay, fill_step, result_step])
        _job(
            make,
            stop_making,
            made,
            handlers,
            handlers.make,
            [what, text],
            [made, compare, download, result_step],
        )
        page.unload(handlers.leave)
    # Without Gradio's max_size, which counts clicks and uploads too.
    page.queue(api_open=False)
    return page


def _video_step(settings: AppSettings) -> tuple[gr.File, gr.Markdown]:
    limits = settings.limits
    gr.Markdown("## 1 Video")
    dropzone = gr.File(
        label=f"At most {limits.max_duration_s:g} s and {limits.max_mb} MB",
        file_types=["video"],
        height=140,
        elem_id="dropzone",
    )
    return dropzone, gr.Markdown("No video yet.", elem_id="facts", min_height=60)


def _object_step() -> tuple[gr.Image, gr.Slider, gr.Radio, gr.Textbox, gr.Button, gr.Button, gr.Button, gr.Markdown]:
    gr.Markdown("## 2 Object")
    picture = gr.Image(label="Click here", interactive=False, buttons=[], elem_id="picture")
    frame = gr.Slider(0, 1, value=0, step=1, precision=0, label="Frame", buttons=[], elem_id="frame")
    how = gr.Radio([POINT, BOX], value=POINT, label="A click in the picture", elem_id="how")
    names = gr.Textbox(
        label="Or its name; several with commas", placeholder="the red car", max_length=MAX_WORDS, elem_id="names"
    )
    with gr.Row():
        find = gr.Button("Find", variant="primary", elem_id="find")
        forget = gr.Button("Forget clicks", elem_id="forget")
        stop = gr.Button("Stop", variant="stop", visible=False, elem_id="stop-finding")
    return picture, frame, how, names, forget, find, stop, gr.Markdown(elem_id="found", min_height=90)


def _fill_step(
    wants_first_frame: bool,
) -> tuple[gr.Video, gr.Radio, gr.Textbox, gr.Image, gr.Button, gr.Button, gr.Markdown]:
    gr.Markdown("## 3 Fill")
    overlay = gr.Video(
        label="What will be made anew", interactive=False, autoplay=True, loop=True, buttons=[], elem_id="overlay"
    )
    what = gr.Radio([DESCRIBE, REMOVE, REPLACE], value=DESCRIBE, label="What to do", elem_id="what")
    text = gr.Textbox(label="What is to be seen there", lines=2, max_length=MAX_WORDS, elem_id="text")
    first_frame = gr.Image(
        label="The first frame with its hole filled, which this model needs",
        sources=["upload"],
        buttons=[],
        visible=wants_first_frame,
        elem_id="first-frame",
    )
    with gr.Row():
        make = gr.Button("Inpaint", variant="primary", elem_id="make")
        stop = gr.Button("Stop", variant="stop", visible=False, elem_id="stop-making")
    return overlay, what, text, first_frame, make, stop, gr.Markdown(elem_id="made", min_height=90)


def _result_step() -> tuple[gr.HTML, gr.DownloadButton]:
    gr.Markdown("## 4 Before and after")
    compare = gr.HTML(
        {"before": "", "after": ""},
        html_template=read_asset("compare.html"),
        css_template=read_asset("compare.css"),
        js_on_load=read_asset("compare.js"),
        padding=False,
        elem_id="compare",
    )
    return compare, gr.DownloadButton("Download the video", elem_id="download")


def _job(
    start: gr.Button,
    stop: gr.Button,
    status: gr.Markdown,
    handlers: Handlers,
    work: Callable[..., Any],
    inputs: list[Component],
    outputs: list[Any],
) -> None:
    """Work in the queue, begun by one button and stopped by another, which is there meanwhile."""

    def over() -> tuple[gr.Button, gr.Button]:
        return gr.Button(interactive=True), gr.Button(visible=False)

    begun = start.click(handlers.begin, outputs=[start, stop], show_progress="hidden")
    job = begun.success(work, inputs, outputs, concurrency_id="models", concurrency_limit=1, show_progress_on=status)
    # Not then(), which Gradio 6.31's page leaves out after an error.
    for ended in (job.success, job.failure):
        ended(over, outputs=[start, stop], queue=False, show_progress="hidden")
    stopped = stop.click(handlers.cancel, outputs=status, queue=False, cancels=[job], show_progress="hidden")
    # What follows a cancelled job is cancelled with it.
    stopped.then(over, outputs=[start, stop], queue=False, show_progress="hidden")
