"""A small server that speaks vLLM's Completions API (fields, errors and streams as in vLLM 0.33's source) and runs the
decoder with `transformers`, one plain step per token: nothing of the package is in it.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import TracebackType
from typing import Any

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

MODEL = "the-decoder"
PATIENCE_SECONDS = 60


@torch.inference_mode()
def tokens_after(decoder: PreTrainedModel, prompt: Tensor, wanted: Mapping[str, Any]) -> Iterator[tuple[int, Tensor]]:
    """Each token of the answer to embeddings float[T, D], its stop token included, and the log-probabilities float[V]
    that it was picked from.
    """
    generator = torch.Generator().manual_seed(wanted.get("seed") or 0)
    cache, made = DynamicCache(config=decoder.config), list[int]()
    output = decoder(inputs_embeds=prompt[None].to(decoder.dtype), past_key_values=cache, use_cache=True)
    for _ in range(wanted["max_tokens"]):
        logits = output.logits[0, -1].float()
        token = _picked(logits, made, wanted, generator)
        yield token, logits.log_softmax(-1)
        made.append(token)
        if token in wanted.get("stop_token_ids", []):
            return
        output = decoder(input_ids=torch.tensor([[token]]), past_key_values=cache, use_cache=True)


def _picked(logits: Tensor, made: list[int], wanted: Mapping[str, Any], generator: torch.Generator) -> int:
    logits = logits.clone()
    for token in set(made):  # of the answer alone: embeddings have no ids
        penalty = wanted.get("repetition_penalty", 1.0)
        logits[token] = logits[token] / penalty if logits[token] > 0 else logits[token] * penalty
    if wanted["temperature"] == 0:
        return int(logits.argmax())
    probabilities = (logits / wanted["temperature"]).softmax(-1)
    ordered, places = probabilities.sort(descending=True)
    ordered[ordered.cumsum(-1) - ordered >= wanted.get("top_p", 1.0)] = 0
    return int(places[torch.multinomial(ordered, 1, generator=generator)])


class Refused(Exception):
    """A request that vLLM answers with a status and its error's form."""

    def __init__(self, status: int, message: str):
        self.status, self.message = status, message


class PromptEmbedsServer:
    """Serves `decoder` on loopback while it is entered.

    bodies: every request. running, most_at_once, aborted: how many answers are being made, were at once, were given up.
    before_token: called before each token with how many its answer has; where it returns False, it is asked again.
    """

    def __init__(self, decoder: PreTrainedModel, key: str = "", takes_embeddings: bool = True, scores: bool = True):
        self.decoder, self.key, self.takes_embeddings, self.scores = decoder, key, takes_embeddings, scores
        self.bodies: list[dict[str, Any]] = []
        self.running = self.most_at_once = self.aborted = 0
        self.before_token: Callable[[int], bool] = lambda _: True
        routes = [Route("/v1/models", self._models), Route("/v1/completions", self._completions, methods=["POST"])]
        app = Starlette(routes=routes, exception_handlers={Refused: _refusal})
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=self._server.run)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def __enter__(self) -> PromptEmbedsServer:
        self._thread.start()
        until(lambda: self._server.started)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE_SECONDS)

    def _allow(self, request: Request) -> None:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            raise Refused(401, "Unauthorized")

    async def _models(self, request: Request) -> Response:
        self._allow(request)
        room = self.decoder.config.max_position_embeddings
        return JSONResponse({"object": "list", "data": [{"id": MODEL, "object": "model", "max_model_len": room}]})

    async def _completions(self, request: Request) -> Response:
        self._allow(request)
        body = await request.json()
        self.bodies.append(body)
        if body.get("model") != MODEL:
            raise Refused(404, f"The model `{body.get('model')}` does not exist.")
        prompts = self._prompts(body)
        if body.get("stream"):
            return StreamingResponse(self._events(prompts[0], body), media_type="text/event-stream")
        choices = [self._choice(index, prompt, body) for index, prompt in enumerate(prompts)]
        return JSONResponse({"object": "text_completion", "model": MODEL, "choices": choices})

    def _prompts(self, body: Mapping[str, Any]) -> list[Tensor]:
        """Embeddings first, then ids, as vLLM has them."""
        if body.get("temperature", 1.0) > 2:
            raise Refused(400, f"temperature must be in [0, 2], got {body['temperature']}.")
        given = body.get("prompt_embeds", [])
        prompts = [self._embeddings(each) for each in ([given] if isinstance(given, str) else given)]
        if "prompt" in body:
            prompts.append(self.decoder.get_input_embeddings()(torch.tensor(body["prompt"])).detach())
        if not prompts:
            raise Refused(400, "Either prompt or prompt_embeds must be provided and non-empty.")
        return prompts

    def _embeddings(self, encoded: str) -> Tensor:
        if not self.takes_embeddings:
            raise Refused(400, "You must set `--enable-prompt-embeds` to input `prompt_embeds`.")
        tensor = torch.load(io.BytesIO(base64.b64decode(encoded, validate=True)), weights_only=True)
        width = self.decoder.config.hidden_size
        if tensor.shape[1] != width:
            raise Refused(
                400, f"`prompt_embeds` hidden_size {tensor.shape[1]} does not match the model's hidden_size {width}."
            )
        return tensor

    def _choice(self, index: int, prompt: Tensor, body: Mapping[str, Any]) -> dict[str, Any]:
        made = list(tokens_after(self.decoder, prompt, body))
        wanted, count = (body.get("logprob_token_ids") if self.scores else None), body["logprobs"]
        if wanted is not None and len(wanted) != count:
            raise Refused(400, "When both logprobs and logprob_token_ids are set, logprobs must equal their number.")
        tops = [[*(wanted or likely.topk(count).indices.tolist()), token] for token, likely in made]
        top = [
            {f"token_id:{token}": float(likely[token]) for token in tokens}
            for tokens, (_, likely) in zip(tops, made, strict=True)
        ]
        return {
            "index": index,
            "text": "",
            "logprobs": {"top_logprobs": top},
            "token_ids": [token for token, _ in made],
        }

    async def _events(self, prompt: Tensor, body: Mapping[str, Any]) -> AsyncIterator[str]:
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        is_whole = False
        try:
            for count, (token, _) in enumerate(tokens_after(self.decoder, prompt, body)):
                while not self.before_token(count):
                    await asyncio.sleep(0.005)
                await asyncio.sleep(0)
                yield _event({"choices": [{"index": 0, "text": "", "token_ids": [token]}]})
            is_whole = True
            yield "data: [DONE]\n\n"
        except Refused as error:
            yield _event({"error": {"message": error.message, "type": "InternalServerError", "code": error.status}})
            yield "data: [DONE]\n\n"
        finally:
            self.aborted += not is_whole
            self.running -= 1


def _event(content: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"


async def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    if error.status == 401:
        return JSONResponse({"error": error.message}, 401)
    return JSONResponse(
        {"error": {"message": error.message, "type": "BadRequestError", "code": error.status}}, error.status
    )


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
