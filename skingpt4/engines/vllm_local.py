"""vLLM in this process, on the GPUs of this machine.

Written from vLLM 0.33's source (`AsyncLLMEngine`, `SamplingParams`, `EmbedsPrompt`). It has not been run: vLLM needs a
GPU, and the tests stand in for its library by a small one over `transformers`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import queue
import threading
import uuid
from collections.abc import Coroutine, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from skingpt4.engines.vllm_engine import VllmError

MEMORY_SHARE = 0.9  # of what the photograph encoder leaves free on the GPU
ASK_A_SERVER = (
    "or ask a server: --engine-url http://HOST:8000, started with `vllm serve DECODER --enable-prompt-embeds`"
)

T = TypeVar("T")


def require_vllm() -> None:
    """Raise `VllmError` where the package is not installed."""
    if importlib.util.find_spec("vllm") is None:
        raise VllmError(
            "model.engine is vllm without an engine_url, so vLLM would run in this process, and it is not installed. "
            f"`pip install 'skingpt4[vllm]'` on a machine with a GPU, {ASK_A_SERVER}."
        )


class LocalVllm:
    """vLLM's engine with the decoder of `directory`. May be asked by several threads at once: the engine lives in an
    event loop of its own, and makes a batch of what is asked at a time.

    dtype: of the weights, "auto" = as config.json says. gpus: the decoder is split between so many. Raises `VllmError`.
    """

    def __init__(self, directory: Path, dtype: str = "auto", gpus: int = 1):
        require_vllm()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True).start()

        async def open_engine() -> Any:
            """In the loop, which vLLM's tasks belong to from then on."""
            from vllm import AsyncEngineArgs, AsyncLLMEngine

            arguments = AsyncEngineArgs(
                model=str(directory),
                dtype=dtype,
                enable_prompt_embeds=True,
                skip_tokenizer_init=True,
                tensor_parallel_size=gpus,
                gpu_memory_utilization=_memory_share(),
                disable_log_stats=True,
            )
            return AsyncLLMEngine.from_engine_args(arguments)

        try:
            self._engine = self._wait_for(open_engine())
        except Exception as error:  # vLLM has no common base of its errors
            raise VllmError(f"vLLM cannot run the decoder in {directory}: {error}") from error

    @property
    def context_tokens(self) -> int:
        """How many tokens fit into the decoder's context, as vLLM has found."""
        return int(self._engine.model_config.max_model_len)

    def stream(self, prompt: Tensor, wanted: Mapping[str, Any]) -> Generator[list[int], None, None]:
        """As `Decoding.stream`. Raises `VllmError`."""
        pieces: queue.SimpleQueue[list[int] | Exception | None] = queue.SimpleQueue()

        async def follow() -> None:
            try:
                async for output in self._generate(prompt, wanted, only_at_the_end=False):
                    pieces.put(list(output.outputs[0].token_ids))
                pieces.put(None)
            except Exception as error:
                pieces.put(error)

        following = asyncio.run_coroutine_threadsafe(follow(), self._loop)
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, Exception):
                    raise VllmError(f"vLLM refuses: {piece}") from piece
                yield piece
        finally:
            following.cancel()  # vLLM ends a request whose reader is cancelled

    def next_scores(self, prompts: Sequence[Tensor], tokens: Sequence[int]) -> list[dict[int, float]]:
        """As `Decoding.next_scores`. Raises `VllmError`."""
        wanted = {"max_tokens": 1, "temperature": 0.0, "logprobs": len(tokens), "logprob_token_ids": list(tokens)}

        async def scores(prompt: Tensor) -> dict[int, float]:
            outputs = [output async for output in self._generate(prompt, wanted, only_at_the_end=True)]
            found = outputs[-1].outputs[0].logprobs[0]
            return {token: float(found[token].logprob) for token in tokens}

        async def all_scores() -> list[dict[int, float]]:
            return list(await asyncio.gather(*map(scores, prompts)))

        try:
            return self._wait_for(all_scores())
        except Exception as error:
            raise VllmError(f"vLLM refuses: {error}") from error

    def _generate(self, prompt: Tensor, wanted: Mapping[str, Any], only_at_the_end: bool) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        kind = RequestOutputKind.FINAL_ONLY if only_at_the_end else RequestOutputKind.DELTA
        sampling = SamplingParams(**wanted, detokenize=False, output_kind=kind)
        return self._engine.generate({"prompt_embeds": prompt}, sampling, request_id=uuid.uuid4().hex)

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _memory_share() -> float:
    """Of the GPU's whole memory, which is how vLLM counts: it takes what it may at the start."""
    if not torch.cuda.is_available():
        return MEMORY_SHARE
    free, whole = torch.cuda.mem_get_info()
    return MEMORY_SHARE * free / whole
