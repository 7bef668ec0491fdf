"""What stands where on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from skingpt4.demo.page import panels, words
from skingpt4.demo.page.examples import examples
from skingpt4.demo.page.expert import NUMBERS, Number
from skingpt4.report.content import Identity


@dataclass(frozen=True)
class Widgets:
    """What the handlers touch. before: shown until there is a photograph; ask_on: the suggestions with their title."""

    welcome: gr.Column
    accept: gr.Button
    main: gr.Column
    flags: gr.Markdown
    before: gr.Column
    upload: gr.File
    examples: list[gr.Button]
    photograph: gr.Markdown
    photo_status: gr.Markdown
    photo_advice: gr.Markdown
    start: gr.Button
    steps: gr.Markdown
    chat: gr.Chatbot
    ask_on: gr.Column
    suggestions: list[gr.Button]
    status: gr.Markdown
    asking: gr.Row
    question: gr.Textbox
    ask: gr.Button
    stop: gr.Button
    report: gr.Button
    restart: gr.Button
    downloads: gr.Markdown
    sampling: list[Any]  # in the order of `expert.NUMBERS`
    show_heatmap: gr.Button
    heatmap: gr.Markdown
    speed: gr.Markdown

    @property
    def everything(self) -> list[Any]:
        """Every widget that a visit's steps change."""
        return [
            self.flags, self.before, self.photograph, self.photo_status, self.photo_advice, self.start,
            self.steps, self.chat, self.ask_on, *self.suggestions, self.status, self.asking, self.question, self.ask,
            self.stop, self.report, self.restart, self.downloads, self.show_heatmap, self.heatmap, self.speed,
        ]  # fmt: skip


def lay_out(identity: Identity, said_first: Sequence[str]) -> Widgets:
    """The page: a notice to accept, then photograph and conversation side by side (one above the other on a phone)."""
    made: dict[str, Any] = {}
    _text(panels.head(), elem_id="head")
    with gr.Column(elem_id="welcome") as made["welcome"]:
        _text(panels.welcome(said_first))
        made["accept"] = gr.Button(words.ACCEPT, variant="primary", elem_id="accept")
    with gr.Column(visible=False, elem_id="main") as made["main"]:
        _text(panels.banner(identity, said_first), elem_id="banner")
        made["flags"] = _text("", elem_id="flags", visible=False)
        with gr.Row():
            with gr.Column(scale=4, min_width=300):
                made |= _photograph_side()
            with gr.Column(scale=7, min_width=300):
                made |= _conversation_side()
        with gr.Accordion(words.EXPERTS, open=False, elem_id="experts"):
            made |= _expert_drawer(identity)
    return Widgets(**made)


def _photograph_side() -> dict[str, Any]:
    with gr.Column(elem_id="before") as before:
        # Any file: the server looks at what is in it and answers in plain words. With `file_types` Gradio itself would
        # refuse by name, and archives of hospitals name their files IM000001. A phone that is told no type offers its
        # camera beside its files.
        upload = gr.File(label=words.PHOTOGRAPH, height=220, elem_id="upload")
        _text(panels.quiet(words.EXAMPLES))
        with gr.Row(elem_id="examples"):
            drawn = []
            for example in examples():
                with gr.Column(min_width=80):
                    _text(panels.example(example.uri, example.name))
                    drawn.append(gr.Button(words.use_drawing(example.name), size="sm"))
    photograph = _text("", elem_id="photograph", visible=False)
    photo_status = _text(panels.line(words.WAITING_FOR_PHOTOGRAPH), elem_id="photo_status")
    photo_advice = _text("", elem_id="photo_advice", visible=False)
    return {
        "before": before, "upload": upload, "examples": drawn, "photograph": photograph, "photo_status": photo_status,
        "photo_advice": photo_advice,
        "start": gr.Button(words.START, variant="primary", visible=False, elem_id="start"),
    }  # fmt: skip


def _conversation_side() -> dict[str, Any]:
    steps = _text(panels.steps(), elem_id="steps")
    chat = gr.Chatbot(
        label=words.CONVERSATION, show_label=False, elem_id="chat", height="min(480px, 60vh)", visible=False,
        render_markdown=False, latex_delimiters=[], buttons=["copy"], feedback_options=None,
    )  # fmt: skip
    status = _text("", elem_id="status")
    with gr.Row(equal_height=True, visible=False, elem_id="asking") as asking:
        question = gr.Textbox(
            container=False, label=words.QUESTION, placeholder=words.QUESTION, max_lines=4, scale=6, elem_id="question"
        )
        ask = gr.Button(words.ASK, variant="primary", scale=1, min_width=90, elem_id="ask")
        stop = gr.Button(words.STOP, variant="stop", scale=1, min_width=90, visible=False, elem_id="stop")
    with gr.Column(visible=False, elem_id="suggestions") as ask_on:
        suggestions = [gr.Button(label, size="sm") for label in words.SUGGESTIONS]
    with gr.Row(elem_id="ending"):
        report = gr.Button(words.REPORT, variant="primary", visible=False, elem_id="report")
        restart = gr.Button(words.RESTART, variant="secondary", visible=False, elem_id="restart")
    return {
        "steps": steps, "chat": chat, "status": status, "asking": asking, "question": question, "ask": ask,
        "stop": stop, "ask_on": ask_on, "suggestions": suggestions, "report": report, "restart": restart,
        "downloads": _text("", elem_id="downloads", visible=False),
    }  # fmt: skip


def _expert_drawer(identity: Identity) -> dict[str, Any]:
    sampling = []
    for three in (NUMBERS[:3], NUMBERS[3:]):
        with gr.Row():
            sampling += [_number(number) for number in three]
    speed = _text("", elem_id="speed")
    show = gr.Button(words.SHOW_HEATMAP, size="sm", interactive=False, elem_id="show_heatmap")
    heatmap = _text("", elem_id="heatmap", visible=False)
    _text(panels.checkpoint(identity), elem_id="checkpoint")
    return {"sampling": sampling, "speed": speed, "show_heatmap": show, "heatmap": heatmap}


def _number(number: Number) -> Any:
    named: dict[str, Any] = {"label": number.label, "info": number.info}
    if number.step is None:  # without limits, for which Gradio would cover the page with “Error”
        return gr.Number(number.default, precision=0, **named)
    return gr.Slider(number.low, number.high, number.default, step=number.step, **named)


def _text(html: str, **more: Any) -> gr.Markdown:
    return gr.Markdown(html, latex_delimiters=[], **more)
