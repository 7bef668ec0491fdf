"""The page's widgets, and what happens when they are used. What a visit is stands in `visit`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from skingpt4.chat.conversation import Chat
from skingpt4.chat.notices import notices
from skingpt4.chat.photo_check import load_photo_check
from skingpt4.demo.page import panels, words
from skingpt4.demo.page.examples import Example, examples
from skingpt4.demo.page.expert import sampling_of
from skingpt4.demo.page.handing_out import heatmap_url, photograph_url, report_urls
from skingpt4.demo.page.line import Line
from skingpt4.demo.page.visit import Visit
from skingpt4.demo.page.widgets import Widgets, lay_out
from skingpt4.demo.visitors.sessions import SessionError, Sessions
from skingpt4.engines.sampling import Sampling
from skingpt4.errors import SettingsError
from skingpt4.report.identity import identity_of
from skingpt4.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image

    from skingpt4.demo.visitors.uploads import Uploads

WAITING_PLACES = 32  # how many may wait for the model; one more is told that the page is busy
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
# In Gradio's queue nobody waits: `Line` lets one visitor after the other to the model, and tells everyone's place.
STEPS: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden"}
# Gradio does not look at what the browser sends: where it refuses a number, it covers every output with “Error”.
AS_SENT: dict[str, Any] = {"preprocess": False}

Shown = dict[Any, Any]  # widget -> its new value or state; the others stay as they are


def build_page(chat: Chat, settings: Settings, sessions: Sessions, uploads: Uploads) -> gr.Blocks:
    """The page for a loaded model. settings: those that it was built from."""
    identity, said_first = identity_of(chat, settings), notices(settings)
    with gr.Blocks(title=words.TITLE, analytics_enabled=False) as page:
        widgets = lay_out(identity, said_first)
        Handlers(page, widgets, chat, settings, sessions, uploads).connect()
    page.i18n_instance = gr.I18n(en=words.UPLOAD_AREA)
    return page


class Handlers:
    """What the widgets' events call. Every one of them gets the request, which says whose page it is."""

    def __init__(
        self, page: gr.Blocks, widgets: Widgets, chat: Chat, settings: Settings, sessions: Sessions, uploads: Uploads
    ):
        self.page, self.widgets, self.chat, self.settings = page, widgets, chat, settings
        self.sessions, self.uploads = sessions, uploads
        self.line, self.photo_check = Line(WAITING_PLACES, words.BUSY), load_photo_check(settings)

    def connect(self) -> None:
        """Wire the widgets."""
        w = self.widgets
        w.accept.click(self.accept, None, [w.welcome, w.main], api_visibility="private", **AT_ONCE)
        looks = [self._on(w.upload.upload, self.look, [w.upload], "look", **AS_SENT)]
        # Not before all is said: a step that comes late would take away the file that is given next.
        looks[0].then(lambda: None, None, w.upload, api_visibility="private", **AT_ONCE)
        looks += [
            self._on(button.click, self._looking_at(example))
            for button, example in zip(w.examples, examples(), strict=True)
        ]
        asks = [
            self._on(w.start.click, self._asking(words.START_PROMPT), w.sampling, **AS_SENT),
            self._on(w.ask.click, self.ask, [w.question, *w.sampling], "ask", **AS_SENT),
            self._on(w.question.submit, self.ask, [w.question, *w.sampling], **AS_SENT),
        ]
        asks += [
            self._on(button.click, self._asking(prompt), w.sampling, **AS_SENT)
            for button, prompt in zip(w.suggestions, words.SUGGESTIONS.values(), strict=True)
        ]
        works = [
            self._on(w.report.click, self.report, w.sampling, "report", **AS_SENT),
            self._on(w.show_heatmap.click, self.heatmap, [], "heatmap"),
        ]
        w.stop.click(self.stop, None, None, api_name="stop", **AT_ONCE)
        w.restart.click(
            self.restart, None, [*w.everything, w.upload], api_name="restart", cancels=[*looks, *asks, *works],
            **AT_ONCE,
        ).then(self.show_again, None, w.everything, api_visibility="private", **AT_ONCE)  # fmt: skip
        self.page.unload(self.close)

    def _on(self, trigger: Any, handler: Any, inputs: Any = None, api_name: str = "", **more: Any) -> Any:
        name = {"api_name": api_name} if api_name else {"api_visibility": "private"}
        return trigger(handler, inputs, self.widgets.everything, **name, **STEPS, **more)

    def accept(self) -> Shown:
        return {self.widgets.welcome: gr.update(visible=False), self.widgets.main: gr.update(visible=True)}

    def visit(self, request: gr.Request) -> Visit:
        """The page's own. Raises `gr.Error`, which Gradio shows, for another browser's page."""
        try:
            return self.sessions.hold(request, lambda: self._new_visit(request))
        except SessionError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def _new_visit(self, request: gr.Request) -> Visit:
        return Visit(self.chat, self.line, self._forget_values(request), self.photo_check)

    def look(self, request: gr.Request, file: dict[str, Any] | None) -> Iterator[Shown]:
        yield from self._begin(request, lambda: self.uploads.take(file, request), words.READY, words.PHOTOGRAPH_ALT)

    def _looking_at(self, example: Example) -> Callable[..., Iterator[Shown]]:
        def look(request: gr.Request) -> Iterator[Shown]:  # Gradio finds the request by the annotation
            yield from self._begin(request, lambda: example.picture, words.DRAWN, words.drawn(example.name))

        return look

    def _begin(self, request: gr.Request, take: Callable[[], Image], said: str, alt: str) -> Iterator[Shown]:
        visit = self.visit(request)
        show = partial(photograph_url, self.sessions, request)
        # Whoever types as soon as the box is there keeps it: the last step comes twice, once as the event's end.
        yield from self._steps(visit, visit.look(take, show, said, alt), box=False)

    def ask(self, request: gr.Request, question: object, *numbers: object) -> Iterator[Shown]:
        visit = self.visit(request)
        typed = question if isinstance(question, str) else ""
        # The box is left alone where its question is not even looked at.
        yield from self._sampled(visit, numbers, lambda sampling: visit.ask(typed, sampling), box=not visit.busy)

    def _asking(self, prompt: str) -> Callable[..., Iterator[Shown]]:
        def ask(request: gr.Request, *numbers: object) -> Iterator[Shown]:
            visit = self.visit(request)
            yield from self._sampled(visit, numbers, lambda sampling: visit.ask(prompt, sampling), box=is_new(visit))

        return ask

    def report(self, request: gr.Request, *numbers: object) -> Iterator[Shown]:
        visit = self.visit(request)
        hand_out = partial(report_urls, self.sessions, request)
        yield from self._sampled(
            visit, numbers, lambda sampling: visit.make_report(self.settings, sampling, hand_out), is_new(visit)
        )

    def heatmap(self, request: gr.Request) -> Iterator[Shown]:
        visit = self.visit(request)
        yield from self._steps(visit, visit.look_closer(partial(heatmap_url, self.sessions, request)), is_new(visit))

    def stop(self, request: gr.Request) -> None:
        visit = self.sessions.held(request)
        if visit is not None:  # none is made for this: each takes one of few places
            visit.stop()

    def restart(self, request: gr.Request) -> Shown:
        """Forget the photograph and all that came of it."""
        self.sessions.forget(request)
        return self.shown(self._new_visit(request), box=True) | {self.widgets.upload: None}

    def show_again(self, request: gr.Request) -> Shown:
        """The page as it is: a step that was on its way when its event was ended may come after the restart."""
        return self.shown(self.sessions.held(request) or self._new_visit(request))

    def close(self, request: gr.Request) -> None:
        """The tab was closed."""
        with suppress(SessionError):  # it may have been forgotten before
            self.sessions.forget(request)
            self._forget_values(request)()  # also of a page that was not used since it was started again
        undelivered = self.page._queue.pending_messages_per_session.get(request.session_hash or "")
        while undelivered is not None and not undelivered.empty():  # Gradio would keep them for a page that never comes
            undelivered.get_nowait()

    def _forget_values(self, request: gr.Request) -> Callable[[], None]:
        """Gradio keeps the last value of every widget for each page it has seen, conversations included."""
        page, key = self.page, request.session_hash or ""

        def forget() -> None:
            page.state_holder.session_data.pop(key, None)

        return forget

    def _sampled(
        self, visit: Visit, numbers: Sequence[object], work: Callable[[Sampling], Iterator[None]], box: bool
    ) -> Iterator[Shown]:
        """The steps of `work`, or what is wrong with the numbers. box: as of `_steps`."""
        try:
            sampling = sampling_of(numbers)
        except SettingsError as error:
            visit.refuse(str(error))
            yield self.shown(visit, box=is_new(visit))
            return
        yield from self._steps(visit, work(sampling), box)

    def _steps(self, visit: Visit, steps: Iterator[None], box: bool) -> Iterator[Shown]:
        """box: whether these steps say what stands in the box for questions; others leave alone what is typed there."""
        for _ in steps:
            if not visit.left:
                yield self.shown(visit, box)
        if not visit.left:
            yield self.shown(visit, box)

    def shown(self, visit: Visit, box: bool = False) -> Shown:
        """The whole page for a visit, every time: Gradio sends the differences of one step to the next, and its script
        applies them to steps that it has not shown yet. What a later step left out would be missing in an earlier one.
        Hence `box`, as of `_steps`, is the same in all steps of an event.
        """
        w = self.widgets
        has_picture, asked = visit.conversation is not None, bool(visit.messages)
        free = has_picture and not visit.busy
        draft: dict[str, Any] = {"value": visit.draft} if box else {}
        return {
            w.flags: gr.update(value=panels.flags(visit.flags), visible=bool(visit.flags)),
            w.before: gr.update(visible=not has_picture),
            w.photograph: gr.update(value=panels.photograph(visit.photograph), visible=has_picture),
            w.photo_status: panels.line(visit.photo_status),
            w.photo_advice: gr.update(value=panels.photo_advice(visit.advice), visible=bool(visit.advice)),
            w.start: gr.update(visible=has_picture and not asked, interactive=free),
            w.steps: gr.update(visible=not asked),
            w.chat: gr.update(value=visit.conversation_shown, visible=asked),
            w.status: panels.line(visit.status),
            w.asking: gr.update(visible=has_picture),
            w.question: gr.update(interactive=free, **draft),
            w.ask: gr.update(visible=not visit.busy),
            w.stop: gr.update(visible=visit.busy),
            w.ask_on: gr.update(visible=asked),
            **{button: gr.update(interactive=free) for button in w.suggestions},
            w.report: gr.update(visible=asked, interactive=free),
            w.restart: gr.update(visible=has_picture),
            w.downloads: gr.update(value=panels.downloads(visit.files), visible=bool(visit.files)),
            w.speed: panels.quiet(visit.speed),
            w.show_heatmap: gr.update(interactive=free),
            w.heatmap: gr.update(value=panels.heatmap(visit.heatmap), visible=bool(visit.heatmap.url)),
        }


def is_new(visit: Visit) -> bool:
    """Whether nothing of the page is known any more (it was idle too long); then nothing stays in its box either."""
    return visit.conversation is None
