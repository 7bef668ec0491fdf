"""How processes share the work: chunks of the validation, weights of the losses, what can be spread."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from transformers import PreTrainedModel

from skingpt4.errors import DeviceError
from skingpt4.model.packing import TrainingBatch
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.prompts import TrainingSequence
from skingpt4.settings import Settings
from skingpt4.training.devices import SharedChunks, _check_spread, build_accelerator, loss_weights, shard_decoder
from skingpt4.training.samples import Batch


def test_chunks_have_every_position_once_and_as_many_passes_on_each_process() -> None:
    for count in range(1, 30):
        for size in range(1, 6):
            for ranks in range(1, 5):
                shares = [SharedChunks(count, size, rank, ranks) for rank in range(ranks)]
                made = [list(share) for share in shares]
                own = [
                    place
                    for share, chunks in zip(shares, made, strict=True)
                    for c in chunks[: share.counted]
                    for place in c
                ]
                assert sorted(own) == list(range(count))
                assert {len(chunks) for chunks in made} == {len(shares[0])}
                assert all(0 < len(chunk) <= size for chunks in made for chunk in chunks)


def test_chunks_written_out() -> None:
    assert [list(SharedChunks(5, 2, rank, 2)) for rank in (0, 1)] == [[[0, 1], [4]], [[2, 3], [5]]]
    assert [SharedChunks(5, 2, rank, 2).counted for rank in (0, 1)] == [2, 1]


def passes(*answers: int) -> list[Batch]:
    """A batch of one sequence for each number of answer tokens."""
    sequences = [TrainingSequence([7] * 4 + [9] * count, [False] * 4 + [True] * count) for count in answers]
    return [Batch(torch.zeros(1), TrainingBatch.collate([sequence]), ["a.png"]) for sequence in sequences]


def test_weighted_means_are_the_mean_over_all_answer_tokens() -> None:
    weights = loss_weights(Accelerator(cpu=True), passes(3, 9))
    means = torch.tensor([2.0, 4.0])
    assert (weights * means).mean() == pytest.approx((3 * 2 + 9 * 4) / 12)


@pytest.mark.parametrize("tokens", [1, 3, 49, 160])
def test_one_pass_of_one_process_keeps_its_loss_to_the_bit(tokens: int) -> None:
    assert loss_weights(Accelerator(cpu=True), passes(tokens)).tolist() == [1.0]


def test_a_decoder_is_sharded_over_several_processes_only(tiny_settings: Settings) -> None:
    tiny_settings.run.shard_decoder = True
    with pytest.raises(DeviceError, match=r"over processes, and this is one.*accelerate launch.*device_map=auto"):
        build_accelerator(tiny_settings)


def test_a_device_map_is_for_one_process(tiny_settings: Settings) -> None:
    tiny_settings.model.device_map = "auto"
    assert build_accelerator(tiny_settings).num_processes == 1
    with pytest.raises(DeviceError, match=r"these are 2 processes.*run\.shard_decoder=true"):
        _check_spread(tiny_settings, 2)


def test_a_decoder_that_names_no_layers_is_not_sharded(tiny_model: tuple[SkinGPT4, Processor]) -> None:
    decoder: PreTrainedModel = tiny_model[0].decoder
    decoder._no_split_modules = None
    with pytest.raises(DeviceError, match=r"LlamaForCausalLM does not say.*run\.shard_decoder=false"):
        shard_decoder(decoder, torch.device("cpu"))
