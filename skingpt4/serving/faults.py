"""What a client is told when it cannot be answered, in the shape that OpenAI's clients read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from skingpt4.chat.questions import QuestionError
from skingpt4.demo.logs import LOGGER, places
from skingpt4.errors import ImageError, SettingsError, SkinGPTError
from skingpt4.serving.wire import Fault, FaultBody

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

RETRY_SECONDS = 5
FAILED = "The server failed; its log says where. The same request may work another time."
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class RefusedError(SkinGPTError):
    """A request that is not answered. status: of HTTP. param: the field that is wrong."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None):
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


def busy(what: str) -> RefusedError:
    """Too much at one time; the client is told when to come again."""
    return RefusedError(429, f"{what} Try again in {RETRY_SECONDS} seconds.", code="busy")


def fault(status: int, message: str, param: str | None = None, code: str | None = None) -> JSONResponse:
    """An error as OpenAI's clients read it."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    readable = message.encode("utf-8", "replace").decode()  # half characters of what was sent
    body = FaultBody(error=Fault(message=readable, type=kind, param=param, code=code)).model_dump()
    headers = {"retry-after": str(RETRY_SECONDS)} if status in (429, 503) else {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(body, status, headers)


def refusal(error: SkinGPTError) -> JSONResponse:
    """What the client can mend, in words for it; weights and devices are ours."""
    if isinstance(error, RefusedError):
        return fault(error.status, str(error), error.param, error.code)
    if isinstance(error, (QuestionError, ImageError, SettingsError)):
        return fault(400, str(error))
    return failure(error)


def failure(error: BaseException) -> JSONResponse:
    """What is ours; logged without anything that was sent."""
    LOGGER.error(places(error))
    return fault(500, FAILED)


def of_validation(errors: Sequence[Any]) -> tuple[str, str]:
    """What pydantic found first, in words, and the field's name. Nothing that was sent is repeated."""
    first = errors[0]
    field = ".".join(str(part) for part in first["loc"] if part != "body")[:100]
    message = str(first["msg"]).removeprefix("Value error, ")
    field = field.encode("utf-8", "replace").decode()
    return (f"{field}: {message}" if field else f"{message}. A JSON object was expected."), field


def add_handlers(app: FastAPI) -> None:
    """Every way of failing ends in the one shape."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    @app.exception_handler(SkinGPTError)
    async def refused(_: Request, error: SkinGPTError) -> JSONResponse:
        return refusal(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        message, field = of_validation(error.errors())
        return fault(400, message, field or None, "invalid_value")

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        made = fault(error.status_code, error.detail)
        made.headers.update(error.headers or {})
        return made
