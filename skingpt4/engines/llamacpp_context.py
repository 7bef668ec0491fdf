"""A decoder of llama.cpp and its memory, through the low-level C interface: the one that takes embeddings.

A batch is either token ids or embeddings, so a prompt with a picture is read in three: ids, image tokens, ids.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from skingpt4.engines.llamacpp_library import last_errors, library
from skingpt4.engines.seam import Segment
from skingpt4.errors import WeightsError

BATCH_TOKENS = 512  # read at once: bounds what the matrix products need beside the weights


class GgufDecoder:
    """The weights of a GGUF file, in memory, for any number of contexts.

    width, vocabulary_size: of its embedding. context_tokens: how many positions it was made for. threads: of each
    context. is_full: whether the file is in float32. gpu_layers: how many of its layers go to a GPU where llama.cpp was
    built for one; -1 = all. Raises `WeightsError` for a file that llama.cpp cannot open.
    """

    def __init__(self, file: Path, threads: int, gpu_layers: int = -1):
        lib = library()
        settings = lib.llama_model_default_params()
        settings.n_gpu_layers = gpu_layers
        # Read rather than mapped: 4-bit matrices are put in another order for the CPU, and a mapping would hold the
        # file's own pages beside them, twice the decoder.
        settings.load_mode = lib.LLAMA_LOAD_MODE_NONE
        self.pointer = lib.llama_model_load_from_file(os.fsencode(file), settings)
        if not self.pointer:
            raise WeightsError(f"llama.cpp cannot open {file}: {last_errors()}.")
        weakref.finalize(self, lib.llama_model_free, self.pointer)
        self.threads = threads
        self.width = int(lib.llama_model_n_embd(self.pointer))
        self.vocabulary_size = int(lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.pointer)))
        self.context_tokens = int(lib.llama_model_n_ctx_train(self.pointer))
        self.is_full = bool(lib.llama_model_ftype(self.pointer) == lib.LLAMA_FTYPE_ALL_F32)


class Context:
    """Keys and values of some sequences of tokens, freed with the object. Not for two threads at once.

    tokens: how many there is room for, of all sequences together; what sequences share counts once. outputs: at how
    many positions of a batch logits may be asked for (one per sequence may be always). Raises `MemoryError`.
    """

    def __init__(self, decoder: GgufDecoder, tokens: int, sequences: int = 1, outputs: int = 1):
        lib = library()
        settings = lib.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = tokens, BATCH_TOKENS, BATCH_TOKENS
        settings.n_seq_max, settings.n_outputs_max = sequences, max(outputs, sequences)
        settings.kv_unified = True  # sequences share what they begin with
        settings.n_threads = settings.n_threads_batch = decoder.threads
        if decoder.is_full:  # in float32 throughout: its fast attention rounds to 16 bits, and so do keys and values
            settings.type_k = settings.type_v = lib.GGML_TYPE_F32
            settings.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._pointer = lib.llama_init_from_model(decoder.pointer, settings)
        if not self._pointer:
            raise MemoryError(f"llama.cpp has no memory for {tokens:,} tokens: {last_errors()}.")
        weakref.finalize(self, lib.llama_free, self._pointer)
        self._decoder = decoder  # which outlives its contexts
        self._memory = lib.llama_get_memory(self._pointer)
        self.room = tokens

    @property
    def tokens(self) -> int:
        """How many the first sequence has."""
        return int(library().llama_memory_seq_pos_max(self._memory, 0)) + 1

    def read(self, segments: Sequence[Segment], skip: int = 0, sequence: int = 0) -> Tensor:
        """Read a prompt but for its first `skip` positions, which `sequence` holds; the next token's logits,
        float32[V].
        """
        last = sum(map(len, segments)) - 1
        start, logits = 0, torch.empty(0)
        for segment in segments:
            part = segment[max(0, skip - start) :]
            start += len(segment)
            positions = range(start - len(part), start)
            if positions:
                logits = self.decode(part, positions, [[sequence]] * len(part), [at == last for at in positions])
        return logits[0]

    def decode(
        self,
        content: Segment,
        positions: Sequence[int],
        sequences: Sequence[Sequence[int]],
        wanted: Sequence[bool],
    ) -> Tensor:
        """Read ids, or embeddings float[T, D], each at its position in its sequences; logits float32[n, V] after the n
        that are wanted.
        """
        parts = [slice(at, at + BATCH_TOKENS) for at in range(0, len(content), BATCH_TOKENS)]
        return torch.cat([self._decode(content[p], positions[p], sequences[p], wanted[p]) for p in parts])

    def _decode(
        self, content: Segment, positions: Sequence[int], sequences: Sequence[Sequence[int]], wanted: Sequence[bool]
    ) -> Tensor:
        lib, count = library(), len(content)
        batch = lib.llama_batch(n_tokens=count)
        if isinstance(content, Tensor):
            embeddings = content.detach().to("cpu", torch.float32).contiguous()
            batch.embd = ctypes.cast(embeddings.data_ptr(), ctypes.POINTER(ctypes.c_float))
        else:
            batch.token = (ctypes.c_int32 * count)(*content)
        owners = [(ctypes.c_int32 * len(each))(*each) for each in sequences]
        batch.pos = (ctypes.c_int32 * count)(*positions)
        batch.n_seq_id = (ctypes.c_int32 * count)(*map(len, sequences))
        batch.seq_id = (ctypes.POINTER(ctypes.c_int32) * count)(
            *(ctypes.cast(each, ctypes.POINTER(ctypes.c_int32)) for each in owners)
        )
        batch.logits = (ctypes.c_int8 * count)(*wanted)
        status = lib.llama_decode(self._pointer, batch)
        if status:
            raise RuntimeError(f"llama.cpp could not read {count} tokens (status {status}): {last_errors()}.")
        shape = sum(wanted), self._decoder.vocabulary_size
        if not shape[0]:
            return torch.empty(shape)
        return torch.from_numpy(np.ctypeslib.as_array(lib.llama_get_logits(self._pointer), shape).copy())

    def forget(self, keep: int, sequence: int = 0) -> bool:
        """Drop what a sequence has after its first `keep` tokens; False where the decoder's memory cannot do that."""
        return bool(library().llama_memory_seq_rm(self._memory, sequence, keep, -1))

    def share(self, sequence: int) -> None:
        """Let a sequence begin with all that the first one has."""
        library().llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)

    def grown(self, tokens: int) -> Context:
        """Another context with more room, which has the first sequence."""
        lib, other = library(), Context(self._decoder, tokens)
        size = lib.llama_state_seq_get_size(self._pointer, 0)
        state = (ctypes.c_uint8 * size)()
        lib.llama_state_seq_get_data(self._pointer, state, size, 0)
        lib.llama_state_seq_set_data(other._pointer, state, size, 0)
        return other
