"""Opening weight files: what is no weight file is named as what it is, and no pickle runs."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from skingpt4.errors import WeightsError
from skingpt4.weights.files import find_file, places_of, read_metadata, read_tensors

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.float16)}


class Planted:
    """A pickle of this writes a file when it is loaded by Python's own loader."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.write_text, (self.target, "I ran")


def message_of(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_tensors(path)
    return str(caught.value)


@pytest.mark.parametrize("wrapped", [False, True])
def test_torch_file(wrapped: bool, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": TENSORS, "epoch": 3} if wrapped else TENSORS, path)
    assert {name: tensor.tolist() for name, tensor in read_tensors(path).items()} == {
        "a": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]],
        "b": [1.0, 1.0, 1.0, 1.0],
    }


def test_torch_file_of_before_2020(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"model": TENSORS}, path, _use_new_zipfile_serialization=False)
    assert read_tensors(path)["a"].tolist() == TENSORS["a"].tolist()


def test_safetensors_file_and_its_texts(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(TENSORS, path, {"who": "me"})
    assert sorted(read_tensors(path)) == ["a", "b"]
    assert read_metadata(path) == {"who": "me"}
    assert read_metadata(tmp_path / "w.pth") == {}


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_pickle_with_code_is_refused_and_does_not_run(form: str, tmp_path: Path) -> None:
    path, target = tmp_path / "evil.pth", tmp_path / "it_ran"
    torch.save({"model": {"w": Planted(target)}}, path, _use_new_zipfile_serialization=form == "zip")
    message = message_of(path)
    assert not target.exists()
    assert "holds more than tensors and was refused before any of it ran" in message
    assert str(path) in message
    torch.load(path, weights_only=False)  # the trap is a real one
    assert target.read_text() == "I ran"


def test_a_plain_pickle_with_code_is_refused(tmp_path: Path) -> None:
    path, target = tmp_path / "evil.bin", tmp_path / "it_ran"
    path.write_bytes(pickle.dumps(Planted(target), protocol=2))
    message_of(path)
    assert not target.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "is an HTML page, not weights"),
        (b"\n  <html lang='en'>", "is an HTML page, not weights"),
        ("Zugriff verweigert: ä".encode() * 40, "is a text file (880 bytes), not weights"),
        (b"Access denied\n" * 40, "is a text file (560 bytes), not weights; it begins b'Access denied"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a Git LFS pointer, not weights. Run `git"),
        (b"\x93\x00\xff\xfe" * 100, "is torn or no"),
        (b"PK\x03\x04" + b"\x00" * 200, "is torn or no"),
    ],
)  # fmt: skip
def test_what_is_no_weight_file_is_named(content: bytes, expected: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    message = message_of(path)
    assert expected in message or (expected == "is torn or no" and "holds more than tensors" in message)
    assert str(path) in message
    assert "Download" in message or "git lfs pull" in message or "get it from its publisher" in message


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_cut_download_is_torn(suffix: str, kept: float, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    big = {"a": torch.randn(200, 100), "b": torch.randn(50)}
    if suffix == ".pth":
        torch.save({"model": big}, path)
    else:
        save_file(big, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    message = message_of(path)
    assert f"{path} is torn or no" in message
    assert "Download it again" in message
    if suffix == ".safetensors":
        with pytest.raises(WeightsError, match="is torn or no safetensors file"):
            read_metadata(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([1, 2, 3], "holds a list; tensors by name were expected"),
        ({"model": [1]}, "holds a list; tensors by name were expected"),
        ({"epoch": 3, "config": {}}, "holds a dict of epoch, config; tensors by name were expected"),
    ],
)
def test_a_torch_file_without_tensors(content: object, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(content, path)
    assert expected in message_of(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert message_of(tmp_path / "none.pth") == f"{tmp_path / 'none.pth'} does not exist (looked in {tmp_path})."
    assert message_of(tmp_path) == f"{tmp_path} is a folder; a weight file was expected."


def test_a_url_is_looked_for_on_this_machine_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upstream's YAML files name addresses; nothing is downloaded, the file's name is looked for in two folders."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    address = "https://example.org/models/blip2_pretrained_flant5xxl.pth"
    assert find_file(address) is None
    cache = tmp_path / "home" / ".cache" / "torch" / "hub" / "checkpoints"
    assert places_of(address) == [
        Path("weights/blip2_pretrained_flant5xxl.pth"),
        cache / "blip2_pretrained_flant5xxl.pth",
    ]
    cache.mkdir(parents=True)
    (cache / "blip2_pretrained_flant5xxl.pth").touch()
    assert find_file(address) == cache / "blip2_pretrained_flant5xxl.pth"
