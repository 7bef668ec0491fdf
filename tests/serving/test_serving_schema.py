"""schemathesis makes requests of all kinds from the server's own OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from clients import body, data_url, running
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import positive_data_acceptance
from schemathesis.generation import GenerationMode

from skingpt4.chat.conversation import Chat
from skingpt4.serving.guard import OPEN_PATHS
from skingpt4.settings import Settings

OPERATIONS = [
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{name}"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/report"),
]
KEY = {"Authorization": "Bearer a-key-for-tests"}


@pytest.fixture(scope="module")
def schema(chat: Chat, settings: Settings) -> Iterator[schemathesis.BaseSchema]:
    with running(chat, settings, key="a-key-for-tests") as server:
        yield schemathesis.openapi.from_url(f"{server.url}/openapi.json", headers=KEY)


def test_the_document_names_every_route(schema: schemathesis.BaseSchema) -> None:
    found = {(each.ok().method.upper(), each.ok().path) for each in schema.get_all_operations()}
    assert found == {(method, path) for method, path in OPERATIONS}


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [(*each, mode) for each in OPERATIONS for mode in GenerationMode if mode.is_positive or each[1] not in OPEN_PATHS],
)
def test_every_answer_is_as_the_document_says(
    schema: schemathesis.BaseSchema, method: str, path: str, mode: GenerationMode
) -> None:
    """Also for requests that it does not allow, which must be refused."""

    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    @hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=KEY, excluded_checks=[positive_data_acceptance])  # few make a picture

    check()


def test_a_whole_answer_is_as_the_document_says(schema: schemathesis.BaseSchema) -> None:
    """What is made at random holds no picture."""
    for path, request in (("/v1/chat/completions", body()), ("/v1/report", {"image": data_url(), "max_tokens": 4})):
        case = schema[path]["POST"].Case(body=request, media_type="application/json")
        answer = case.call_and_validate(headers=KEY)
        assert answer.status_code == 200, answer.text
