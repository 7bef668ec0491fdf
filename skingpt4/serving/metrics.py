"""Figures for Prometheus: how many, how long, how full. No label comes from a client."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from skingpt4.serving.places import Places

SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Of one server."""

    def __init__(self, places: Places):
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "skingpt4_requests", "Requests by path and HTTP status.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "skingpt4_request_seconds", "From a request's head to its answer's end.", ["path"], buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.first_word_seconds = Histogram(
            "skingpt4_first_word_seconds", "From a question to the first piece of its answer, waiting included.",
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.prompt_tokens = Counter("skingpt4_prompt_tokens", "Tokens of prompts.", registry=self.registry)
        self.new_tokens = Counter("skingpt4_new_tokens", "Tokens of answers.", registry=self.registry)
        gauges = {
            "running": ("Answers that are being made.", lambda: places.taken),
            "places": ("Answers that can be made at one time.", lambda: places.at_once),
            "waiting": ("Requests that wait for a place.", lambda: places.waiting),
        }
        for name, (said, value) in gauges.items():
            Gauge(f"skingpt4_{name}", said, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)


class Counted:
    """ASGI layer that counts requests by the route that answered; paths that do not exist are one."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, started = "gone", time.perf_counter()  # where the client left before an answer began

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - started)
