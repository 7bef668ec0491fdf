"""Which tokenizer a decoder's directory has, and what it says of the ends of an answer."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from other_decoders import LLAMA2
from tiny_models import write_tokenizer
from transformers import AutoTokenizer

from skingpt4.chat_template import own_template
from skingpt4.errors import WeightsError
from skingpt4.prompts import Turn, encode_turns
from skingpt4.tokenizer import SentencePieceTokenizer, TransformersTokenizer, load_tokenizer

TURNS = [Turn("What is it?", reply="Acne."), Turn("Is it  bad?\n", reply="No, not\n\nbad."), Turn("Why?")]


def llama_folder(folder: Path, **config: object) -> Path:
    """A LLaMA's `tokenizer.model` with its `tokenizer_config.json`."""
    folder.mkdir(exist_ok=True)
    write_tokenizer(folder / "tokenizer.model", 400)
    names = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}), encoding="utf-8")
    return folder


def test_the_chat_template_of_a_llama_in_sentencepiece(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(llama_folder(tmp_path, chat_template=LLAMA2))
    assert isinstance(tokenizer, SentencePieceTokenizer)
    template = own_template(tokenizer)
    assert template.turn == "[INST] {} [/INST]"
    assert template.reply == " {} </s><s>"
    assert template.stops == ("</s>", "[INST]", "[/INST]")
    assert template.lead == ""  # SentencePiece puts that space before each segment
    (ids,) = encode_turns(template, TURNS, tokenizer)
    assert (ids.count(1), ids.count(2)) == (3, 2)
    assert ids[0] == 1
    assert ids[1] != 1


def test_tokens_that_the_sentencepiece_file_lacks(tmp_path: Path) -> None:
    """`tokenizer.model` alone would spell `<|im_start|>` letter by letter."""
    folder = llama_folder(tmp_path)
    own = AutoTokenizer.from_pretrained(folder)
    own.add_special_tokens({"pad_token": "[PAD]"})
    own.save_pretrained(folder)
    assert (folder / "tokenizer.json").is_file()
    assert isinstance(load_tokenizer(folder), SentencePieceTokenizer)  # Vicuna v0's padding changes nothing
    own.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    own.save_pretrained(folder)
    tokenizer = load_tokenizer(folder)
    assert isinstance(tokenizer, TransformersTokenizer)
    assert tokenizer.encode_template("<|im_start|>")[-1] == tokenizer.specials["<|im_start|>"]


def test_another_family_is_read_by_transformers(tmp_path: Path) -> None:
    folder = llama_folder(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    assert isinstance(load_tokenizer(folder), SentencePieceTokenizer)
    (folder / "config.json").write_text(json.dumps({"model_type": "mistral"}), encoding="utf-8")
    assert isinstance(load_tokenizer(folder), TransformersTokenizer)


def test_ends_of_generation_config(tmp_path: Path) -> None:
    folder = llama_folder(tmp_path)
    assert load_tokenizer(folder).eos_ids == (2,)
    for listed, expected in (([2, 5, 7], (2, 5, 7)), (5, (2, 5)), (None, (2,))):
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": listed}), encoding="utf-8")
        assert load_tokenizer(folder).eos_ids == expected


def test_a_torn_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0", "model": {', encoding="utf-8")
    with pytest.raises(WeightsError, match=r"The tokenizer in .* cannot be read: .*Copy it again"):
        load_tokenizer(tmp_path)
    folder = llama_folder(tmp_path / "llama")
    (folder / "generation_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"generation_config\.json cannot be read: .*Download it again"):
        load_tokenizer(folder)


def test_odd_values_in_the_files_beside_it(tmp_path: Path) -> None:
    folder = llama_folder(tmp_path)
    (folder / "generation_config.json").write_text('{"eos_token_id": ["a", null, -3, 2.5, 7]}', encoding="utf-8")
    for text in ('{"added_tokens": [{"content": "x"}]}', '{"added_tokens": null}', "[]"):
        (folder / "tokenizer.json").write_text(text, encoding="utf-8")
        assert load_tokenizer(folder).eos_ids == (2, 7)


def test_the_code_of_a_publisher_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it asked about: a `y` may come from anywhere, e.g. from the questions given to `skingpt4 chat`."""
    target = tmp_path / "it_ran"
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    (tmp_path / "tok.py").write_text(f"open({str(target)!r}, 'w').close()", encoding="utf-8")
    names = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["tok.Own", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
    with pytest.raises(WeightsError, match="it needs Python code of its publisher, which is never run"):
        load_tokenizer(tmp_path)
    assert not target.exists()
