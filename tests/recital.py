"""A real LLaMA that says what a test wants: each token of a script leads to the next one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch

from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.prompts import Turn, encode_turns


def teach(model: SkinGPT4, processor: Processor, script: Sequence[int]) -> None:
    """Change the decoder's weights so that every prompt of the chat template is answered with `script`.

    Attention and MLP add nothing, so the next token follows from the last one alone: no token of the script may stand
    in it twice, but for the last, which may lead back to an earlier one. After the last one the sequence ends.
    """
    prompt_end = encode_turns(processor.chat_template, [Turn("?", images=1)], processor.tokenizer)[-1]
    assert isinstance(prompt_end, list)
    chain = [prompt_end[-1], *script]
    if chain[-1] not in chain[:-1]:
        chain.append(processor.tokenizer.eos_ids[0])
    assert len(set(chain[:-1])) == len(chain) - 1, f"a token leads to two others: {chain}"
    decoder = model.decoder
    with torch.no_grad():
        for layer in decoder.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        decoder.model.norm.weight.fill_(1.0)
        decoder.model.embed_tokens.weight.zero_()
        decoder.lm_head.weight.zero_()
        for dimension, (token, following) in enumerate(pairwise(chain)):
            decoder.model.embed_tokens.weight[token, dimension] = 1.0
            decoder.lm_head.weight[following, dimension] = 1.0


def ids_of(processor: Processor, *pieces: str) -> list[int]:
    """Ids of pieces by their name in the SentencePiece vocabulary, e.g. "▁a", "<0xE2>"."""
    names = {processor.tokenizer._pieces.id_to_piece(i): i for i in range(processor.tokenizer.size)}
    return [names[piece] for piece in pieces]
