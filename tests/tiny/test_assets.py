"""The shipped files: formats, sizes, and that the parts read and speak."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from skingpt4.prompts import Turn
from skingpt4.tiny import bridge, parts
from skingpt4.tiny.measure import measure_concepts, measure_diagnosis, micro_macro_f1
from skingpt4.tiny.renderer import disease_description, render

ASSETS = Path(parts.__file__).parent / "assets"
NAMES = (
    "psoriasis",
    "herpes zoster",
    "melanoma",
    "tinea corporis",
    "urticaria",
    "acne vulgaris",
    "xanthelasma",
    "solar lentigo",
)


@pytest.fixture(scope="module")
def frozen() -> bridge.Frozen:
    return bridge.load_frozen(ASSETS)


def test_sizes_and_types():
    total = 0
    for name in ("eva_vit.safetensors", "blip2_qformer.safetensors", "llm/model.safetensors"):
        with safe_open(ASSETS / name, "pt") as file:
            names = set(file.keys())
            assert {file.get_tensor(key).dtype for key in names} == {torch.float16}
            assert all(bool(torch.isfinite(file.get_tensor(key)).all()) for key in names)
        total += (ASSETS / name).stat().st_size
    assert 7e6 < total < 9e6
    for name in ("projection.safetensors", "skingpt4.safetensors"):
        with safe_open(ASSETS / name, "pt") as file:
            names = set(file.keys())
            assert {"llama_proj.weight", "llama_proj.bias"} <= names
            assert file.get_tensor("llama_proj.weight").shape == (192, 128)
            assert file.get_tensor("llama_proj.weight").dtype == torch.float32
    assert json.loads((ASSETS / "llm" / "generation_config.json").read_text())["eos_token_id"] == 2
    assert "knows nothing about real skin" in (ASSETS / "CARD.md").read_text()


def test_transformers_reads_the_decoder(frozen):
    from transformers import AutoModelForCausalLM

    decoder = AutoModelForCausalLM.from_pretrained(ASSETS / "llm", dtype=torch.float32, local_files_only=True).eval()
    ids = torch.tensor([[1, *frozen.tokenizer.encode("What is the cause of psoriasis?")]])
    with torch.no_grad():
        torch.testing.assert_close(decoder(ids).logits, frozen.decoder(ids).logits, atol=1e-4, rtol=1e-4)


def test_it_diagnoses_rendered_pictures_and_goes_on_talking(frozen):
    """A small version of the build's own measurement; the figures of 1,000 pictures are in CARD.md."""
    rng = np.random.default_rng(77)
    cases = [disease_description(name, rng) for name in NAMES * 3]
    features = bridge.features_of(frozen, np.stack([render(case, rng).image for case in cases]))
    with torch.no_grad():
        tokens = bridge.load_projection(ASSETS / "skingpt4.safetensors")(features)
        before = bridge.load_projection(ASSETS / "projection.safetensors")(features)
    figures, replies = measure_diagnosis(lambda rows, turns: bridge.answer(frozen, tokens[list(rows)], turns), cases)
    assert figures["disease"] >= 0.75
    start, _ = measure_diagnosis(lambda rows, turns: bridge.answer(frozen, before[list(rows)], turns), cases)
    assert start["disease"] <= 0.1
    concepts = measure_concepts(lambda rows, turns: bridge.answer(frozen, tokens[list(rows)], turns), cases)
    assert concepts["concepts micro-F1"] >= 0.8
    treatment = bridge.answer(
        frozen, tokens[1:2], [[Turn("What's wrong with my skin?", 1, replies[1]), Turn("How is it treated?")]]
    )[0]
    assert treatment.startswith("The treatment of ")


def test_f1():
    truth, said = [{"Plaque", "Scale"}, {"Papule"}], [{"Plaque"}, {"Papule", "Scale"}]
    micro, macro = micro_macro_f1(truth, said)
    assert micro == pytest.approx(4 / 6)
    assert macro == pytest.approx((1 + 1 + 0) / 3)
