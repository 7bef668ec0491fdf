"""Small random decoders of other families, each with a tokenizer trained here and its family's chat template.

The templates are written anew from what each family's prompts look like.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tiny_models import CORPUS
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

WIDTH = 32
_SIZES = {
    "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.1,
}  # fmt: skip

CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN3 = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }}[/INST]"
    "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
LLAMA2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{{ bos_token }}{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "<|start_header_id|>system<|end_header_id|>\n\nToday Date: {{ date_string }}<|eot_id|>"
    "{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
PHI3 = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
VICUNA = (
    "{{ bos_token }}A chat between a curious user and an assistant. {% for m in messages %}"
    "{% if m['role'] == 'user' %}USER: {{ m['content'] }} ASSISTANT:{% else %} {{ m['content'] }}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Family:
    """A family of decoders as it is published. marks: special tokens beside `bos` and `eos`. end: closes an answer.
    sentencepiece: whether its tokenizer was converted from such a file; else it is of GPT's kind.
    """

    model_type: str
    chat_template: str
    bos: str | None
    eos: str
    marks: tuple[str, ...]
    end: str
    sentencepiece: bool = False
    config: dict[str, Any] = field(default_factory=dict)


_IM = ("<|im_start|>", "<|im_end|>")
FAMILIES = {
    "llama3": Family(
        "llama", LLAMA3, "<|begin_of_text|>", "<|end_of_text|>",
        ("<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"), "<|eot_id|>",
    ),
    "mistral": Family(
        "mistral", MISTRAL, "<s>", "</s>", ("[INST]", "[/INST]"), "</s>", sentencepiece=True,
        config={"sliding_window": None},
    ),
    "mistral_window": Family(
        "mistral", MISTRAL, "<s>", "</s>", (), "</s>", sentencepiece=True, config={"sliding_window": 64}
    ),
    "qwen2": Family("qwen2", CHATML, None, "<|endoftext|>", _IM, "<|im_end|>", config={"tie_word_embeddings": True}),
    "qwen3": Family("qwen3", QWEN3, None, "<|im_end|>", (*_IM, "<think>", "</think>"), "<|im_end|>",
                    config={"head_dim": 8}),
    "gemma2": Family(
        "gemma2", GEMMA, "<bos>", "<eos>", ("<start_of_turn>", "<end_of_turn>"), "<end_of_turn>", sentencepiece=True,
        config={"head_dim": 8, "sliding_window": 64, "query_pre_attn_scalar": 8},
    ),
    "gemma3": Family(
        "gemma3_text", GEMMA, "<bos>", "<eos>", ("<start_of_turn>", "<end_of_turn>"), "<end_of_turn>",
        sentencepiece=True, config={"head_dim": 8, "sliding_window": 64, "query_pre_attn_scalar": 8},
    ),
    "phi3": Family(
        "phi3", PHI3, "<s>", "<|endoftext|>", ("<|user|>", "<|assistant|>", "<|end|>"), "<|end|>", sentencepiece=True,
        config={"sliding_window": None},
    ),
}  # fmt: skip


def write_tokenizer_of(family: Family, folder: Path) -> int:
    """`tokenizer.json` and `tokenizer_config.json` in `folder`; returns how many tokens there are."""
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    outer = [token for token in (family.bos, family.eos) if token]
    is_gemma = family.model_type.startswith("gemma")
    tokenizer = like_sentencepiece(outer, prefix_space=not is_gemma) if family.sentencepiece else byte_level(outer)
    swallows = family.model_type == "phi3"  # the newline after its marks
    tokenizer.add_special_tokens([AddedToken(mark, rstrip=swallows, normalized=False) for mark in family.marks])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=family.bos, eos_token=family.eos,
        chat_template=family.chat_template, clean_up_tokenization_spaces=False,
    )  # fmt: skip
    fast.save_pretrained(folder)
    return len(fast)


def byte_level(outer: Sequence[str]) -> Tokenizer:
    """A tokenizer of GPT's kind, trained on `CORPUS`. outer: its special tokens, the first ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(outer), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    return tokenizer


def like_sentencepiece(outer: Sequence[str], prefix_space: bool) -> Tokenizer:
    """A tokenizer as conversions of SentencePiece files are: bytes for unknown characters, spaces as `▁`."""
    special = ["<unk>", *outer]
    learnt = Tokenizer(models.BPE(unk_token="<unk>"))
    learnt.pre_tokenizer = pre_tokenizers.Metaspace()
    learnt.train_from_iterator(
        CORPUS * 4, trainers.BpeTrainer(vocab_size=160, special_tokens=special, show_progress=False)
    )
    model = json.loads(learnt.to_str())["model"]
    for byte in range(256):
        model["vocab"][f"<0x{byte:02X}>"] = len(model["vocab"])
    merges = [(left, right) for left, right in model["merges"]]
    tokenizer = Tokenizer(models.BPE(model["vocab"], merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    prefix = [normalizers.Prepend("▁")] * prefix_space
    tokenizer.normalizer = normalizers.Sequence([*prefix, normalizers.Replace(" ", "▁")])
    strip = [decoders.Strip(" ", 1, 0)] * prefix_space
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    tokenizer.add_special_tokens(special)
    return tokenizer


def write_decoder(name: str, folder: Path, seed: int = 2) -> None:
    """A random decoder of a family in `folder`, as a Hugging Face directory."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    family = FAMILIES[name]
    tokens = write_tokenizer_of(family, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = AutoConfig.for_model(
        family.model_type, **{**_SIZES, "vocab_size": tokens, **family.config},
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=None,
    )  # fmt: skip
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(family.end)]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}), encoding="utf-8")
