"""MiniGPT-4's and the first SkinGPT-4's YAML files load as they are, and what cannot be honoured is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from upstream_files import MINIGPT4_EVAL, MINIGPT4_FINETUNE, SKINGPT4_LLAMA2, SKINGPT4_VICUNA, UPSTREAM_DEFAULTS

from skingpt4.config import load_settings
from skingpt4.errors import SettingsError
from skingpt4.settings import DataSettings, ModelSettings, RunSettings, Settings, SourceSettings
from skingpt4.weights.quantize import wanted_quantization


def load(text: str, folder: Path, *options: str) -> Settings:
    file = folder / "upstream.yaml"
    file.write_text(text, encoding="utf-8")
    steps = load_settings(file, options)
    assert len(steps) == 1
    return steps[0]


def changed(settings: object, default: object) -> dict[str, object]:
    """The fields that differ from the defaults."""
    own, other = dataclasses.asdict(settings), dataclasses.asdict(default)  # type: ignore[call-overload]
    return {key: value for key, value in own.items() if value != other[key]}


def test_minigpt4_stage2_finetune(tmp_path: Path) -> None:
    settings = load(MINIGPT4_FINETUNE, tmp_path)
    assert changed(settings.model, ModelSettings()) == {
        "prompt_path": "prompts/alignment.txt",
        "ckpt": "/path/to/stage1/checkpoint/",
    }
    assert changed(settings.run, RunSettings()) == {
        "init_lr": 3e-5,
        "max_epoch": 5,
        "iters_per_epoch": 200,
        "batch_size_train": 12,
        "batch_size_eval": 12,
        "num_workers": 4,
        "warmup_steps": 200,
        "output_dir": "output/minigpt4_stage2_finetune",
        "device": "cuda",
    }
    assert settings.data == DataSettings()


def test_minigpt4_eval(tmp_path: Path) -> None:
    settings = load(MINIGPT4_EVAL, tmp_path)
    assert changed(settings.model, ModelSettings()) == {
        "low_resource": True,
        "ckpt": "/path/to/prerained_minigpt4_7b.pth",
        "llama_model": "/path/to/vicuna-7b",
    }
    assert settings.run == RunSettings()
    assert settings.data.random_crop is False
    assert wanted_quantization(settings.model) == "int8"


def test_skingpt4_eval_vicuna(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = load(SKINGPT4_VICUNA, tmp_path)
    assert changed(settings.model, ModelSettings()) == {
        "prompt_path": "prompts/alignment_skin.txt",
        "prompt_template": "### Instruction: {} ### Response: ",
        "ckpt": "/path/to/skingpt4_vicuna_v1.pth",
    }
    assert caplog.text == ""


def test_skingpt4_eval_llama2(tmp_path: Path) -> None:
    settings = load(SKINGPT4_LLAMA2, tmp_path)
    assert settings.model.llama_model == "/path/to/Llama-2-13b-chat-hf"
    assert settings.model.chat_template == "minigpt4"  # this model was trained and asked with Vicuna's words


def test_minigpt4_for_llama2_chats_in_the_words_of_llama2(tmp_path: Path) -> None:
    text = (
        "model: {arch: minigpt4, model_type: pretrain_llama2, end_sym: '</s>', prompt_template: '[INST] {} [/INST] '}"
    )
    settings = load(text, tmp_path)
    assert settings.model.chat_template == "llama2"
    assert load(text, tmp_path, "model.chat_template=minigpt4").model.chat_template == "minigpt4"


def test_upstream_defaults(tmp_path: Path) -> None:
    settings = load(UPSTREAM_DEFAULTS, tmp_path)
    assert changed(settings.model, ModelSettings()) == {"vit_precision": "fp16", "llama_model": "/path/to/vicuna-13b"}
    assert settings.data.train == [SourceSettings("minigpt4", "/path/to/cc_sbu_align/")]


def test_options_may_use_upstream_names(tmp_path: Path) -> None:
    settings = load(SKINGPT4_VICUNA, tmp_path, "model.llm_model=/other", "run.warmup_start_lr=2e-6", "run.amp=false")
    assert (settings.model.llama_model, settings.run.warmup_lr) == ("/other", 2e-6)
    assert settings.model.precision == "fp32"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {arch: blip2}", "model.arch is 'blip2'; it must be one of skingpt4, skin_gpt4, mini_gpt4, minigpt4"),
        ("model: {has_qformer: false}", "model.has_qformer is False; only True is supported"),
        ("run: {task: captioning}", "run.task is 'captioning'; only 'image_text_pretrain' is supported"),
        ("run: {evaluate: true}", "run.evaluate is True; only False is supported"),
        ("model: {llm_model: a, llama_model: b}", "model.llm_model and model.llama_model are the same setting"),
        ("datasets: {coco: {}}", "datasets.coco is unknown; upstream's are cc_sbu_align"),
        ("datasets: cc_sbu_align", "`datasets` must hold one of cc_sbu_align"),
    ],
)
def test_what_cannot_be_honoured_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(text, tmp_path)
    assert "upstream.yaml" in str(caught.value)
    assert message in str(caught.value)
