"""The frozen parts with a projection between them: features, a short training of the projection, and greedy answers
in batches.

For building and measuring the embedded default only; the project's own training and chat are elsewhere and use the
same assets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM

from skingpt4.model.qformer import QFormer
from skingpt4.model.vision import VisionEncoder
from skingpt4.prompts import IMAGE_SLOT, Turn, encode_answer
from skingpt4.tiny import parts
from skingpt4.tiny.pretrain_language import answer_loss, context_ids
from skingpt4.tokenizer import SentencePieceTokenizer

END = "###"


@dataclass(frozen=True)
class Frozen:
    """The parts that fine-tuning leaves alone, in float32."""

    vision: VisionEncoder
    qformer: QFormer
    decoder: LlamaForCausalLM
    tokenizer: SentencePieceTokenizer


def load_frozen(assets: Path) -> Frozen:
    """The parts from an asset folder as `build` writes it; every tensor must fit."""
    vision, qformer = parts.build_vision(), parts.build_qformer()
    vision.backbone.load_state_dict(_float32(load_file(assets / "eva_vit.safetensors")))
    rest = _float32(load_file(assets / "blip2_qformer.safetensors"))
    vision.ln_vision.load_state_dict({key: rest.pop(f"ln_vision.{key}") for key in ("weight", "bias")})
    qformer.load_state_dict(rest)
    settings = json.loads((assets / "llm" / "config.json").read_text())
    decoder = LlamaForCausalLM(LlamaConfig(**settings))
    missing, unexpected = decoder.load_state_dict(
        _float32(load_file(assets / "llm" / "model.safetensors")), strict=False
    )
    if missing != ["lm_head.weight"] or unexpected:  # the output projection is tied to the embedding
        raise ValueError(
            f"{assets / 'llm' / 'model.safetensors'}: missing {missing}, unexpected {unexpected}; run the build again"
        )
    decoder.tie_weights()
    parts.prefer_eager_attention(vision, qformer, decoder)
    for module in (vision, qformer, decoder):
        module.eval().requires_grad_(False)
    return Frozen(vision, qformer, decoder, SentencePieceTokenizer(assets / "llm" / "tokenizer.model"))


def _float32(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.float() for key, value in state.items()}


def load_projection(path: Path) -> nn.Linear:
    """`llama_proj` from a safetensors file."""
    projection = nn.Linear(parts.VISION_WIDTH, parts.LANGUAGE_WIDTH)
    projection.load_state_dict(
        {key.removeprefix("llama_proj."): value.float() for key, value in load_file(path).items()}
    )
    return projection


@torch.no_grad()
def features_of(frozen: Frozen, images: np.ndarray, batch: int = 100) -> Tensor:
    """RGB uint8[N, 112, 112, 3] -> Q-Former features float[N, Q, 128]."""
    found = []
    for start in tqdm(range(0, len(images), batch), desc="features", mininterval=5, disable=len(images) < 1000):
        found.append(frozen.qformer(frozen.vision(parts.to_pixels(np.array(images[start : start + batch])))))
    return torch.cat(found)


def tune_projection(
    frozen: Frozen,
    projection: nn.Linear,
    features: Tensor,
    dialogue: Callable[[int, np.random.Generator], tuple[str, str]],
    steps: int,
    peak_lr: float,
    seed: int,
    batch: int = 32,
    chat_share: float = 0.0,
) -> list[float]:
    """Train `projection` alone on features float[N, Q, 128]; `dialogue` gives photograph i's question and answer.
    Returns the losses.

    chat_share: share of samples in the chat prompt instead of the training prompt.
    """
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(projection.parameters(), lr=peak_lr, weight_decay=0.0)
    order: list[int] = []
    losses = []
    for step in tqdm(range(steps), desc="projection", mininterval=5):
        if len(order) < batch:
            order = rng.permutation(len(features)).tolist()
        rows, order = order[:batch], order[batch:]
        chat = [bool(rng.random() < chat_share) for _ in rows]
        pairs = [dialogue(row, rng) for row in rows]
        contexts = [
            context_ids([Turn(question, 1)], form, frozen.tokenizer)
            for (question, _), form in zip(pairs, chat, strict=True)
        ]
        replies = [encode_answer(answer, END, frozen.tokenizer, 160) for _, answer in pairs]
        with torch.autocast("cpu", torch.bfloat16, enabled=parts.cpu_has_bf16()):
            embeddings, targets = _embed(frozen, contexts, replies, projection(features[rows]))
            loss = answer_loss(frozen.decoder, embeddings, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(projection.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = parts.cosine_lr(step, steps, peak_lr, min(30, steps // 4))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    return losses


def _embed(
    frozen: Frozen, contexts: list[list[int]], replies: list[list[int]], image_tokens: Tensor
) -> tuple[Tensor, Tensor]:
    """Sequences padded at the end: input embeddings float[B, T, D] and targets int[B, T], -100 outside replies."""
    longest = max(len(context) + len(reply) for context, reply in zip(contexts, replies, strict=True))
    ids = torch.zeros(len(contexts), longest, dtype=torch.long)
    targets = torch.full_like(ids, -100)
    for row, (context, reply) in enumerate(zip(contexts, replies, strict=True)):
        ids[row, : len(context) + len(reply)] = torch.tensor(context + reply)
        targets[row, len(context) : len(context) + len(reply)] = torch.tensor(reply)
    return _splice(frozen, ids, image_tokens), targets


def _splice(frozen: Frozen, ids: Tensor, image_tokens: Tensor) -> Tensor:
    embeddings = F.embedding(ids.clamp(min=0), frozen.decoder.get_input_embeddings().weight)
    return embeddings.masked_scatter((ids == IMAGE_SLOT)[..., None], image_tokens.to(embeddings.dtype))


@torch.no_grad()
def answer(
    frozen: Frozen,
    image_tokens: Tensor,
    conversations: Sequence[Sequence[Turn]],
    chat: bool = True,
    max_tokens: int = 100,
) -> list[str]:
    """Greedy answers to the last turns. image_tokens: projected, float[N, Q, 192], one photograph per conversation
    (its first turn's).
    """
    contexts = [context_ids(list(turns), chat, frozen.tokenizer) for turns in conversations]
    said: list[str] = [""] * len(contexts)
    order = sorted(range(len(contexts)), key=lambda row: len(contexts[row]))
    for start in range(0, len(order), 125):
        rows = order[start : start + 125]
        for row, text in zip(
            rows, _greedy(frozen, image_tokens[rows], [contexts[row] for row in rows], max_tokens), strict=True
        ):
            said[row] = text
    return said


def _greedy(frozen: Frozen, image_tokens: Tensor, contexts: list[list[int]], max_tokens: int) -> list[str]:
    longest = max(len(context) for context in contexts)
    ids = torch.zeros(len(contexts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, context in enumerate(contexts):  # padded in front, so that all answers begin together
        ids[row, longest - len(context) :] = torch.tensor(context)
        mask[row, longest - len(context) :] = 1
    inputs: dict[str, Tensor] = {"inputs_embeds": _splice(frozen, ids, image_tokens)}
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache, replies, open_rows = None, [[] for _ in contexts], set(range(len(contexts)))  # type: ignore[var-annotated]
    texts = [""] * len(contexts)
    for _ in range(max_tokens):
        out = frozen.decoder.model(
            **inputs, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        )
        cache = out.past_key_values
        token = frozen.decoder.lm_head(out.last_hidden_state[:, -1]).argmax(-1)
        for row in list(open_rows):
            replies[row].append(int(token[row]))
            texts[row] = frozen.tokenizer.decode(replies[row])
            if END in texts[row] or int(token[row]) in frozen.tokenizer.eos_ids:
                open_rows.discard(row)
        if not open_rows:
            break
        inputs, positions = {"input_ids": token[:, None]}, positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(contexts), 1)], 1)
    return [text.split(END)[0].strip() for text in texts]
