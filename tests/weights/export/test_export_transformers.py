"""Ours -> `transformers` -> ours: what opens without this package, and what comes back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import opened_without_us
import pytest
import torch
from other_decoders import FAMILIES, write_decoder
from PIL import Image
from safetensors.torch import load_file
from tiny_models import TINY, llama_config, llama_shapes, random_tensors, settings_for
from torch import Tensor

from skingpt4.chat.conversation import Chat
from skingpt4.config import embedded_settings
from skingpt4.engines.sampling import Sampling
from skingpt4.errors import SettingsError, WeightsError
from skingpt4.settings import Settings
from skingpt4.weights.build import build_model, load_model, settings_of
from skingpt4.weights.checkpoint import DecoderIdentity, find_checkpoint, recorded_decoder
from skingpt4.weights.convert import from_transformers
from skingpt4.weights.export.blip2 import write_transformers
from skingpt4.weights.export.card import write_card

EXACT = ["run.device=cpu", "model.precision=fp32", "model.vit_precision=fp32"]
FIRST, SECOND = opened_without_us.QUESTIONS


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "x.png"
    values = torch.randint(0, 256, (12, 15, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    Image.fromarray(values.numpy()).resize((150, 120)).save(path)
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded default in shards, with its card."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    write_transformers(embedded_settings(), folder, shard_size="2MB")
    write_card(folder, "transformers", embedded_settings().model, "model", [], None)
    return folder


def opened(folder: Path, photo: Path, out: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    program = Path(opened_without_us.__file__)
    out.mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, program, folder, photo, out], capture_output=True, text=True, cwd=out)
    assert done.returncode == 0, done.stderr
    return load_file(out / "found.safetensors"), json.loads((out / "found.json").read_text())


def ours(chat: Chat, photo: Path) -> tuple[list[Tensor], list[str]]:
    """Logits before both answers, and the answers."""
    conversation = chat.start(str(photo))
    logits, answers = [], []
    for question in opened_without_us.QUESTIONS:
        logits.append(conversation.next_token_logits(question))
        answers.append(conversation.ask(question, Sampling(max_new_tokens=40)))
    return logits, answers


@pytest.mark.slow  # a process that imports transformers
def test_transformers_alone_gives_the_same_logits_and_answers(exported: Path, photo: Path, tmp_path: Path) -> None:
    tensors, found = opened(exported, photo, tmp_path)
    logits, answers = ours(Chat(*load_model(None, EXACT)), photo)
    assert found["class"] == "Blip2ForConditionalGeneration"
    for number, wanted in enumerate(logits):
        assert (tensors[f"logits_{number}"][: len(wanted)] - wanted).abs().max() < 1e-4
    assert found["answers"] == answers
    assert len(answers[0]) > 20  # the model speaks
    assert found["card"].removesuffix("###").strip() == answers[0]


def test_all_comes_back_bit_by_bit(exported: Path, photo: Path) -> None:
    model, processor = load_model(None, EXACT)
    again, processor_again = load_model(exported, EXACT)
    wanted, found = model.state_dict(), again.state_dict()
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(wanted[name], found[name])] == []
    assert ours(Chat(again, processor_again), photo)[1] == ours(Chat(model, processor), photo)[1]


def test_each_part_alone_comes_back(tiny_settings: Settings, tmp_path: Path) -> None:
    write_transformers(tiny_settings, tmp_path / "model")
    wanted = build_model(tiny_settings)[0].state_dict()
    for key in ("vit_weights", "q_former_model", "llama_model", "ckpt"):
        changed = replace(tiny_settings, model=replace(tiny_settings.model, **{key: str(tmp_path / "model")}))
        found = build_model(changed)[0].state_dict()
        assert [name for name in wanted if not torch.equal(wanted[name], found[name])] == [], key


def test_nothing_of_this_machine_is_told(exported: Path) -> None:
    texts = "".join(path.read_text() for path in exported.glob("*.json")) + (exported / "README.md").read_text()
    assert re.findall(r"/(?:home|work|root|tmp)/[^\" ]*", texts) == []
    assert settings_of(exported).model.llama_model == str(exported)


def test_one_file_says_what_its_shards_would(tiny_settings: Settings, tmp_path: Path) -> None:
    write_transformers(tiny_settings, tmp_path / "one")
    write_transformers(tiny_settings, tmp_path / "many", shard_size="50kB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 3
    one, many = settings_of(tmp_path / "one").model, settings_of(tmp_path / "many").model
    assert replace(one, vit_weights="", q_former_model="", llama_model="", ckpt="") == replace(
        many, vit_weights="", q_former_model="", llama_model="", ckpt=""
    )
    decoder = build_model(tiny_settings)[0].decoder
    for folder in ("one", "many"):
        assert recorded_decoder(find_checkpoint(str(tmp_path / folder))) == DecoderIdentity.of(decoder)


def test_a_missing_shard_is_named(tiny_settings: Settings, tmp_path: Path) -> None:
    write_transformers(tiny_settings, tmp_path / "many", shard_size="50kB")
    gone = sorted((tmp_path / "many").glob("*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(WeightsError, match=gone.name):
        load_model(tmp_path / "many", EXACT)


def test_the_projection_of_another_decoder_is_refused(tiny_settings: Settings, tmp_path: Path) -> None:
    write_transformers(tiny_settings, tmp_path / "model")
    other = tmp_path / "other"
    other.mkdir()
    for file in Path(tiny_settings.model.llama_model).iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    torch.save(random_tensors(llama_shapes(TINY), 9, torch.float16), other / "pytorch_model.bin")
    tiny_settings.model.llama_model, tiny_settings.model.ckpt = str(other), str(tmp_path / "model")
    with pytest.raises(WeightsError, match="trained for another decoder"):
        build_model(tiny_settings)


@pytest.mark.parametrize("shard_size", ["5GB", "100kB"])
def test_a_published_blip2_gives_its_own_numbers(tmp_path: Path, tiny_checkpoints: Path, shard_size: str) -> None:
    """Vision and Q-Former of a `Salesforce/blip2-*` directory, held to `transformers`' own features."""
    from transformers import Blip2Config, Blip2ForConditionalGeneration, OPTConfig

    torch.manual_seed(5)
    opt = OPTConfig(vocab_size=50, hidden_size=16, ffn_dim=16, num_hidden_layers=1, num_attention_heads=2,
                    word_embed_proj_dim=16, max_position_embeddings=64)  # fmt: skip
    vision = {"hidden_size": 32, "intermediate_size": int(32 * 4.3637), "num_hidden_layers": 2,
              "num_attention_heads": 4, "image_size": 56, "patch_size": 14, "initializer_range": 0.2}  # fmt: skip
    qformer = {"hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 48}
    config = Blip2Config(
        vision_config=vision, qformer_config=qformer, text_config=opt.to_dict(), num_query_tokens=8,
        image_token_index=49,
    )  # fmt: skip
    published = Blip2ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in published.named_parameters():
            if "query_tokens" in name or "bias" in name or "norm" in name.lower():
                parameter += torch.randn_like(parameter) * 0.1
        for layer in published.vision_model.encoder.layers:
            layer.self_attn.qkv.bias[32:64] = 0
    published.save_pretrained(tmp_path / "blip2", max_shard_size=shard_size)
    settings = settings_for(tiny_checkpoints)
    settings.model.vit_weights = settings.model.q_former_model = str(tmp_path / "blip2")
    settings.model.ckpt = ""
    model = build_model(settings)[0]
    pixels = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = published.get_image_features(pixels).qformer_outputs.last_hidden_state
        found = model.encode_images(pixels)
    assert (found - wanted).abs().max() < 2e-5


def test_a_bias_of_the_keys_changes_nothing() -> None:
    bias = torch.arange(6.0)
    found = from_transformers({"vision_model.encoder.layers.0.self_attn.qkv.bias": bias})
    assert {name: values.tolist() for name, values in found.items()} == {
        "vision.backbone.blocks.0.attn.q_bias": [0.0, 1.0],
        "vision.backbone.blocks.0.attn.v_bias": [4.0, 5.0],
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_other_decoders(name: str, photo: Path, tmp_path: Path, tiny_checkpoints: Path) -> None:
    """Their rows, ends and templates; in this process, for a new one takes seconds."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    write_decoder(name, tmp_path / "decoder")
    settings = settings_for(tiny_checkpoints)
    settings.model.llama_model, settings.model.chat_template = str(tmp_path / "decoder"), "auto"
    write_transformers(settings, tmp_path / "model")
    chat = Chat(*build_model(settings))
    theirs = AutoModelForImageTextToText.from_pretrained(tmp_path / "model", dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(tmp_path / "model", backend="pil")
    content = [{"type": "image", "path": str(photo)}, {"type": "text", "text": FIRST}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True, return_dict=True,
        return_tensors="pt",
    )  # fmt: skip
    conversation = chat.start(str(photo))
    wanted = conversation.next_token_logits(FIRST)
    with torch.no_grad():
        found = theirs(**inputs).logits[0, -1, : len(wanted)]
    assert (found - wanted).abs().max() < 1e-4
    ids = theirs.generate(**inputs, max_new_tokens=8, suppress_tokens=theirs.generation_config.suppress_tokens)
    said = ids[0, inputs["input_ids"].shape[1] :].tolist()
    ends = theirs.language_model.generation_config.eos_token_id
    greedy = conversation.answer_ids(FIRST, 8)
    assert set(ends if isinstance(ends, list) else [ends]) == set(chat.processor.tokenizer.eos_ids)
    assert [token for token in said if token not in chat.processor.tokenizer.eos_ids] == greedy
    again = load_model(tmp_path / "model", EXACT)[0].state_dict()
    assert [key for key, value in chat.model.state_dict().items() if not torch.equal(value, again[key])] == []


def test_what_a_user_types_opens_no_image_and_no_turn(exported: Path) -> None:
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(exported, backend="pil")
    typed = "a <image> b ### c <</s>/s> d <ima<image>ge>"
    text = processor.apply_chat_template([{"role": "user", "content": typed}, {"role": "assistant", "content": "x###"}])
    assert text.endswith("###Human: a  b  c  d###Assistant: x")
    assert "<image>" not in text and text.count("</s>") == 0


def test_a_system_message_is_refused(exported: Path) -> None:
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(exported, backend="pil")
    with pytest.raises(Exception, match="system text of its own"):
        processor.apply_chat_template([{"role": "system", "content": "Be a pirate."}])


def test_without_a_projection_there_is_nothing_to_export(tiny_settings: Settings, tmp_path: Path) -> None:
    tiny_settings.model.ckpt = ""
    with pytest.raises(SettingsError, match=r"model\.ckpt is not set"):
        write_transformers(tiny_settings, tmp_path / "model")


def test_an_encoder_that_blip2_has_no_place_for(tiny_settings: Settings, tmp_path: Path) -> None:
    tiny_settings.model.vit_model = "vit_tiny_patch16_224"
    with pytest.raises(SettingsError, match=r"eva_clip_g only.*--to pth"):
        write_transformers(tiny_settings, tmp_path / "model")


def test_a_tokenizer_that_cannot_be_expressed(tiny_settings: Settings, tmp_path: Path) -> None:
    """SentencePiece's unigram model cuts words otherwise than the merges of BPE."""
    import sentencepiece
    from tiny_models import CORPUS

    folder = tmp_path / "llm"
    folder.mkdir()
    for file in Path(tiny_settings.model.llama_model).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 4), model_prefix=str(folder / "tokenizer"), vocab_size=380,
        model_type="unigram", byte_fallback=True, normalization_rule_name="identity", hard_vocab_limit=False,
        remove_extra_whitespaces=False, minloglevel=2,
    )  # fmt: skip
    (folder / "config.json").write_text(json.dumps(llama_config(TINY)))
    tiny_settings.model.llama_model = str(folder)
    with pytest.raises(WeightsError, match=r"cannot be exported: for .* Only the projection can be exported: --to pth"):
        write_transformers(tiny_settings, tmp_path / "model")
    assert not (tmp_path / "model").exists()
