"""A decoder written as GGUF is the same decoder, read by llama.cpp."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp")

import gguf
import torch
from gguf_files import quantised_by_others, written
from tiny_models import TINY, write_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from skingpt4.chat.load import load_chat
from skingpt4.engines.llamacpp_engine import LlamaCppEngine
from skingpt4.engines.transformers_engine import TransformersEngine
from skingpt4.errors import SettingsError, WeightsError
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.settings import Settings
from skingpt4.weights import gguf as gguf_writer
from skingpt4.weights.checkpoint import DecoderIdentity, save_checkpoint
from skingpt4.weights.export.blip2 import write_transformers
from skingpt4.weights.gguf import write_gguf

PROMPT = [[1, 40, 41, 42, 300, 7, 5, 360, 12]]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    write_tokenizer(path, TINY.llama_vocabulary)
    return path


@pytest.mark.parametrize(
    "kinds",
    [
        {},
        {"num_key_value_heads": 2, "tie_word_embeddings": True, "attention_bias": True},
        {"head_dim": 16, "rope_parameters": {"rope_type": "linear", "rope_theta": 5e5, "factor": 4.0}},
    ],
    ids=["llama", "grouped heads, tied, biases", "wide heads, stretched positions"],
)
def test_the_file_has_the_same_logits(kinds: dict, tokenizer: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    decoder = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=410, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            initializer_range=0.3, **kinds,
        )
    ).eval()  # fmt: skip
    if "attention_bias" in kinds:
        for name, parameter in decoder.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter)
    ours = LlamaCppEngine(written(decoder, tmp_path, tokenizer), []).start().read(PROMPT)
    wanted = TransformersEngine(decoder, []).start().read(PROMPT)
    assert wanted.abs().max() > 1
    torch.testing.assert_close(ours, wanted, atol=2e-4, rtol=0)


@pytest.mark.parametrize(("kind", "tolerance"), [("f16", 0.01), ("bf16", 0.1), ("q8_0", 0.2)])
def test_fewer_bits_are_near(kind: str, tolerance: float, tiny_settings: Settings, tmp_path: Path) -> None:
    directory = Path(tiny_settings.model.llama_model)
    full, near = (
        LlamaCppEngine(write_gguf(directory, tmp_path / f"{each}.gguf", each), []).start().read(PROMPT)
        for each in ("f32", kind)
    )
    difference = (full - near).abs().max()
    assert 0 < difference < tolerance * full.std() * 3


def test_the_quantised_kinds_get_smaller(tiny_settings: Settings, tmp_path: Path) -> None:
    files = [
        write_gguf(Path(tiny_settings.model.llama_model), tmp_path / f"{kind}.gguf", kind)
        for kind in ("q4_0", "q4_k_m", "q8_0", "f16", "f32")
    ]
    sizes = [file.stat().st_size for file in files]
    assert sizes[0] <= sizes[1] <= sizes[2] < sizes[3] < sizes[4]
    assert sorted(tmp_path.iterdir()) == sorted(files)  # nothing is left of the 16-bit file in between


def test_other_programs_find_the_pieces_of_the_tokenizer(tiny_settings: Settings, tmp_path: Path) -> None:
    import llama_cpp

    directory = tmp_path / "llm"
    shutil.copytree(tiny_settings.model.llama_model, directory)
    (directory / "added_tokens.json").write_text(json.dumps({"<mine>": 399}))
    file = write_gguf(directory, tmp_path / "decoder.gguf", "f16")
    model = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
    tokenizer = Processor.from_settings(tiny_settings.model, _tokenizer(directory)).tokenizer
    text = "Could you describe the medical concepts? ###Human: café"
    assert model.tokenize(text.encode(), add_bos=False) == tokenizer.encode(text)
    assert model.token_bos() == tokenizer.bos_id and (model.token_eos(),) == tuple(tokenizer.eos_ids)
    reader = gguf.GGUFReader(file)
    assert reader.get_field("tokenizer.ggml.tokens").contents()[399] == "<mine>"


def _tokenizer(directory: Path):
    from skingpt4.tokenizer import load_tokenizer

    return load_tokenizer(directory)


def test_what_cannot_be_written_is_told(tiny_settings: Settings, tmp_path: Path, monkeypatch) -> None:
    directory, file = Path(tiny_settings.model.llama_model), tmp_path / "decoder.gguf"
    with pytest.raises(SettingsError, match="'q3' is unknown; it must be one of f32, f16, bf16, q8_0, q4_0, q4_k_m"):
        write_gguf(directory, file, "q3")
    other = tmp_path / "other"
    shutil.copytree(directory, other)
    (other / "tokenizer.model").unlink()
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}))
    with pytest.raises(WeightsError, match=r"kind 'dynamic', no tokenizer.model; a LLaMA .*convert_hf_to_gguf"):
        write_gguf(other, file, "f16")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(gguf_writer.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(WeightsError, match=r"needs 0.0 GB on the disk"):
        write_gguf(directory, file, "f16")
    assert not file.exists()


def test_what_a_killed_export_left_is_no_room_that_lacks(tiny_settings: Settings, tmp_path: Path, monkeypatch) -> None:
    class KilledError(BaseException):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    directory, file = Path(tiny_settings.model.llama_model), tmp_path / "decoder.gguf"
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(gguf_writer, "_quantize", killed)
        patch.setattr(gguf_writer, "remove", lambda _: None)
        write_gguf(directory, file, "q8_0")
    assert [left.suffix for left in tmp_path.iterdir()] == [".16bit"]
    left: list[list[Path]] = []
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(gguf_writer.shutil, "disk_usage", lambda _: left.append(list(tmp_path.iterdir())) or usage)
    write_gguf(directory, file, "q8_0")
    assert left == [[]] and list(tmp_path.iterdir()) == [file]


def test_a_lacking_tensor_is_named(tiny_settings: Settings, tmp_path: Path) -> None:
    directory = tmp_path / "llm"
    shutil.copytree(tiny_settings.model.llama_model, directory)
    tensors = torch.load(directory / "pytorch_model.bin")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    torch.save(tensors, directory / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"lacks 1 tensors: model\.layers\.1\.mlp\.up_proj\.weight"):
        write_gguf(directory, tmp_path / "decoder.gguf", "f32")
    assert not (tmp_path / "decoder.gguf").exists()


@pytest.fixture
def gguf_settings(tiny_model: tuple[SkinGPT4, Processor], tiny_settings: Settings, tmp_path: Path) -> Settings:
    """A projection that records its decoder, and settings with that decoder as an f16 file."""
    tiny_settings.model.ckpt = str(save_checkpoint(tmp_path / "run", tiny_model[0], tiny_settings))
    tiny_settings.model.engine = "llamacpp"
    file = write_gguf(Path(tiny_settings.model.llama_model), tmp_path / "decoder.gguf", "f16")
    tiny_settings.model.gguf = str(file)
    return tiny_settings


def test_our_exports_are_known_again_in_every_precision(
    gguf_settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = Path(gguf_settings.model.llama_model)
    for kind in ("f32", "bf16", "q8_0", "q4_0"):
        gguf_settings.model.gguf = str(write_gguf(directory, tmp_path / f"{kind}.gguf", kind))
        load_chat(gguf_settings)
    assert not caplog.records


def test_a_file_from_elsewhere_is_told_that_it_cannot_be_checked(
    gguf_settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full = write_gguf(Path(gguf_settings.model.llama_model), tmp_path / "full.gguf", "f32")
    gguf_settings.model.gguf = str(quantised_by_others(full, tmp_path / "other.gguf"))
    with caplog.at_level(logging.WARNING):
        load_chat(gguf_settings)
    assert "only its size could be checked" in caplog.text


@pytest.mark.parametrize("has_our_mark", [True, False])
def test_another_decoder_of_the_same_size_is_refused(
    gguf_settings: Settings, tmp_path: Path, has_our_mark: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By our mark in the file, or by the embedding itself."""
    directory = tmp_path / "llm"
    shutil.copytree(gguf_settings.model.llama_model, directory)
    tensors = torch.load(directory / "pytorch_model.bin")
    tensors["model.embed_tokens.weight"] *= -1
    torch.save(tensors, directory / "pytorch_model.bin")
    if not has_our_mark:
        monkeypatch.setattr(gguf_writer, "HASH_KEY", "someone.elses")
    gguf_settings.model.gguf = str(write_gguf(directory, tmp_path / "negative.gguf", "bf16"))
    with pytest.raises(WeightsError, match=r"trained for another decoder of the same width .* gibberish"):
        load_chat(gguf_settings)


def test_another_size_is_refused(gguf_settings: Settings, tokenizer: Path, tmp_path: Path) -> None:
    decoder = LlamaForCausalLM(
        LlamaConfig(vocab_size=410, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4)
    )
    assert DecoderIdentity.of(decoder).width == 64
    gguf_settings.model.gguf = str(written(decoder, tmp_path, tokenizer))
    with pytest.raises(WeightsError, match=r"410 tokens of width 64, and config.json says 400 of 32"):
        load_chat(gguf_settings)


def test_what_is_no_gguf_file_is_told_before_anything_is_loaded(gguf_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "encoder.pth").write_text("not looked at yet")
    gguf_settings.model.vit_weights = str(tmp_path / "encoder.pth")
    for content, message in (
        (None, r"model.gguf .*page.gguf is no file"),
        (b"<html>", "is no GGUF file, or a torn one"),
        (b"GGUF", "page.gguf is torn"),
    ):
        gguf_settings.model.gguf = str(tmp_path / "page.gguf")
        if content:
            (tmp_path / "page.gguf").write_bytes(content)
        with pytest.raises(WeightsError, match=message):
            load_chat(gguf_settings)
    (tmp_path / "page.gguf").unlink()
    (tmp_path / "page.gguf").mkdir()
    with pytest.raises(WeightsError, match="is no file"):
        load_chat(gguf_settings)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.999])
def test_a_torn_file_is_told_before_anything_is_loaded(gguf_settings: Settings, tmp_path: Path, share: float) -> None:
    (tmp_path / "encoder.pth").write_text("not looked at yet")
    gguf_settings.model.vit_weights = str(tmp_path / "encoder.pth")
    whole = Path(gguf_settings.model.gguf).read_bytes()
    Path(gguf_settings.model.gguf).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match=r"decoder.gguf is torn, or newer .*Download it again"):
        load_chat(gguf_settings)


def test_a_file_that_is_no_decoder_is_told(gguf_settings: Settings) -> None:
    writer = gguf.GGUFWriter(gguf_settings.model.gguf, "clip")
    writer.add_uint32("clip.vision.embedding_length", 32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(WeightsError, match="says no width or has no vocabulary, so it is no decoder"):
        load_chat(gguf_settings)


def test_a_decoder_that_llama_cpp_cannot_open_is_told_in_its_words(gguf_settings: Settings) -> None:
    whole = Path(gguf_settings.model.gguf).read_bytes()
    other = whole.replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_UP.weight")
    Path(gguf_settings.model.gguf).write_bytes(other)
    with pytest.raises(WeightsError, match=r"llama.cpp cannot open .*decoder.gguf: .*ffn_up"):
        load_chat(gguf_settings)


def test_a_name_in_any_script_is_opened(gguf_settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "Mein Modell – 皮膚.gguf"
    Path(gguf_settings.model.gguf).rename(file)
    gguf_settings.model.gguf = str(file)
    assert load_chat(gguf_settings).engine.context_tokens == TINY.llama_positions


def test_the_decoder_of_an_exported_model(tiny_settings: Settings, tmp_path: Path) -> None:
    write_transformers(tiny_settings, tmp_path / "whole")
    one = write_gguf(Path(tiny_settings.model.llama_model), tmp_path / "one.gguf", "f16")
    assert write_gguf(tmp_path / "whole", tmp_path / "two.gguf", "f16").read_bytes() == one.read_bytes()
