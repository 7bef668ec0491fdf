"""The default engine: a `transformers` decoder in this process, its keys and values kept between turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from skingpt4.engines.at_once import beam_search, embed, generate_many
from skingpt4.engines.memory import FixedMemory, GrowingMemory, next_logits
from skingpt4.engines.picking import answer_tokens
from skingpt4.engines.prefix import ReadSoFar
from skingpt4.engines.sampling import Sampling
from skingpt4.engines.scoring import score
from skingpt4.engines.seam import Finished, Segment, never


class TransformersEngine:
    """Owns the decoder; gives one `DecoderState` per conversation.

    end_ids: tokens that end an answer. compiled: `torch.compile` the step that makes a token (CUDA graphs on a GPU):
    the first tokens take a minute, those after them less time each. A decoder with sliding windows is not compiled.
    """

    def __init__(self, decoder: PreTrainedModel, end_ids: Sequence[int], compiled: bool = False):
        self.decoder = decoder
        self.end_ids = frozenset(end_ids)
        self.memory = FixedMemory if compiled and FixedMemory.fits(decoder.config) else GrowingMemory
        self.next_logits = next_logits
        if self.memory is FixedMemory:
            mode = "reduce-overhead" if decoder.device.type == "cuda" else None
            self.next_logits = torch.compile(next_logits, mode=mode, fullgraph=True)

    @property
    def context_tokens(self) -> int:
        """How many positions the decoder was made for."""
        return int(getattr(self.decoder.config, "max_position_embeddings", 2048))

    def start(self) -> DecoderState:
        """The memory of a new conversation."""
        return DecoderState(self)

    def generate_many(
        self, prompts: Sequence[Sequence[Segment]], max_new_tokens: int, is_finished: Finished
    ) -> list[list[int]]:
        """Greedy tokens for each prompt, every row stopping by itself."""
        return generate_many(self.decoder, prompts, max_new_tokens, sorted(self.end_ids), is_finished)

    def score(self, prompt: Sequence[Segment], candidates: Sequence[Sequence[int]]) -> list[Tensor]:
        """How likely each candidate's tokens are after the prompt, which is read once."""
        return score(self.decoder, prompt, candidates)


class DecoderState:
    """The decoder's memory of one conversation: what it has read, with keys and values.

    Reading a prompt that begins as the last one did costs its new part only. Not for two threads at once; two states of
    one engine are independent.
    """

    def __init__(self, engine: TransformersEngine):
        self._engine = engine
        self._memory = engine.memory(engine.decoder.config)
        self._read = ReadSoFar()
        self.newly_read = 0  # tokens of the last prompt that were not in memory yet

    @torch.inference_mode()
    def read(self, segments: Sequence[Segment]) -> Tensor:
        """Read a whole prompt; returns the next token's logits, float32[V]."""
        if self._memory.tokens != len(self._read):  # a step was broken off (Ctrl-C, out of memory)
            self._start_over()
        self._forget(self._read.shared(segments))
        embeddings = embed(self._engine.decoder, segments)[len(self._read) :]
        self.newly_read = len(embeddings)
        self._memory.make_room(len(embeddings))
        output = self._engine.decoder(
            inputs_embeds=embeddings.unsqueeze(0),
            past_key_values=self._memory.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = output.logits[0, -1].float()
        self._read.set(segments)
        return logits

    def generate(self, segments: Sequence[Segment], sampling: Sampling, is_finished: Finished = never) -> Iterator[int]:
        """Read a prompt and yield the answer's tokens as they come, the ending token left out.

        Several beams are searched by `transformers` itself: the whole prompt is read anew, and the tokens come together
        at the end.
        """
        if sampling.num_beams > 1:
            self.newly_read = sum(map(len, segments))
            yield from beam_search(self._engine.decoder, segments, sampling, sorted(self._engine.end_ids), is_finished)
            return
        logits = self.read(segments)
        yield from answer_tokens(logits, self._append, sampling, self._engine.end_ids, is_finished)

    @torch.inference_mode()
    def _append(self, token: int) -> Tensor:
        engine = self._engine
        self._memory.make_room(1)
        ids = torch.tensor([[token]], device=engine.decoder.get_input_embeddings().weight.device)
        logits = engine.next_logits(engine.decoder, ids, self._memory.cache)[0, -1].float()
        self._read.append(token)
        return logits

    def _start_over(self) -> None:
        self._memory = self._engine.memory(self._engine.decoder.config)
        self._read = ReadSoFar()

    def _forget(self, keep: int) -> None:
        if keep == len(self._read):
            return
        try:
            self._memory.forget(len(self._read) - keep)
        except (RuntimeError, ValueError):  # a sliding window has let go of what lies before: read everything again
            self._start_over()
            return
        self._read.keep(keep)
