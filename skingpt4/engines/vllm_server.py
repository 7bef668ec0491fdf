"""A vLLM server, `vllm serve DECODER --enable-prompt-embeds`, asked over its Completions API (read in vLLM 0.33).

What goes over the line are a prompt's embeddings, of the photograph too. The server's key, where it has one, is read
from the environment variable VLLM_API_KEY.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import torch
from torch import Tensor
from transformers import PreTrainedModel

from skingpt4.engines.at_once import embed
from skingpt4.engines.vllm_engine import VllmError

KEY_VARIABLE = "VLLM_API_KEY"
SERVE = "vllm serve DECODER --enable-prompt-embeds"
TIMEOUT = httpx.Timeout(60, connect=10, read=300)  # seconds; a busy server lets a request wait for its first token
PROBED_TOKENS = 64  # of the vocabulary, evenly spread, that ours and the server's embedding are compared by
PROBED_SCORES = 5
# In log-probabilities. Where both embeddings are equal, rounding in bf16 remains; another decoder's are apart by more.
PROBE_TOLERANCE = 0.5
SHOWN_CHARACTERS = 300  # of what a server says


class VllmServer:
    """A connection to the server at `url`, e.g. http://localhost:8000. Several threads may ask at once.

    Raises `VllmError` where there is no such server, or it asks for another key.
    """

    def __init__(self, url: str):
        address, key = url.rstrip("/").removesuffix("/v1"), _key()
        self.url = re.sub("//[^/]*@", "//", address)  # as messages show it, without a password
        with self._in_words():
            self._client = httpx.Client(
                base_url=f"{address}/v1/",
                headers={"Authorization": f"Bearer {key}"} if key else {},
                timeout=TIMEOUT,
                limits=httpx.Limits(max_connections=None),
            )
        served = self._ask("GET", "models")
        try:
            model = served["data"][0]
            self._model, self._context_tokens = str(model["id"]), int(model["max_model_len"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise VllmError(f"{self.url} is no vLLM server: it does not say which model it has. {_START}") from error

    @property
    def context_tokens(self) -> int:
        """The server's `--max-model-len`."""
        return self._context_tokens

    def require_decoder(self, decoder: PreTrainedModel) -> None:
        """Raise `VllmError` where the server takes no embeddings, or runs another decoder than `decoder`, whose
        embedding is loaded: one prompt, sent as ids and as our embeddings of them, must be followed by the same.
        """
        rows = decoder.get_input_embeddings().weight.shape[0]
        ids = torch.linspace(0, rows - 1, min(rows, PROBED_TOKENS)).long().tolist()
        with torch.inference_mode():
            prompt = embed(decoder, [ids])
        wanted = {"prompt": ids, "max_tokens": 1, "temperature": 0.0, "logprobs": PROBED_SCORES}
        ours, theirs = self._first_scores([prompt], wanted, 2)
        token = max(ours, key=lambda each: ours[each])
        if token not in theirs or abs(ours[token] - theirs[token]) > PROBE_TOLERANCE:
            raise VllmError(
                f"{self.url} runs {self._model}, which is another decoder than model.llama_model: their embeddings "
                "differ. Answers would be gibberish. Serve the decoder that the projection was trained with, or set "
                "llama_model and ckpt to those of the served one."
            )

    def stream(self, prompt: Tensor, wanted: Mapping[str, Any]) -> Generator[list[int], None, None]:
        """As `Decoding.stream`. Raises `VllmError`."""
        body = {"prompt_embeds": _encoded(prompt), "stream": True, "return_token_ids": True, **wanted}
        with self._in_words(), self._client.stream("POST", "completions", json=self._of_model(body)) as answer:
            if answer.is_error:
                answer.read()
                raise self._refusal(answer)
            for line in answer.iter_lines():
                data = line.removeprefix("data:").strip()
                if data == "[DONE]":
                    return
                if not line.startswith("data:"):
                    continue
                event = json.loads(data)
                if "error" in event:
                    raise VllmError(f"{self.url} broke the answer off: {_message(event)}")
                for choice in event["choices"]:
                    yield list(choice["token_ids"])
            raise httpx.RemoteProtocolError("the answer has no end")

    def next_scores(self, prompts: Sequence[Tensor], tokens: Sequence[int]) -> list[dict[int, float]]:
        """As `Decoding.next_scores`. Raises `VllmError`."""
        wanted = {"max_tokens": 1, "temperature": 0.0, "logprobs": len(tokens), "logprob_token_ids": list(tokens)}
        found = self._first_scores(prompts, wanted, len(prompts))
        if not all(scores.keys() >= set(tokens) for scores in found):
            raise VllmError(
                f"{self.url} does not score given tokens (`logprob_token_ids`), which diagnoses and concepts are "
                "ranked by. Run vLLM 0.33 or newer there, or use --engine transformers or llamacpp for this."
            )
        return found

    def _first_scores(self, prompts: Sequence[Tensor], wanted: Mapping[str, Any], count: int) -> list[dict[int, float]]:
        """By token, what the first token of each of `count` answers is likely to be."""
        encoded = {"prompt_embeds": [_encoded(prompt) for prompt in prompts]}
        body = {**encoded, "return_tokens_as_token_ids": True, **wanted}
        answer = self._ask("POST", "completions", json=self._of_model(body))
        with self._in_words():
            choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
            found = [choice["logprobs"]["top_logprobs"][0] for choice in choices]
            if len(found) != count:
                raise ValueError(f"{len(found)} answers to {count} prompts")
            return [{int(name.removeprefix("token_id:")): float(score) for name, score in of.items()} for of in found]

    def _of_model(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return {"model": self._model, **body}

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        with self._in_words():
            answer = self._client.request(method, path, **request)
            if answer.is_error:
                raise self._refusal(answer)
            return answer.json()

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """What can go wrong on the line, as a `VllmError`."""
        try:
            yield
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise VllmError(f"model.engine_url is {self.url!r}; e.g. http://localhost:8000 was expected.") from error
        except httpx.ConnectError as error:
            raise VllmError(f"No server answers at {self.url} ({error}). {_START}") from error
        except httpx.TimeoutException as error:
            raise VllmError(
                f"{self.url} did not answer in time ({type(error).__name__}): it is busy, or hangs. Try again later."
            ) from error
        except httpx.TransportError as error:
            raise VllmError(f"The line to {self.url} broke off ({error}). Ask again.") from error
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise VllmError(
                f"{self.url} gave an answer that vLLM 0.33 would not give ({type(error).__name__}: {error}). {_START}"
            ) from error

    def _refusal(self, answer: httpx.Response) -> VllmError:
        said = _message(answer)
        if answer.status_code in (401, 403):
            return VllmError(
                f"{self.url} refuses the key. Set the environment variable {KEY_VARIABLE} to the one that the server "
                "was started with."
            )
        if answer.status_code == 404:
            return VllmError(f"{self.url} has no {answer.request.url.path} ({said}); it is no vLLM server. {_START}")
        if "enable-prompt-embeds" in said:
            return VllmError(f"{self.url} takes no embeddings: it was started without --enable-prompt-embeds. {_START}")
        if "hidden_size" in said:
            return VllmError(
                f"{self.url} runs {self._model}, a decoder of another width than model.llama_model ({said}). "
                "Serve the decoder that the projection was trained with."
            )
        return VllmError(f"{self.url} refuses ({answer.status_code}): {said}")


_START = f"Start one with `{SERVE}`, and give its address as --engine-url."


def _key() -> str:
    """The server's key. Raises `VllmError` for what cannot be sent as one, without repeating it."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise VllmError(
            f"{KEY_VARIABLE} holds a sign that no key has: another letter than those of English, or a line's end. "
            "Set it to the key that the server was started with."
        )
    return key


def _encoded(prompt: Tensor) -> str:
    """A tensor as the API takes it: a torch file, in base64."""
    file = io.BytesIO()
    torch.save(prompt.cpu(), file)
    return base64.b64encode(file.getvalue()).decode()


def _message(answer: httpx.Response | Mapping[str, Any]) -> str:
    """What a server says of an error: OpenAI's form, vLLM's shorter one, or a page."""
    try:
        content = answer.json() if isinstance(answer, httpx.Response) else answer
        error = content["error"]
        said = error["message"] if isinstance(error, Mapping) else error
    except (ValueError, KeyError, TypeError):
        said = answer.text if isinstance(answer, httpx.Response) else answer
    return " ".join(str(said).split())[:SHOWN_CHARACTERS]
