"""The feature cache: right numbers, each computed once, whatever happens to the process or the files."""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from manifests import draw_data_set, write_data_set
from safetensors import safe_open
from torch import Tensor

from skingpt4.config import save_settings
from skingpt4.data.manifest import open_manifest
from skingpt4.data.pack import pack
from skingpt4.data.records import Record
from skingpt4.data.sequences import Records
from skingpt4.errors import TrainingError
from skingpt4.settings import Settings
from skingpt4.training.inputs import features, fingerprints
from skingpt4.training.inputs.features import FeatureCache
from skingpt4.training.inputs.fingerprints import Fingerprints, Photographs
from skingpt4.training.inputs.shards import Shards, ShardWriter
from skingpt4.training.inputs.views import Pixels
from skingpt4.weights.build import build_model
from skingpt4.weights.files import read_tensors

SCRIPT = Path(__file__).with_name("fill_cache.py")


@pytest.fixture
def settings(tiny_settings: Settings, tmp_path: Path) -> Settings:
    tiny_settings.data.feature_cache, tiny_settings.data.cached_views = str(tmp_path / "cache"), 3
    return tiny_settings


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    return draw_data_set(tmp_path / "images", 12, size_px=40)


def cached(settings: Settings, records: list[Record], random_crop: bool = True) -> list[Tensor]:
    """float[views, Q, W] of each record, through the cache."""
    every = Records([records])
    cache = FeatureCache(settings, Accelerator(cpu=True))
    found, bad = cache.features(every, Photographs.of(every), random_crop)
    assert not bad
    views = range(settings.data.cached_views if random_crop else 1)
    return [torch.stack([found(n, record.image, view) for view in views]) for n, record in enumerate(records)]


def shard_sizes(settings: Settings) -> list[int]:
    """Photographs in each shard of features, the oldest first."""
    sizes = []
    for path in sorted(
        Path(settings.data.feature_cache).glob("*/*.safetensors"), key=lambda path: path.stat().st_mtime_ns
    ):
        if path.parent.name != "fingerprints":
            with safe_open(path, "pt") as file:
                sizes.append(len(file.get_tensor("sha256")))
    return sizes


def test_features_are_those_of_the_encoder(settings: Settings, records: list[Record]) -> None:
    model, processor = build_model(settings)
    with torch.inference_mode():
        pixels = torch.stack([processor.pixels(record.image) for record in records])
        whole = model.encode_images(pixels)
        seen = Pixels(settings.model.image_size, random_crop=True, seed=settings.run.seed)
        crops = model.encode_images(torch.stack([seen(0, record.image, 2) for record in records]))
    for views, crop_views, expected, crop in zip(
        cached(settings, records, random_crop=False), cached(settings, records), whole, crops, strict=True
    ):
        torch.testing.assert_close(views[0], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(crop_views[2], crop, atol=1e-5, rtol=0)
        assert (crop_views[0] - crop_views[1]).abs().max() > 0.01  # each view is a crop of its own


def test_what_a_photograph_gives_does_not_depend_on_its_place(settings: Settings, records: list[Record]) -> None:
    forward = cached(settings, records)
    settings.data.feature_cache += "2"
    for one, other in zip(forward[3:], reversed(cached(settings, records[:2:-1])), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_a_new_photograph_costs_one_and_a_copy_none(
    settings: Settings, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cached(settings, records[:11])
    assert shard_sizes(settings) == [11]
    assert torch.equal(torch.stack(cached(settings, records)[:11]), torch.stack(first))
    assert shard_sizes(settings) == [11, 1]
    changed = records[4].image
    assert isinstance(changed, Path)
    changed.write_bytes(changed.read_bytes() + b"\0")  # the same picture: but who would know without decoding it
    cached(settings, records)
    assert shard_sizes(settings) == [11, 1, 1]
    copy = changed.with_name("copy.png")
    copy.write_bytes(changed.read_bytes())
    monkeypatch.setattr(features, "build_encoder", None)  # from here on, loading the encoder would be an error
    again = cached(settings, [dataclasses.replace(records[0], image=copy), *reversed(records)])
    assert torch.equal(again[0], again[-5]) and torch.equal(again[-1], first[0])
    assert len(shard_sizes(settings)) == 3


def test_records_of_one_photograph_share_its_features(settings: Settings, records: list[Record]) -> None:
    found = cached(settings, [records[0], records[1], records[0], records[1]])
    assert shard_sizes(settings) == [2]
    assert torch.equal(found[0], found[2]) and torch.equal(found[1], found[3]) and not torch.equal(found[0], found[1])


def test_packed_and_loose_photographs_share_their_features(settings: Settings, tmp_path: Path) -> None:
    loose = write_data_set(tmp_path / "loose", 6)
    packed = pack(loose, tmp_path / "packed", shard_bytes=20_000)
    one, two = cached(settings, list(loose)), cached(settings, list(open_manifest(packed)))
    assert shard_sizes(settings) == [6] and torch.equal(torch.stack(one), torch.stack(two))


def test_features_of_another_encoder_crop_or_precision_are_never_read(
    settings: Settings, records: list[Record], tmp_path: Path
) -> None:
    def folders() -> int:
        cached(settings, records[:2])
        return len([path for path in Path(settings.data.feature_cache).iterdir() if path.name != "fingerprints"])

    found = [folders()]
    settings.run.seed += 1
    found.append(folders())
    settings.data.cached_views = 2
    found.append(folders())
    settings.model.vit_precision = "bf16"
    found.append(folders())
    weights = read_tensors(Path(settings.model.q_former_model))
    weights["query_tokens"] = weights["query_tokens"] + 1e-3
    settings.model.q_former_model = str(tmp_path / "other.pth")
    torch.save({"model": weights}, settings.model.q_former_model)
    found.append(folders())
    assert found == [1, 2, 3, 4, 5]
    whole = cached(settings, records[:2], random_crop=False)
    settings.run.seed += 1
    assert torch.equal(cached(settings, records[:2], random_crop=False)[0], whole[0])  # no crop is drawn
    assert folders() == 7  # the folder of whole pictures, and the crops of the new seed


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.float16)])
def test_half_the_bytes_where_the_encoder_computes_in_16_bits(
    precision: str, dtype: torch.dtype, settings: Settings, records: list[Record]
) -> None:
    settings.model.precision = precision
    found = cached(settings, records, random_crop=False)
    assert found[0].dtype == dtype
    model, processor = build_model(settings)
    with torch.inference_mode():
        expected = model.encode_images(torch.stack([processor.pixels(record.image) for record in records]))
    tolerance = 1e-5 if dtype == torch.float32 else 0.02 * float(expected.abs().max())
    torch.testing.assert_close(torch.cat(found).float(), expected, atol=tolerance, rtol=0)


def run_script(settings: Settings, folder: Path, mode: str, launch: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    save_settings(settings, folder / "settings.yaml")
    command = [sys.executable, *launch, str(SCRIPT), str(folder / "settings.yaml"), str(folder / "images"), mode]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, text=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_killed_computation_goes_on_and_ends_the_same(
    settings: Settings, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShardWriter, "rows_per_file", 2)
    monkeypatch.setattr(features, "BATCH_VIEWS", {"cpu": 6})  # as the script: two photographs of three views
    killed = run_script(settings, tmp_path, "killed")
    _, errors = killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL, errors
    before = shard_sizes(settings)
    assert before == [2, 2, 2]
    rest = cached(settings, records)
    assert shard_sizes(settings)[3:] == [2, 2, 2]
    settings.data.feature_cache += "2"
    assert torch.equal(torch.stack(rest), torch.stack(cached(settings, records)))


def test_what_was_computed_before_an_error_is_kept(settings: Settings, records: list[Record]) -> None:
    torn = records[10].image
    assert isinstance(torn, Path)
    whole = torn.read_bytes()
    torn.write_bytes(whole[:60])
    with pytest.raises(Exception, match=r"10\.png is damaged"):
        cached(settings, records)
    assert shard_sizes(settings) == [10]
    torn.write_bytes(whole)
    cached(settings, records)
    assert shard_sizes(settings) == [10, 2]


def test_damaged_and_unfinished_files_are_not_read(
    settings: Settings, records: list[Record], caplog: pytest.LogCaptureFixture
) -> None:
    good = cached(settings, records)
    folder = next(path for path in Path(settings.data.feature_cache).iterdir() if path.name != "fingerprints")
    shard = next(folder.glob("*.safetensors"))
    (folder / "empty.safetensors").touch()
    (folder / ".1.partial").write_bytes(shard.read_bytes())
    old = folder / ".2.partial"
    old.write_bytes(b"half")
    os.utime(old, (0, 0))
    shard.write_bytes(shard.read_bytes()[:-100])
    assert torch.equal(torch.stack(cached(settings, records)), torch.stack(good))
    assert f"{shard} is damaged and left aside" in caplog.text and "empty.safetensors is damaged" in caplog.text
    assert (folder / ".1.partial").exists() and not old.exists()


def test_a_full_disk_is_said_and_what_is_there_stays(
    settings: Settings, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShardWriter, "rows_per_file", 5)
    monkeypatch.setattr(features, "BATCH_VIEWS", {"cpu": 15})
    cached(settings, records[:5])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))  # as a disk with room for so much
    try:
        with pytest.raises(TrainingError, match=r"can be written to .*File too large.* set data\.feature_cache to"):
            cached(settings, records)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert shard_sizes(settings) == [5]
    assert not list(Path(settings.data.feature_cache).glob("*/.*"))
    settings.data.cached_views = 10**12
    with pytest.raises(TrainingError, match=r"features need .* GB in .* GB are free\. .*data\.cached_views=0"):
        cached(settings, records)


def test_an_encoder_of_broken_numbers_is_named_with_the_photographs(
    settings: Settings, records: list[Record], tmp_path: Path
) -> None:
    weights = read_tensors(Path(settings.model.q_former_model))
    weights["query_tokens"][0, 0, 0] = float("nan")
    settings.model.q_former_model = str(tmp_path / "nan.pth")
    torch.save({"model": weights}, settings.model.q_former_model)
    with pytest.raises(TrainingError, match=r"float32, gave numbers that are not finite for .*0\.png"):
        cached(settings, records)
    assert shard_sizes(settings) == []


@pytest.mark.slow
def test_two_runs_and_two_ranks_fill_one_folder(settings: Settings, records: list[Record], tmp_path: Path) -> None:
    two_runs = [run_script(settings, tmp_path, "compare") for _ in range(2)]
    (one, errors), (other, _) = [process.communicate(timeout=240) for process in two_runs]
    assert [process.returncode for process in two_runs] == [0, 0], errors
    assert one == other  # both read the same numbers
    assert 12 <= sum(shard_sizes(settings)) <= 24
    settings.data.feature_cache += "2"
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    ranks = run_script(settings, tmp_path, "compare", launch)
    printed, errors = ranks.communicate(timeout=240)
    assert ranks.returncode == 0, errors
    assert sorted(shard_sizes(settings)) == [6, 6]  # each its half, none twice
    sums = [float(text) for text in re.findall(r"features (\S+)\.\n", printed + one)]
    expected = sum(float(views.double().abs().sum()) for views in cached(settings, records))
    assert len(sums) == 3 and sums == pytest.approx([expected] * 3, rel=1e-6)


def test_rows_are_found_among_many_and_keep_their_numbers(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    keys = np.frombuffer(draw.bytes(32 * 5000), "S32")
    table, other = Shards(tmp_path), Shards(tmp_path)
    assert table.find(keys).tolist() == [-1] * 5000
    for part in np.array_split(np.arange(5000), 7):
        other.add(keys[part], {"number": torch.from_numpy(part)}, {})
    other.add(keys[:0], {"number": torch.zeros(0)}, {})  # writes nothing
    table.refresh()
    assert len(list(tmp_path.iterdir())) == 7 and len(table) == 5000
    rows = table.find(keys)
    assert torch.equal(table.column("number")[torch.from_numpy(rows)], torch.arange(5000))
    absent = np.frombuffer(draw.bytes(32 * 100), "S32")
    assert table.find(absent).tolist() == [-1] * 100
    other.add(np.concatenate([absent, keys[:3]]), {"number": torch.arange(103)}, {})  # three of them again
    table.refresh()
    assert table.find(keys).tolist() == rows.tolist() and min(table.find(absent)) >= 5000
    sent: Shards = pickle.loads(pickle.dumps(table))
    assert [int(sent.read("number", int(row))) for row in rows[::500]] == list(range(0, 5000, 500))


def test_many_shards_take_no_file_descriptors(tmp_path: Path) -> None:
    table = Shards(tmp_path)
    for number in range(40):
        table.add(np.array([b"%032d" % number], "S32"), {"features": torch.full((1, 2, 3), float(number))}, {})
    table.refresh()
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    rows = table.find(np.array([b"%032d" % number for number in range(40)], "S32"))
    assert [table.read("features", int(row), 1).tolist() for row in rows] == [[n] * 3 for n in range(40)]
    if before:
        assert len(os.listdir("/proc/self/fd")) - before < 5


def test_files_are_read_once_and_again_when_they_change(
    tmp_path: Path, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [record.image for record in records]

    def digests() -> list[bytes]:
        return Fingerprints(tmp_path / "known").of(images, len(images), lambda items, *_: items).tolist()

    first = digests()
    assert not list((tmp_path / "known").glob("*"))  # just written: their times may not tell the next change
    monkeypatch.setattr(fingerprints, "SETTLED_SECONDS", -1.0)
    assert digests() == first and len(set(first)) == len(images)
    with monkeypatch.context() as patch:
        patch.setattr(fingerprints, "_content", None)
        assert digests() == first  # looked at, not read
    changed = images[3]
    assert isinstance(changed, Path)
    content, status = changed.read_bytes(), changed.stat()
    changed.write_bytes(content[:-1] + b"x")
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))  # the same size and time, as a careless copy has
    again = digests()
    assert again[3] != first[3] and again[:3] + again[4:] == first[:3] + first[4:]
    changed.unlink()
    assert digests()[3] == fingerprints.UNREAD
