"""`skingpt4 train --estimate`: right where it can be compared, and of use for every file that is shipped."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from skingpt4.config import load_settings
from skingpt4.errors import SettingsError, WeightsError
from skingpt4.model.packing import TrainingBatch
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.prompts import IMAGE_SLOT, TrainingSequence
from skingpt4.settings import Settings
from skingpt4.training import memory
from skingpt4.training.estimate import GIB, Device, changes, estimate, fits, print_estimates
from skingpt4.weights.build import build_encoder
from skingpt4.weights.decoder import load_decoder

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(
    [*ROOT.glob("configs/**/*.yaml"), *ROOT.glob("eval_configs/*.yaml"), *ROOT.glob("skingpt4/tiny/**/*.yaml")]
)
CPU = torch.device("cpu")


def gpu(gib: float) -> Device:
    return Device(True, int(gib * GIB), f"a GPU of {gib} GB")


def shipped(name: str, *options: str) -> Settings:
    return load_settings(ROOT / "configs" / name, list(options))[0]


def total(settings: Settings, device: Device) -> float:
    return sum(part.size_bytes for part in estimate(settings, device)) / GIB


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_file_has_an_estimate(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = load_settings(path)
    assert print_estimates(steps, "32GB")
    printed = capsys.readouterr().out
    assert printed.count("together") == printed.count("kept for backward") == len(steps)
    assert printed.count("fits") == len(steps) and "Computed from the sizes, not measured" in printed


def test_the_claims_of_what_fits_where() -> None:
    """Computed: Vicuna-13B in fp16 with 2 x 160 answer tokens on a V100 of 32 GB; in 4 bits 7B in 12 GB, 13B in 16."""
    large = shipped("vicuna13b/step1.yaml")
    assert (large.run.batch_size_train, large.model.max_txt_len) == (2, 160)
    assert fits(estimate(large, gpu(32)), gpu(32)) and 26 < total(large, gpu(32)) < 30
    four_bits = "model.decoder_quantization=nf4"
    assert fits(estimate(shipped("vicuna7b/step1.yaml", four_bits), gpu(12)), gpu(12))
    assert fits(estimate(shipped("vicuna13b/step1.yaml", four_bits), gpu(16)), gpu(16))
    assert not fits(estimate(large, gpu(24)), gpu(24))


def test_what_a_llama_keeps_is_what_its_formulas_say() -> None:
    """Per token and layer in 16 bits: both norms' float32 input; query, key, value and attention's outcome; in the MLP
    the gate before and after its activation, and the other half; the logarithm of attention's sums.
    """
    plan = memory.published_decoder("7")
    width, layers, heads, intermediate = memory.PUBLISHED["7"]
    tokens, answer = memory.BEFORE_IMAGE + memory.AFTER_IMAGE + 32 + 160, 160
    per_token = 2 * 4 * width + 4 * 2 * width + 3 * 2 * intermediate + 4 * heads
    expected = layers * tokens * per_token + 4 * answer * 32000  # and the float32 likelihoods of the vocabulary
    found = memory.step_bytes(plan, torch.float16, 1, answer, 32, 768)
    assert found == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_counted_without_values_is_what_a_real_step_keeps(dtype: torch.dtype, tiny_settings: Settings) -> None:
    folder, answer, queries, samples = tiny_settings.model.llama_model, 40, 8, 3
    plan = memory.plan_decoder(folder)
    model = SkinGPT4(None, None, nn.Linear(24, 32), load_decoder(Path(folder), dtype, CPU)).eval()
    before = [3] * memory.BEFORE_IMAGE + [IMAGE_SLOT] * queries + [4] * memory.AFTER_IMAGE
    sequence = TrainingSequence(before + [5] * answer, [False] * len(before) + [True] * answer)
    batch, features = TrainingBatch.collate([sequence] * samples), torch.randn(samples, queries, 24)
    own = [*model.parameters(), *model.buffers()]
    real = memory.saved_bytes(lambda: model(features, batch), own)
    assert memory.step_bytes(plan, dtype, samples, answer, queries, 24) == pytest.approx(real, rel=0.01)
    assert memory.decoder_bytes(plan, dtype, "").weights == sum(p.nbytes for p in model.decoder.parameters())


@pytest.mark.parametrize("trained", ["", "freeze_qformer", "freeze_vit"])
def test_the_encoder_is_counted_as_it_is_built(trained: str, tiny_settings: Settings) -> None:
    model = tiny_settings.model
    if trained:
        setattr(model, trained, False)
    vision, qformer = build_encoder(model, torch.bfloat16 if model.freeze_vit else torch.float32, CPU)
    counted = memory.encoder_bytes(model, torch.bfloat16)
    assert counted.weights == sum(t.nbytes for part in (vision, qformer) for t in part.state_dict().values())
    vision.requires_grad_(trained == "freeze_vit")
    qformer.requires_grad_(trained == "freeze_qformer")
    learned = [p for part in (vision, qformer) for p in part.parameters() if p.requires_grad]
    assert counted.trained == sum(p.numel() for p in learned)
    if trained:
        pixels = torch.randn(2, 3, model.image_size, model.image_size)
        own = [t for part in (vision, qformer) for t in (*part.parameters(), *part.buffers())]
        real = memory.saved_bytes(lambda: qformer(vision(pixels)), own)
        assert memory.encoder_step_bytes(model, 2) == pytest.approx(real, rel=0.05)


def test_cached_features_save_the_encoder() -> None:
    cached, on_the_fly = shipped("vicuna7b/step1.yaml"), shipped("vicuna7b/step1.yaml", "data.cached_views=0")
    names = [part.name for part in estimate(on_the_fly, gpu(24))]
    assert "encoder" in names and "encoder" not in [part.name for part in estimate(cached, gpu(24))]
    assert 2.0 < total(on_the_fly, gpu(24)) - total(cached, gpu(24)) < 2.6


def test_what_to_change_comes_cheapest_first_and_does_fit() -> None:
    settings = shipped("vicuna13b/step1.yaml", "data.cached_views=0", "run.batch_size_train=8")
    before, device = deepcopy(settings), gpu(16)
    offered = list(changes(settings, device))
    assert settings == before
    assert [("quantization" in change.options, "shard" in change.options) for change in offered] == [
        (False, False), (True, False), (True, False), *[(False, True)] * (len(offered) - 3)
    ]  # fmt: skip
    assert not offered[0].fits and offered[2].fits and offered[-1].fits
    assert all("data.cached_views=4" in change.options for change in offered)
    chosen = offered[2].options.split()
    changed = shipped("vicuna13b/step1.yaml", *chosen)
    assert fits(estimate(changed, device), device) and total(changed, device) * GIB == offered[2].total_bytes
    assert changed.run.batch_size_train * changed.run.accum_grad_iters == 8


def test_what_does_not_fit_is_said_with_what_to_change(capsys: pytest.CaptureFixture[str]) -> None:
    assert not print_estimates([shipped("vicuna7b/step1.yaml")], "8GB")
    printed = capsys.readouterr().out
    assert "does NOT fit" in printed and "What to change" in printed and "nf4" in printed


def test_a_sharded_decoder_is_shared_between_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    from skingpt4.training.estimate import device_of

    monkeypatch.setenv("WORLD_SIZE", "4")
    settings = shipped("vicuna13b/step1.yaml", "run.shard_decoder=true")
    shared = estimate(settings, device_of(settings, "16GB"))
    assert 6.0 < shared[0].size_bytes / GIB < 7.5


def test_faults_are_said() -> None:
    settings = shipped("vicuna7b/step1.yaml", "model.llama_model=weights/something")
    with pytest.raises(WeightsError, match=r"does not exist, and its name does not say .* a 7B or 13B LLaMA"):
        print_estimates([settings], "16GB")
    with pytest.raises(SettingsError, match=r"--device-memory 'much' is no amount of memory; write it as 32GB"):
        print_estimates([shipped("vicuna7b/step1.yaml")], "much")
