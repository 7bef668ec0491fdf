"""What a client is told when it cannot be answered, in the shape that OpenAI's clients read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from skingpt4.chat.questions import QuestionError
from skingpt4.engines.vllm_engine import VllmError
from skingpt4.errors import ImageError, SettingsError, SkinGPTError
from skingpt4.serving.wire import Fault, FaultBody
from skingpt4.web.logs import LOGGER, places

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

RETRY_SECONDS = 5
FAILED = "The server failed; its log says where. The same request may work another time."
_NO_OBJECT = "The body is no JSON object. Send one, with the header Content-Type: application/json."
_WORDS = {  # for pydantic's kinds of errors whose own words are about Python
    "extra_forbidden": "There is no such field, or this model cannot do what it asks for. Leave it out.",
    "missing": "It is missing.",
    "model_type": "An object was expected.",
    "model_attributes_type": "An object was expected.",
    "union_tag_invalid": "Its {discriminator} must be one of {expected_tags}.",
    "union_tag_not_found": "It has no {discriminator}.",
    "none_required": "This model cannot make use of it. Leave it out.",
}
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
    if isinstance(error, VllmError):
        LOGGER.error(places(error))
        return fault(503, "The decoder's server does not answer, or refuses. Try again later.")
    return failure(error)


def failure(error: BaseException) -> JSONResponse:
    """What is ours; logged without anything that was sent."""
    LOGGER.error(places(error))
    return fault(500, FAILED)


def of_validation(errors: Sequence[Any]) -> tuple[str, str]:
    """What pydantic found, in words, and the field's name. No value that was sent is repeated.

    Of a field that takes several kinds pydantic tells for each why it is not that; the one that fits best was meant.
    """
    meant = max(errors, key=lambda error: (len(_path(error["loc"])), not error["type"].endswith("_type")))
    path = _path(meant["loc"])
    if not path or meant["type"] == "json_invalid":
        return _NO_OBJECT, ""
    field = ".".join(path)[:100].encode("utf-8", "replace").decode()
    words = _WORDS.get(meant["type"], "").format(**meant.get("ctx", {}))
    return f"{field}: {words or str(meant['msg']).removeprefix('Value error, ')}", field


def _path(location: Sequence[str | int]) -> list[str]:
    """Names and numbers that lead to a value, without `body` and without the kinds that pydantic tried."""
    path = [str(part) for part in location[1:2]]
    for before, part in pairwise(location[1:]):
        is_kind = isinstance(before, int) or part in ("str", "constrained-str") or "[" in str(part)
        if not is_kind:
            path.append(str(part))
    return path


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
