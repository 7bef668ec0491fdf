"""Photographs that cannot be read: an error that names them, or left out, the same on every rank, at little cost."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate import Accelerator
from manifests import draw_data_set

from skingpt4.config import save_settings
from skingpt4.data.loading import LoadedData
from skingpt4.data.records import Record
from skingpt4.data.sequences import Records
from skingpt4.errors import DataError, ImageError
from skingpt4.settings import Settings
from skingpt4.training.inputs import photographs, views
from skingpt4.training.inputs.photographs import Inputs, prepare_inputs

KINDS = pytest.mark.parametrize("cached_views", [0, 2])  # encoded at every step, or cached


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Twelve, of which 3 and 7 are torn, 9 is a copy of 3 under another name, and the last are the validation's."""
    drawn = draw_data_set(tmp_path / "images", 12, size_px=40)
    files = [path_of(record) for record in drawn]
    for number in (3, 7):
        files[number].write_bytes(files[number].read_bytes()[:80])
    files[9].write_bytes(files[3].read_bytes())
    return [*drawn, dataclasses.replace(drawn[7], answers=("Another answer.",))]  # of a photograph that was there


def path_of(record: Record) -> Path:
    assert isinstance(record.image, Path)
    return record.image


def prepared(settings: Settings, records: list[Record]) -> Inputs:
    data = LoadedData(Records([records[:8], records[12:]]), Records([records[8:12]]), [])
    return prepare_inputs(data, settings, Accelerator(cpu=True))


def names(records: Records) -> list[str]:
    return [path_of(record).name for record in records]


@KINDS
def test_they_are_left_out_and_counted(
    cached_views: int, tiny_settings: Settings, records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_settings.data.cached_views, tiny_settings.data.on_bad_image = cached_views, "skip"
    path_of(records[10]).unlink()  # went missing after the tables were read
    inputs = prepared(tiny_settings, records)
    assert names(inputs.data.train) == ["0.png", "1.png", "2.png", "4.png", "5.png", "6.png"]
    assert names(inputs.data.validation) == ["8.png", "11.png"]
    said = capsys.readouterr().out
    assert "4 unreadable photographs are skipped: " in said and "10.png does not exist." in said
    assert all(f"{number}.png is damaged" in said for number in (3, 7, 9))
    assert inputs.views == (cached_views or photographs.ENDLESS) and inputs.validation is not None
    shape = inputs.train(5, path_of(inputs.data.train[5]), 1).shape
    assert shape == ((8, 24) if cached_views else (3, 56, 56))
    inputs.validation(1, path_of(inputs.data.validation[1]), 0)


@KINDS
def test_all_bad(cached_views: int, tiny_settings: Settings, records: list[Record]) -> None:
    tiny_settings.data.cached_views, tiny_settings.data.on_bad_image = cached_views, "skip"
    data = LoadedData(Records([[records[3]]]), Records(), [])
    with pytest.raises(DataError, match=r"No readable photograph is left to train on\."):
        prepare_inputs(data, tiny_settings, Accelerator(cpu=True))


def test_an_error_names_the_first(tiny_settings: Settings, records: list[Record]) -> None:
    with pytest.raises(ImageError, match=r"3\.png is damaged"):
        prepared(tiny_settings, records)
    tiny_settings.data.cached_views = 0
    inputs = prepared(tiny_settings, records)  # without a cache nothing is decoded before its turn
    assert len(inputs.data.train) == 9 and inputs.train(0, path_of(records[0]), 7).shape == (3, 56, 56)
    with pytest.raises(ImageError, match=r"3\.png is damaged"):
        inputs.train(3, path_of(records[3]), 0)


def test_with_a_cache_each_photograph_is_decoded_once_in_its_life(
    tiny_settings: Settings, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_settings.data.on_bad_image = "skip"
    opened: list[str] = []
    real = views.open_image

    def spy(source: object) -> object:
        opened.append(Path(str(source)).name)
        return real(source)  # type: ignore[arg-type]

    monkeypatch.setattr(views, "open_image", spy)
    prepared(tiny_settings, records)
    assert sorted(opened) == sorted(f"{number}.png" for number in range(12))
    opened.clear()
    prepared(tiny_settings, records)
    assert sorted(opened) == ["3.png", "7.png", "9.png"]  # the bad ones again: they may have been mended
    opened.clear()
    path_of(records[7]).write_bytes(path_of(records[6]).read_bytes())
    inputs = prepared(tiny_settings, records)
    assert sorted(opened) == ["3.png", "9.png"]  # the mended one is a copy of one that is known
    assert names(inputs.data.train).count("7.png") == 2


@pytest.mark.slow
def test_every_rank_leaves_out_the_same(tiny_settings: Settings, records: list[Record], tmp_path: Path) -> None:
    tiny_settings.data.on_bad_image = "skip"
    save_settings(tiny_settings, tmp_path / "settings.yaml")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    script = Path(__file__).with_name("fill_cache.py")
    command = [*launch, str(script), str(tmp_path / "settings.yaml"), str(tmp_path / "images"), "skip"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    # Two processes write at once: their lines may run into one another.
    assert (
        done.stdout.count("3 unreadable photographs are skipped") == 2
    )  # said by one of them, with and without a cache
    assert done.stdout.count("kept 0 1 2 4 5 6 8 10 11.") == 2 * 2
