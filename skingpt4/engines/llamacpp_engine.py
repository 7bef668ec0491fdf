"""llama.cpp as the engine: the decoder as a GGUF file, often quantised, on CPUs, Macs and small GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from skingpt4.engines.llamacpp_context import BATCH_TOKENS, Context, GgufDecoder
from skingpt4.engines.llamacpp_library import library
from skingpt4.engines.picking import answer_tokens
from skingpt4.engines.prefix import ReadSoFar
from skingpt4.engines.sampling import Sampling
from skingpt4.engines.scoring import Tree, require_tokens, score_in_trees
from skingpt4.engines.seam import Finished, Segment, never
from skingpt4.errors import SettingsError

FIRST_TOKENS = 512  # room of a conversation's memory at the start; doubled when it is full
ROWS = 16  # prompts answered at once, at most
TREE_TOKENS = BATCH_TOKENS  # of candidates read at once


class LlamaCppEngine:
    """Owns a GGUF file's decoder; gives one `LlamaCppState` per conversation.

    end_ids: tokens that end an answer. threads: 0 = as many as torch uses. gpu_layers: -1 = all, where llama.cpp was
    built for a GPU. Raises `SettingsError` without llama-cpp-python, `WeightsError` for a file that cannot be opened.
    """

    def __init__(self, file: Path, end_ids: Sequence[int], threads: int = 0, gpu_layers: int = -1):
        self.decoder = GgufDecoder(file, threads or torch.get_num_threads(), gpu_layers)
        self.end_ids = frozenset(end_ids)

    @property
    def context_tokens(self) -> int:
        """How many positions the decoder was made for."""
        return self.decoder.context_tokens

    def start(self) -> LlamaCppState:
        """The memory of a new conversation."""
        return LlamaCppState(self)

    def generate_many(
        self, prompts: Sequence[Sequence[Segment]], max_new_tokens: int, is_finished: Finished
    ) -> list[list[int]]:
        """Greedy tokens for each prompt, every row stopping by itself: as many at once as have room in the memory of
        one full conversation.
        """
        longest = max(sum(map(len, segments)) for segments in prompts) + max_new_tokens
        rows = max(1, min(ROWS, self.context_tokens // longest))
        made: list[list[int]] = []
        for start in range(0, len(prompts), rows):
            context = Context(self.decoder, rows * longest, sequences=rows)
            made += self._answer_rows(context, prompts[start : start + rows], max_new_tokens, is_finished)
        return made

    def _answer_rows(
        self, context: Context, prompts: Sequence[Sequence[Segment]], max_new_tokens: int, is_finished: Finished
    ) -> list[list[int]]:
        made: list[list[int]] = [[] for _ in prompts]
        lengths = [sum(map(len, segments)) for segments in prompts]
        logits = torch.stack([context.read(segments, sequence=row) for row, segments in enumerate(prompts)])
        live = list(range(len(prompts)))
        while True:
            picked = dict(zip(live, logits.argmax(dim=-1).tolist(), strict=True))
            live = [row for row in live if picked[row] not in self.end_ids]
            for row in live:
                made[row].append(picked[row])
            live = [row for row in live if len(made[row]) < max_new_tokens and not is_finished(made[row])]
            if not live:
                return made
            logits = context.decode(
                [picked[row] for row in live],
                [lengths[row] + len(made[row]) - 1 for row in live],
                [[row] for row in live],
                [True] * len(live),
            )

    def score(self, prompt: Sequence[Segment], candidates: Sequence[Sequence[int]]) -> list[Tensor]:
        """How likely each candidate's tokens are after the prompt, which is read once, and so is what they share."""
        require_tokens(candidates)
        most = min(len(candidates), int(library().llama_max_parallel_sequences()))
        before = sum(map(len, prompt))
        room = before + max(TREE_TOKENS, *map(len, candidates))
        context = Context(self.decoder, room, sequences=most, outputs=BATCH_TOKENS)
        first = context.read(prompt).unsqueeze(0)

        def read(tree: Tree, paths: list[list[int]]) -> Tensor:
            """Logits [tokens, V] of a tree; each candidate is a sequence, and a token belongs to all that share it."""
            owners: list[list[int]] = [[] for _ in tree.tokens]
            for sequence, path in enumerate(paths):
                for node in path[1:]:
                    owners[node].append(sequence)
                if sequence:
                    context.share(sequence)
            logits = context.decode(
                tree.tokens, [before + depth for depth in tree.depths], owners, [True] * len(tree.tokens)
            )
            for sequence in range(len(paths)):
                context.forget(before if sequence == 0 else 0, sequence)
            return logits

        return score_in_trees(first, candidates, read, TREE_TOKENS, most)


class LlamaCppState:
    """The memory of one conversation: what it has read, with keys and values. It takes memory from its first question
    on, grows with what it reads, and frees it with the object. Not for two threads at once; two states are independent.
    """

    def __init__(self, engine: LlamaCppEngine):
        self._engine = engine
        self._context: Context | None = None
        self._read = ReadSoFar()
        self.newly_read = 0  # tokens of the last prompt that were not in memory yet

    def read(self, segments: Sequence[Segment]) -> Tensor:
        """Read a whole prompt; returns the next token's logits, float32[V]."""
        length = sum(map(len, segments))
        context = self._with_room(length)
        shared = self._read.shared(segments)
        # A step that was broken off (Ctrl-C) has left more than is written down here.
        if context.tokens > shared and not context.forget(shared):
            context.forget(0)
            shared = 0
        self._read.keep(shared)
        self.newly_read = length - shared
        logits = context.read(segments, shared)
        self._read.set(segments)
        return logits

    def generate(self, segments: Sequence[Segment], sampling: Sampling, is_finished: Finished = never) -> Iterator[int]:
        """Read a prompt and yield the answer's tokens as they come, the ending token left out.

        Raises `SettingsError` for a beam search, which llama.cpp does not have.
        """
        if sampling.num_beams > 1:
            raise SettingsError(
                f"num_beams is {sampling.num_beams}, and llama.cpp has no beam search. "
                "Use 1, or model.engine=transformers."
            )
        logits = self.read(segments)
        yield from answer_tokens(logits, self._append, sampling, self._engine.end_ids, is_finished)

    def _append(self, token: int) -> Tensor:
        position = len(self._read)
        logits = self._with_room(position + 1).decode([token], [position], [[0]], [True])[0]
        self._read.append(token)
        return logits

    def _with_room(self, tokens: int) -> Context:
        room = self._context.room if self._context else FIRST_TOKENS
        while room < tokens:
            room *= 2
        if self._context is None:
            self._context = Context(self._engine.decoder, room)
        elif room > self._context.room:
            self._context = self._context.grown(room)
        return self._context
