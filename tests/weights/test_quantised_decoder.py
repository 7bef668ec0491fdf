"""The decoder's matrices in 8 and 4 bits: gradients go through, the loss stays, memory is really saved."""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import TINY, llama_shapes, random_tensors, write_llama
from torch import nn

from skingpt4.config import embedded_settings
from skingpt4.errors import WeightsError
from skingpt4.model.packing import TrainingBatch
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.settings import ModelSettings, Settings
from skingpt4.training.memory import saved_bytes
from skingpt4.weights import quantize
from skingpt4.weights.build import build_model
from skingpt4.weights.checkpoint import DecoderIdentity
from skingpt4.weights.decoder import load_decoder

CPU = torch.device("cpu")
# A row of weights is a multiple of a block of nf4, as in every published decoder.
SIZES = replace(TINY, llama_width=128, llama_intermediate=256)
KINDS = [
    pytest.param(kind, marks=pytest.mark.skipif(not importlib.util.find_spec(package), reason=f"{package} is missing"))
    for kind, package in quantize.PACKAGE_OF.items()
]
QUESTION = "What could this be?"
ANSWERS = ("Plaque, Scale, Erythema", "psoriasis. Raised plaques with silvery scale on the elbows.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quantised") / "llm"
    write_llama(path, SIZES)
    return path


def trained_model(folder: Path, kind: str, dtype: torch.dtype = torch.float32) -> SkinGPT4:
    torch.manual_seed(0)
    projection = nn.Linear(24, SIZES.llama_width)
    return SkinGPT4(None, None, projection, load_decoder(folder, dtype, CPU, kind)).eval()


def batch_and_features(folder: Path) -> tuple[TrainingBatch, torch.Tensor]:
    from skingpt4.processor import Processor
    from skingpt4.tokenizer import load_tokenizer

    processor = Processor.from_settings(ModelSettings(num_query_token=8), load_tokenizer(folder))
    batch = TrainingBatch.collate([processor.training_sequence(QUESTION, answer) for answer in ANSWERS])
    return batch, torch.randn(2, 8, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_projections_gradient_comes_through(kind: str, dtype: torch.dtype, folder: Path) -> None:
    batch, features = batch_and_features(folder)
    losses, gradients = [], []
    for quantization in ("", kind):
        model = trained_model(folder, quantization, dtype)
        loss = model(features, batch)
        loss.backward()
        losses.append(loss.item())
        gradients.append(model.llama_proj.weight.grad.flatten())
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    # Random weights of a normal distribution are the worst that 4 bits can meet; 8 bits hardly turn the gradient.
    cosine = torch.cosine_similarity(*gradients, dim=0)
    assert cosine > {"int8": 0.998, "nf4": 0.85}[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pass_without_gradients_leaves_the_gradients_alone(kind: str, folder: Path) -> None:
    """Guards against bitsandbytes' repacking for CPUs, after which gradients are zero without a word."""
    batch, features = batch_and_features(folder)
    model = trained_model(folder, kind, torch.bfloat16)
    gradients = []
    for _ in range(2):
        model.zero_grad()
        model(features, batch).backward()
        gradients.append(model.llama_proj.weight.grad.clone())
        with torch.no_grad():
            model(features, batch)
    assert gradients[0].norm() > 0 and torch.equal(*gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_training_lowers_the_loss_and_changes_the_projection_alone(kind: str, folder: Path) -> None:
    batch, features = batch_and_features(folder)
    model = trained_model(folder, kind)
    assert model.trainable_names() == ["llama_proj.weight", "llama_proj.bias"]
    matrix = model.decoder.model.layers[1].mlp.down_proj.weight
    before = getattr(matrix, "qdata", matrix.data).clone()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = model(features, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert torch.equal(before, getattr(matrix, "qdata", matrix.data))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_more_is_kept_for_the_backward_pass_than_in_full_precision(kind: str, folder: Path) -> None:
    """Guards against torchao's own product, which keeps every matrix as it was widened."""
    batch, features = batch_and_features(folder)
    kept = []
    for quantization in ("", kind):
        model = trained_model(folder, quantization)
        own = [value for p in model.parameters() for value in (p, *vars(p).values()) if isinstance(value, torch.Tensor)]
        own += [getattr(p, name) for p in model.parameters() for name in ("qdata", "scale") if hasattr(p, name)]
        kept.append(saved_bytes(lambda model=model: model(features, batch), [*own, *model.buffers()]))
    assert kept[1] <= kept[0]


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_and_what_stays_in_full_precision(kind: str, folder: Path) -> None:
    whole, small = load_decoder(folder, torch.float32, CPU), load_decoder(folder, torch.float32, CPU, kind)
    names = quantize.quantised_matrices(whole, kind)
    assert len(names) == 14 and "lm_head" not in names
    for name in names:
        weight = small.get_submodule(name).weight
        state = getattr(weight, "quant_state", None)
        if state is None:
            stored = weight.qdata.nbytes + weight.scale.nbytes + weight.zero_point.nbytes
        else:
            stored = weight.data.nbytes + state.absmax.nbytes + state.state2.absmax.nbytes
        assert stored == quantize.stored_bytes(whole.get_submodule(name).weight, kind), name
    assert torch.equal(small.lm_head.weight, whole.lm_head.weight)
    assert torch.equal(small.model.embed_tokens.weight, whole.model.embed_tokens.weight)
    assert small.dtype == torch.float32
    assert DecoderIdentity.of(small) == DecoderIdentity.of(whole)


@pytest.mark.parametrize("kind", KINDS)
def test_faults_of_the_files_are_still_found(kind: str, tmp_path: Path) -> None:
    tensors = random_tensors(llama_shapes(SIZES), 0, torch.float16)
    folder = tmp_path / "llm"
    write_llama(folder, SIZES)
    torch.save(
        {k: v for k, v in tensors.items() if k != "model.layers.1.mlp.up_proj.weight"}, folder / "pytorch_model.bin"
    )
    with pytest.raises(WeightsError, match=r"1 missing: model\.layers\.1\.mlp\.up_proj\.weight"):
        load_decoder(folder, torch.float32, CPU, kind)
    torch.save(tensors | {"model.layers.0.mlp.up_proj.weight": torch.zeros(192, 128)}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"model\.layers\.0\.mlp\.up_proj\.weight"):
        load_decoder(folder, torch.float32, CPU, kind)


def test_a_missing_package_is_named_with_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r'torchao, which is not installed\. pip install "skingpt4\[quantization\]"'):
        load_decoder(folder, torch.float32, CPU, "int8")


def test_low_resource_means_eight_bits() -> None:
    assert quantize.wanted_quantization(ModelSettings()) == ""
    assert quantize.wanted_quantization(ModelSettings(low_resource=True)) == "int8"
    assert quantize.wanted_quantization(ModelSettings(low_resource=True, decoder_quantization="nf4")) == "nf4"


@pytest.mark.parametrize("kind", KINDS)
def test_the_trained_small_model_keeps_its_loss(kind: str) -> None:
    """Real, trained weights: the embedded default, with a photograph that is noise and an answer that is fluent."""
    losses = []
    for quantization in ("", kind):
        settings = embedded_settings(["model.precision=fp32"])
        settings.model.decoder_quantization = quantization
        model, processor = build_model(settings)
        with torch.no_grad():
            features = model.encode_images(torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(0)))
            answer = "This could be a skin disease image of psoriasis."
            sequence = processor.training_sequence("Could you describe the skin disease in this image for me?", answer)
            losses.append(model(features, TrainingBatch.collate([sequence])).item())
    assert losses[1] == pytest.approx(losses[0], rel={"int8": 0.02, "nf4": 0.05}[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_trains_saves_and_answers(kind: str, tiny_settings: Settings, tmp_path: Path) -> None:
    """Through the settings: build, checkpoint, and back into the same decoder in full precision."""
    from skingpt4.weights.checkpoint import load_checkpoint, save_checkpoint

    tiny_settings.model.decoder_quantization = kind
    model, _ = build_model(tiny_settings)
    assert type(model.decoder.model.layers[0].mlp.up_proj) is not nn.Linear
    with torch.no_grad():
        model.llama_proj.weight += 1
    save_checkpoint(tmp_path, model, tiny_settings)
    tiny_settings.model.decoder_quantization = ""
    whole, _ = build_model(tiny_settings)
    with torch.no_grad():
        load_checkpoint(whole, str(tmp_path))
    assert torch.equal(whole.llama_proj.weight, model.llama_proj.weight)


LOADING = """
import sys, torch
from pathlib import Path
from skingpt4.weights.decoder import load_decoder

def now(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field)) * 1024

warm, folder, kind = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
load_decoder(warm, torch.float32, torch.device("cpu"), kind)
before = now("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
decoder = load_decoder(folder, torch.float32, torch.device("cpu"), kind)
print(now("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measures through /proc")
@pytest.mark.parametrize("kind", KINDS)
def test_no_full_precision_copy_is_ever_in_memory(kind: str, folder: Path, tmp_path: Path) -> None:
    """float32 decoder of 92 MB: the peak while it is loaded small is its small size and a few matrices."""
    sizes = replace(SIZES, llama_width=512, llama_intermediate=1408, llama_heads=8, llama_layers=7)
    write_llama(tmp_path / "llm", sizes)
    whole = sum(4 * math.prod(shape) for shape in llama_shapes(sizes).values())
    command = [sys.executable, "-c", LOADING, str(folder), str(tmp_path / "llm"), kind]
    # Freed memory goes back at once, as that of true-sized matrices does.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    peak = int(done.stdout.split()[-1])
    assert 0.1 * whole < peak < 0.55 * whole, f"{peak / whole:.2f} of the full-precision weights"
