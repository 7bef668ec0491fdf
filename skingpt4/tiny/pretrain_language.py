"""Pre-training of the decoder on the text corpus: loss on answers only, short conversations first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm
from transformers import LlamaForCausalLM

from skingpt4.prompts import IMAGE_SLOT, TEMPLATES, ImageSlot, Turn, encode_answer, encode_turns
from skingpt4.tiny import parts
from skingpt4.tiny.corpus import Conversation, sample
from skingpt4.tiny.slots import Slot, fill_slot, slot_embeddings
from skingpt4.tokenizer import SentencePieceTokenizer, Tokenizer

SHORT_SHARE = 0.45  # of all steps, at the start, on one-turn conversations in the training prompt
LONG_FROM = 0.70  # from this share of all steps on, some conversations are long
_POOL_BATCHES = 12


@dataclass(frozen=True)
class Example:
    """ids: int[T], `IMAGE_SLOT` at image tokens; in_loss: bool[T], true at answers; slot: what image tokens hold."""

    ids: list[int]
    in_loss: list[bool]
    slot: Slot | None


def context_ids(turns: list[Turn], chat: bool, tokenizer: Tokenizer) -> list[int]:
    """Ids of a conversation up to where the next answer begins, in the project's own rendering."""
    template = TEMPLATES["minigpt4" if chat else "minigpt4_train"]
    ids: list[int] = []
    for segment in encode_turns(template, turns, tokenizer):
        ids += [IMAGE_SLOT] * parts.QUERIES if isinstance(segment, ImageSlot) else segment
    return ids


def encode(conversation: Conversation, tokenizer: Tokenizer, rng: np.random.Generator) -> Example:
    """A conversation as the decoder will meet it; every answer with its `###` carries loss."""
    ids: list[int] = []
    in_loss: list[bool] = []
    history: list[Turn] = []
    for number, (question, answer) in enumerate(conversation.turns):
        images = int(number == 0 and conversation.slot is not None)
        context = context_ids([*history, Turn(question, images)], conversation.chat, tokenizer)
        # In chat all text after the image is one segment; its beginning must not change as it grows.
        assert context[: len(ids)] == ids, conversation
        in_loss += [False] * (len(context) - len(ids))
        reply = encode_answer(answer, "###", tokenizer, 1000)
        ids, in_loss = context + reply, in_loss + [True] * len(reply)
        history.append(Turn(question, images, answer))
    slot = None
    if conversation.slot is not None:
        slot = fill_slot([tokenizer.encode(phrase) for phrase in conversation.slot], rng)
    return Example(ids[: parts.CONTEXT_TOKENS], in_loss[: parts.CONTEXT_TOKENS], slot)


def batches(tokenizer: Tokenizer, steps: int, batch: int, seed: int) -> Iterator[list[Example]]:
    """Batches of examples of similar length: short ones first, then (of two thirds the rows) chats, then some long
    chats.
    """
    rng = np.random.default_rng(seed)
    pool: list[list[Example]] = []
    for step in range(steps):
        if not pool:
            progress = step / steps
            short = progress < SHORT_SHARE
            chat_share, rows = (0.0, batch) if short else (0.55, batch * 2 // 3)
            examples: list[Example] = []
            while len(examples) < rows * _POOL_BATCHES:
                longest = 8 if progress > LONG_FROM and rng.random() < 0.10 else 3
                examples.append(encode(sample(rng, chat_share, longest), tokenizer, rng))
            examples.sort(key=lambda example: len(example.ids))
            pool = [examples[start : start + rows] for start in range(0, len(examples), rows)]
            pool = [pool[index] for index in rng.permutation(len(pool))]
        yield pool.pop()


def collate(examples: list[Example], model: LlamaForCausalLM, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """-> (input embeddings float[B, T, D], targets int[B, T], -100 outside answers). Padded at the end, so no mask is
    needed.
    """
    longest = max(len(example.ids) for example in examples)
    ids = torch.zeros(len(examples), longest, dtype=torch.long)
    targets = torch.full((len(examples), longest), -100)
    for row, example in enumerate(examples):
        count = len(example.ids)
        tokens = torch.tensor(example.ids)
        ids[row, :count] = tokens
        targets[row, :count] = torch.where(torch.tensor(example.in_loss), tokens, -100)
    table = model.get_input_embeddings().weight
    images = ids == IMAGE_SLOT
    embeddings = F.embedding(ids.clamp(min=0), table)
    slots = [example.slot for example in examples if example.slot is not None]
    if slots:
        mixed = slot_embeddings(slots, table, generator)
        embeddings = embeddings.masked_scatter(images[..., None], mixed.to(embeddings.dtype))
    return embeddings, targets


def answer_loss(model: LlamaForCausalLM, embeddings: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over answer tokens; the vocabulary projection is computed for those alone."""
    hidden = model.model(inputs_embeds=embeddings, use_cache=False).last_hidden_state[:, :-1]
    wanted = targets[:, 1:]
    where = wanted != -100
    return F.cross_entropy(model.lm_head(hidden[where]).float(), wanted[where])


def pretrain_language(folder: Path, steps: int, batch: int, peak_lr: float, seed: int) -> dict[str, float]:
    """Train from scratch with the tokenizer `folder/tokenizer.model`; writes `language.safetensors`, returns the
    final loss.
    """
    tokenizer = SentencePieceTokenizer(folder / "tokenizer.model")
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = parts.build_language_model(tokenizer.size)
    parts.prefer_eager_attention(model)
    optimizer = torch.optim.AdamW(
        parts.parameter_groups([model], decay=0.05), lr=peak_lr, betas=(0.9, 0.98), fused=True
    )
    progress = tqdm(batches(tokenizer, steps, batch, seed), total=steps, desc="language", mininterval=10)
    recent = 0.0
    for step, examples in enumerate(progress):
        with torch.autocast("cpu", torch.bfloat16, enabled=parts.cpu_has_bf16()):
            loss = answer_loss(model, *collate(examples, model, generator))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = parts.cosine_lr(step, steps, peak_lr, 100)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        recent = loss.item() if step == 0 else 0.98 * recent + 0.02 * loss.item()
        if step % 50 == 0:
            progress.set_postfix(loss=f"{recent:.4f}", refresh=False)
        if step % 500 == 499:
            progress.write(f"language step {step + 1}: loss {recent:.4f}")
            save_language(model, folder / "language-partial.safetensors")
    save_language(model, folder / "language.safetensors")
    return {"answer loss (running mean)": recent}


def save_language(model: LlamaForCausalLM, path: Path) -> None:
    """All weights once; the tied output projection is left out."""
    save_file(
        {key: value.contiguous().clone() for key, value in model.state_dict().items() if key != "lm_head.weight"}, path
    )
