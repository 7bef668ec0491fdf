"""Learning rates and weight decay of the original."""

from __future__ import annotations

import pytest
import torch

from skingpt4.settings import RunSettings
from skingpt4.training.schedule import build_optimizer, learning_rate

# Of the original's run with init_lr 0.01, min_lr 0.001, warmup_lr 1e-4, 6 warm-up steps, 3 epochs of 6.
ORIGINAL = {
    0: 1e-4,
    1: 0.00175,
    5: 0.00835,
    6: 0.00775,
    7: 0.00703909064496551,
    11: 0.0039609093550344926,
    17: 0.0010683651114450638,
}


@pytest.mark.parametrize(("step", "rate"), ORIGINAL.items())
def test_equals_the_original(step: int, rate: float) -> None:
    run = RunSettings(init_lr=0.01, min_lr=0.001, warmup_lr=1e-4, warmup_steps=6)
    assert learning_rate(step, 18, run) == pytest.approx(rate, abs=1e-9)


def test_a_warm_up_longer_than_an_epoch_goes_on_instead_of_starting_again() -> None:
    run = RunSettings(init_lr=0.01, warmup_lr=0.0, warmup_steps=8, iters_per_epoch=4)
    rates = [learning_rate(step, 16, run) for step in range(9)]
    assert rates[:8] == sorted(rates[:8]) and rates[4] == pytest.approx(0.005)


def test_no_weight_decay_on_biases_and_norms() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
    module[0].bias.requires_grad_(False)
    decayed, plain = build_optimizer(module.named_parameters(), 0.05).param_groups
    assert [p.shape for p in decayed["params"]] == [(2, 2)] and decayed["weight_decay"] == 0.05
    assert len(plain["params"]) == 2 and plain["weight_decay"] == 0  # the frozen bias is in neither
