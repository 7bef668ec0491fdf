"""The page's widgets and what happens when they are used. What a visit is stands in `visit`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from skingpt4.chat.conversation import Chat
from skingpt4.demo.visit import Visit
from skingpt4.engines.sampling import Sampling
from skingpt4.errors import SkinGPTError
from skingpt4.vocabulary import CLINICAL_PROMPTS

ONE_AT_A_TIME: dict[str, Any] = {
    "concurrency_id": "model",
    "concurrency_limit": 1,
}  # the model answers one visitor after the other
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
KEEP_SECONDS = 1800  # an abandoned visit leaves memory, and its picture the disk, after half an hour
EMPTY_CHAT = "Add a photograph of skin, then ask about it.\n\nYour picture stays on this computer."


@dataclass(frozen=True)
class Widgets:
    """What the handlers touch."""

    visit: gr.State
    picture: gr.Image
    chat: gr.Chatbot
    status: gr.Markdown
    question: gr.Textbox
    ask: gr.Button
    stop: gr.Button
    restart: gr.Button
    prompts: list[gr.Button]
    sampling: list[Any]  # temperature, top-p, longest answer, seed

    @property
    def conversation(self) -> list[Any]:
        """What changes when a question is asked or answered, in the order of `shown`."""
        return [self.chat, self.status, self.question, self.ask, self.stop, *self.prompts]


def shown(visit: Visit) -> list[Any]:
    """Values of `Widgets.conversation` for a visit."""
    may_ask = visit.conversation is not None and not visit.busy
    return [
        _messages(visit),
        visit.status,
        gr.update(interactive=visit.conversation is not None),
        gr.update(visible=not visit.busy, interactive=may_ask),
        gr.update(visible=visit.busy),
        *(gr.update(interactive=may_ask) for _ in CLINICAL_PROMPTS),
    ]


def _messages(visit: Visit) -> list[dict[str, str]]:
    """The chat area's messages. Marks of HTML are shown as they were typed, never obeyed."""
    return [{**message, "content": escape(message["content"], quote=False)} for message in visit.messages]


def build_page(chat: Chat, said_first: Sequence[str]) -> gr.Blocks:
    """The page for a loaded model; said_first: the notices that stay in sight."""
    with gr.Blocks(title="SkinGPT-4", analytics_enabled=False, delete_cache=(60, KEEP_SECONDS)) as page:
        widgets = _lay_out(said_first)
        _connect_picture(widgets, chat, _connect_questions(widgets))
    return page


def _lay_out(said_first: Sequence[str]) -> Widgets:
    gr.Markdown("# SkinGPT-4\nAsk about a photograph of skin. Everything is computed on this computer.", elem_id="head")
    gr.Markdown("\n\n".join(f"**{line}**" if not i else line for i, line in enumerate(said_first)), elem_id="notice")
    visit = gr.State(Visit(), time_to_live=KEEP_SECONDS, delete_callback=Visit.leave)
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            picture = gr.Image(label="Photograph", sources=["upload", "webcam", "clipboard"], buttons=[], height=320)
            status = gr.Markdown(Visit().status, elem_id="status")
            restart = gr.Button("Start again", variant="secondary")
        with gr.Column(scale=7, min_width=300):
            talk = gr.Chatbot(
                label="Conversation", show_label=False, elem_id="chat", height=420, placeholder=EMPTY_CHAT,
                render_markdown=False, latex_delimiters=[], buttons=["copy"], feedback_options=None,
            )  # fmt: skip
            with gr.Row(equal_height=True):
                question = gr.Textbox(
                    container=False, label="Question", placeholder="Your question", max_lines=4, scale=6,
                    interactive=False,
                )  # fmt: skip
                ask = gr.Button("Ask", variant="primary", scale=1, min_width=90, interactive=False)
                stop = gr.Button("Stop", variant="stop", scale=1, min_width=90, visible=False)
            with gr.Column(elem_id="prompts"):
                prompts = [gr.Button(text, size="sm", interactive=False) for text in CLINICAL_PROMPTS]
    with gr.Accordion("Advanced", open=False):
        sampling = _sampling_widgets()
    return Widgets(visit, picture, talk, status, question, ask, stop, restart, prompts, sampling)


def _sampling_widgets() -> list[Any]:
    default = Sampling()
    with gr.Row():
        temperature = gr.Slider(
            0, 2, default.temperature, step=0.05, label="Temperature", info="0: always the likeliest word."
        )
        top_p = gr.Slider(0.05, 1, default.top_p, step=0.05, label="Top-p", info="Below 1: only the likeliest words.")
    with gr.Row():
        longest = gr.Slider(1, 1000, default.max_new_tokens, step=1, label="Longest answer", info="In pieces of words.")
        seed = gr.Number(default.seed, label="Seed", precision=0, minimum=0, info="The same seed, the same answer.")
    return [temperature, top_p, longest, seed]


def _connect_picture(widgets: Widgets, chat: Chat, answers: list[Any]) -> None:
    """answers: the events that stream one; another picture ends them."""

    def leave(visit: Visit) -> list[Any]:
        visit.leave()
        empty = Visit()
        return [empty, *shown(empty)]

    def look(file: dict[str, Any] | None) -> list[Any]:
        visit = Visit.of(chat, file["path"]) if file else Visit()
        return [visit, *shown(visit), gr.skip() if visit.conversation else None]

    everything = [widgets.visit, *widgets.conversation]
    # The file is taken as it came (`preprocess=False`): Gradio would open it first, with errors of its own.
    start_over: dict[str, Any] = {
        "fn": leave,
        "inputs": widgets.visit,
        "outputs": everything,
        "cancels": answers,
        **AT_ONCE,
    }
    widgets.picture.upload(**start_over, api_visibility="private").then(
        look, widgets.picture, [*everything, widgets.picture], preprocess=False, api_name="look",
        show_progress_on=widgets.status,
        **ONE_AT_A_TIME,
    )  # fmt: skip
    widgets.picture.clear(**start_over, api_visibility="private")
    widgets.restart.click(**start_over, api_name="restart").then(
        lambda: [None, ""], None, [widgets.picture, widgets.question], api_visibility="private", **AT_ONCE
    )


def _connect_questions(widgets: Widgets) -> list[Any]:
    """Returns the events that stream answers."""

    def take(visit: Visit, text: str) -> list[Any]:
        taken = visit.question(text)
        return [*shown(visit), gr.update(value="") if taken else gr.update()]

    def answer(visit: Visit, *sampling: Any) -> Iterator[list[Any]]:
        try:
            for _ in visit.answer(_sampling(*sampling)):
                yield [_messages(visit), visit.status]
        finally:
            visit.busy = False
        yield [_messages(visit), visit.status]

    def ask(trigger: Any, source: Any, public: bool = False) -> Any:
        """Wire a widget's event to a question and its streamed answer."""

        def name(api_name: str) -> dict[str, str]:
            return {"api_name": api_name} if public else {"api_visibility": "private"}

        taken = trigger(
            take, [widgets.visit, source], [*widgets.conversation, widgets.question], **name("ask"), **AT_ONCE
        )
        answered = taken.then(
            answer, [widgets.visit, *widgets.sampling], [widgets.chat, widgets.status], show_progress="hidden",
            **name("answer"), **ONE_AT_A_TIME,
        )  # fmt: skip
        answered.then(shown, widgets.visit, widgets.conversation, api_visibility="private", **AT_ONCE)
        return answered

    answers = [ask(widgets.ask.click, widgets.question, public=True), ask(widgets.question.submit, widgets.question)]
    answers += [ask(button.click, button) for button in widgets.prompts]
    widgets.stop.click(Visit.leave, widgets.visit, None, api_name="stop", **AT_ONCE)
    return answers


def _sampling(temperature: float, top_p: float, max_new_tokens: float, seed: float | None) -> Sampling:
    try:
        return Sampling(int(max_new_tokens), float(temperature), float(top_p), seed=int(seed or 0))
    except SkinGPTError as error:
        raise gr.Error(str(error)) from error
