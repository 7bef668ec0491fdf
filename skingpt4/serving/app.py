"""The routes."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.middleware import Middleware

from skingpt4 import __version__
from skingpt4.report.content import Report
from skingpt4.serving.events import Answered, events
from skingpt4.serving.faults import RefusedError, add_handlers
from skingpt4.serving.guard import OPEN_PATHS, layers
from skingpt4.serving.metrics import Counted, Metrics
from skingpt4.serving.places import Places
from skingpt4.serving.service import Service
from skingpt4.serving.wire import ChatRequest, Completion, FaultBody, ModelCard, ModelList, ReportRequest, State
from skingpt4.web.address import Address

DESCRIPTION = "Conversations about photographs of skin, in the manner of OpenAI's interface. Not a doctor."
routes = APIRouter()
Answers = dict[int | str, dict[str, Any]]  # by status, for the OpenAPI document
_REFUSALS: Answers = {
    status: {"model": FaultBody, "description": said}
    for status, said in {
        400: "The request cannot be answered; the message says what to change.",
        401: "No valid API key.",
        403: "From a web site.",
        413: "Too large.",
        429: "Too much at one time; see Retry-After.",
        500: "The server failed.",
        503: "The model is still being loaded.",
    }.items()
}
_KEPT_OUT: Answers = {status: _REFUSALS[status] for status in (401, 403)}
_NO_MODEL: Answers = {404: {"model": FaultBody, "description": "Another model's name."}}
_LOADING: Answers = {503: {"model": State, "description": "The model is still being loaded."}}
_FIGURES: Answers = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
_STREAM: Answers = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Whole, or as a stream."}
}


class Application(FastAPI):
    """The server's routes. name: of the model, as clients ask for it. service: once the model is loaded."""

    def __init__(self, at: Address, key: str = "", name: str = "skingpt4", at_once: int = 16, waiting: int = 64):
        self.places = Places(at_once, waiting)
        self.metrics = Metrics(self.places)
        self.service: Service | None = None
        self.name, self.created, self._has_key = name, int(time.time()), bool(key)
        super().__init__(
            title="SkinGPT-4",
            version=__version__,
            description=DESCRIPTION,
            middleware=[Middleware(Counted, metrics=self.metrics), *layers(at, key)],
            lifespan=_closing,
            docs_url=None,  # pages that load their scripts from elsewhere
            redoc_url=None,
            redirect_slashes=False,
        )
        add_handlers(self)
        self.include_router(routes)

    def openapi(self) -> dict[str, Any]:
        """With the key, where one is asked for, and without FastAPI's own shape of errors, which is never sent."""
        if self.openapi_schema is None:
            schema = super().openapi()
            for path, operations in schema["paths"].items():
                for operation in operations.values():
                    operation["responses"].pop("422", None)
                    if self._has_key and path not in OPEN_PATHS:
                        operation["security"] = [{"key": []}]
            if self._has_key:
                schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            self.openapi_schema = schema
        return self.openapi_schema


@asynccontextmanager
async def _closing(app: Application) -> AsyncIterator[None]:
    yield
    if app.service is not None:
        app.service.close()


def _service(request: Request) -> Service:
    if request.app.service is None:
        raise RefusedError(503, "The model is still being loaded.", code="loading")
    service: Service = request.app.service
    return service


Ready = Annotated[Service, Depends(_service)]


def _named(request: Request, name: str) -> ModelCard:
    """Raises `RefusedError` for any other name."""
    app: Application = request.app
    if name != app.name:
        raise RefusedError(404, f"There is no such model here; there is {app.name}.", "model", "model_not_found")
    return ModelCard(id=app.name, created=app.created)


@routes.get("/healthz")
async def health() -> State:
    """Whether the server is there."""
    return State(status="ok")


@routes.get("/readyz", response_model=State, responses=_LOADING)
async def ready(request: Request) -> JSONResponse:
    """Whether it can answer yet."""
    loaded = request.app.service is not None
    return JSONResponse(State(status="ready" if loaded else "loading").model_dump(), 200 if loaded else 503)


@routes.get("/metrics", response_class=Response, responses=_FIGURES | _KEPT_OUT)
async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    return Response(request.app.metrics.text(), media_type="text/plain; version=0.0.4")


@routes.get("/v1/models", responses=_KEPT_OUT)
async def models(request: Request) -> ModelList:
    """The one model."""
    return ModelList(data=[_named(request, request.app.name)])


@routes.get("/v1/models/{name:path}", responses=_KEPT_OUT | _NO_MODEL)
async def model(request: Request, name: str) -> ModelCard:
    """The one model, by its name."""
    return _named(request, name)


@routes.post("/v1/chat/completions", response_model=Completion, responses=_REFUSALS | _NO_MODEL | _STREAM)
async def complete(request: Request, asked: ChatRequest, service: Ready) -> Response:
    """Answer the last message of a conversation about pictures."""
    card = _named(request, asked.model)
    answered = Answered(f"chatcmpl-{uuid4().hex}", card.id, int(time.time()), service.notice)
    pieces = service.answer(asked)
    if not asked.stream:
        async with aclosing(pieces):
            return JSONResponse((await answered.whole(pieces)).model_dump())
    usage = asked.stream_options is not None and asked.stream_options.include_usage
    return StreamingResponse(await begun(events(answered, pieces, usage)), media_type="text/event-stream")


@routes.post("/v1/report", response_model=Report, responses=_REFUSALS)
async def report(asked: ReportRequest, service: Ready) -> Response:
    """The four clinical questions about one photograph, as `skingpt4 report --format json` writes it."""
    return Response((await service.report(asked)).to_json(), media_type="application/json")


async def begun(made: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The same events, the first of them made already: what fails before it fails as an ordinary answer."""
    first = await anext(made)

    async def all_of_them() -> AsyncGenerator[bytes, None]:
        async with aclosing(made):
            yield first
            async for event in made:
                yield event

    return all_of_them()
