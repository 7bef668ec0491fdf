"""Trains the small decoder's SentencePiece model: LLaMA's ids and habits, about 1,100 pieces."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from skingpt4.prompts import TEMPLATES
from skingpt4.tiny.attributes import ATTRIBUTES
from skingpt4.tiny.corpus import CUE, NO_CUE, SLOT_ARRANGEMENTS, SLOT_WORDS, sample
from skingpt4.tiny.diseases import DISEASES
from skingpt4.tiny.questions import WORDINGS
from skingpt4.tiny.wording import READABLE
from skingpt4.vocabulary import CONCEPTS

VOCABULARY_SIZE = 1100


def _training_text(conversations: int, seed: int) -> Iterator[str]:
    rng = np.random.default_rng(seed)
    words = (*CONCEPTS, *SLOT_WORDS.values(), *READABLE.values(), *SLOT_ARRANGEMENTS.values(), CUE, NO_CUE)
    # What the picture slot holds should be one piece each, so that a projection can point at it.
    for _ in range(300):
        yield " ".join(words)
    for _ in range(20):
        yield " ".join(disease.name for disease in DISEASES)
        yield " ".join(ATTRIBUTES)
        yield from (wording for wordings in WORDINGS.values() for wording in wordings)
    for _ in range(conversations):
        # `###` stays out of sentences: alone it becomes the pieces `##` and `_###`, as LLaMA has them.
        yield TEMPLATES["minigpt4"].system
        yield from ("Human: <Img>", "</Img>", "###", "###Human:", "###Assistant:", f"{CUE} {NO_CUE}")
        for question, answer in sample(rng, chat_share=0.5).turns:
            yield question
            yield answer


def train_tokenizer(path: Path, seed: int, conversations: int = 8000) -> None:
    """Write a SentencePiece BPE model to `path`: byte fallback, no normalisation, prefix space, `<unk>` 0, `<s>` 1,
    `</s>` 2.
    """
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_training_text(conversations, seed),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY_SIZE,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        max_sentencepiece_length=20,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())
