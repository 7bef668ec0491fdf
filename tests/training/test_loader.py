"""Over all ranks and worker processes, every record of a manifest is seen once per pass, from files and from shards."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import pytest
import torch
from manifests import write_data_set

from skingpt4.data.loading import load_records
from skingpt4.data.pack import pack
from skingpt4.data.records import Record
from skingpt4.data.sequences import Records
from skingpt4.processor import Processor
from skingpt4.settings import Settings, SourceSettings
from skingpt4.tokenizer import load_tokenizer
from skingpt4.training.inputs.views import Pixels
from skingpt4.training.samples import Batch, Positions, SampleStream, batches

COUNT = 23
INPUTS = Pixels(image_size_px=28, random_crop=True, seed=0)


@pytest.fixture(scope="module")
def data_sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sets")
    loose = write_data_set(folder / "loose", COUNT)
    return {"loose": folder / "loose", "packed": pack(loose, folder / "packed", shard_bytes=20_000).parent}


@pytest.fixture
def processor(tiny_settings: Settings) -> Processor:
    return Processor.from_settings(tiny_settings.model, load_tokenizer(Path(tiny_settings.model.llama_model)))


def records_of(folder: Path, tiny_settings: Settings) -> Records:
    tiny_settings.data.train = [SourceSettings("manifest", str(folder))]
    return load_records(tiny_settings.data, "", 0).train


@pytest.mark.parametrize("kind", ["loose", "packed"])
@pytest.mark.parametrize(("ranks", "workers", "batch"), [(1, 0, 4), (1, 2, 5), (2, 2, 3), (3, 1, 2)])
def test_every_record_once_per_pass(
    kind: str,
    ranks: int,
    workers: int,
    batch: int,
    data_sets: dict[str, Path],
    tiny_settings: Settings,
    processor: Processor,
) -> None:
    records, passes = records_of(data_sets[kind], tiny_settings), 2
    stream = SampleStream(records, INPUTS, views=2, seed=3)
    steps = -(-passes * COUNT // (ranks * batch))
    seen: dict[int, tuple[str, torch.Tensor]] = {}
    for rank in range(ranks):
        mine = Positions(0, steps, 1, batch, rank, ranks)
        for places, made in zip(mine, batches(stream, mine, processor, workers, pin=False), strict=True):
            assert isinstance(made, Batch) and made.inputs.shape == (batch, 3, 28, 28)
            for place, image, pixels in zip(places, made.images, made.inputs, strict=True):
                assert place not in seen
                seen[place] = image, pixels
    every = Counter(str(image) for image in records.images())
    for number in range(passes):
        part = range(number * COUNT, (number + 1) * COUNT)
        assert Counter(seen[place][0] for place in part) == every
    first, second = ([seen[place][0] for place in range(start, start + COUNT)] for start in (0, COUNT))
    assert first != second  # each pass has an order of its own
    alone = SampleStream(records, INPUTS, views=2, seed=3)
    for place in (0, 7, COUNT + 1):  # whoever reads it, a place gives the same picture
        assert torch.equal(alone[place][0], seen[place][1]) and str(alone[place][1].image) == seen[place][0]


def test_files_and_shards_give_the_same_samples(data_sets: dict[str, Path], tiny_settings: Settings) -> None:
    loose, packed = (
        SampleStream(records_of(data_sets[kind], tiny_settings), INPUTS, views=2, seed=3)
        for kind in ("loose", "packed")
    )
    for place in range(2 * COUNT):
        (pixels, _, *texts), (other_pixels, _, *other_texts) = loose[place], packed[place]
        assert torch.equal(pixels, other_pixels) and texts == other_texts


@pytest.mark.slow
def test_workers_that_are_started_afresh_read_the_same(
    data_sets: dict[str, Path], tiny_settings: Settings, processor: Processor
) -> None:
    """As on macOS and Windows, where nothing is inherited: all that a worker needs must survive a pickle."""
    stream = SampleStream(records_of(data_sets["packed"], tiny_settings), INPUTS, views=2, seed=3)
    stream[0]  # what has been read is not sent along
    loader = batches(stream, Positions(0, 3, 1, 4, 0, 1), processor, workers=1, pin=False)
    loader.multiprocessing_context = "spawn"
    for made, expected in zip(loader, batches(stream, Positions(0, 3, 1, 4, 0, 1), processor, 0, False), strict=True):
        assert made.images == expected.images and torch.equal(made.inputs, expected.inputs)
        assert torch.equal(made.text.ids, expected.text.ids)
    assert len(pickle.dumps(stream)) < 20_000


def test_the_order_of_a_seed_is_the_same_under_every_numpy() -> None:
    """Written out: a run that is resumed after an update must go on where it was."""
    stream = SampleStream([Record(Path(f"{n}.png"), ("q",), ("a",)) for n in range(8)], INPUTS, views=1, seed=42)
    assert [stream._order(number).tolist() for number in (0, 1)] == [[2, 6, 5, 1, 7, 4, 3, 0], [4, 0, 7, 5, 2, 3, 6, 1]]


def test_the_order_of_a_million_is_cheap() -> None:
    stream = SampleStream(Records(), INPUTS, views=1, seed=0)
    stream.records = range(1_000_000)  # type: ignore[assignment]  # only its length counts here
    order = stream._order(0)
    assert order.nbytes <= 8_000_000
    assert torch.equal(torch.bincount(torch.from_numpy(order)), torch.ones(1_000_000, dtype=torch.int64))
