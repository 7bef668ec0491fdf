"""Downloads against a server on loopback that speaks the hub's protocol, with the faults that downloads meet."""

from __future__ import annotations

import hashlib
import random
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import TOKEN, HubServer

from skingpt4.errors import WeightsError
from skingpt4.weights.catalogue import Published
from skingpt4.weights.hub import download

DECODER = Published("vicuna-tiny", "a decoder", "MIT", repository="lmsys/vicuna-tiny")
BYTES = random.Random(7)
SHARD = "model-00001-of-00002.safetensors"
REPOSITORY = {
    "config.json": b"{}",
    "tokenizer.model": b"\x00" + BYTES.randbytes(300),
    "model.safetensors.index.json": b"{}",
    SHARD: b"\x00" + BYTES.randbytes(99_999),
    "model-00002-of-00002.safetensors": b"\x00" + BYTES.randbytes(4_999),
    "pytorch_model.bin": b"\x00 the same weights once more",
    "original/consolidated.00.pth": b"\x00 and again",
    "README.md": b"# Vicuna",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    from huggingface_hub import constants

    with HubServer(files={DECODER.repository: dict(REPOSITORY)}) as server:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # a page that another test showed turns the hub off
        monkeypatch.setattr(constants, "ENDPOINT", server.url)  # what HF_ENDPOINT sets when it is imported
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # so that a small file takes many
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        yield server


def message_of(published: Published, folder: Path) -> str:
    with pytest.raises(WeightsError) as raised:
        download(published, folder)
    return str(raised.value)


def on_the_web(hub: HubServer, content: bytes, sha256: str = "", name: str = "eva.pth") -> Published:
    hub.plain[name] = content
    return Published(name, "a file", "MIT", url=f"{hub.url}/plain/{name}", sha256=sha256)


def test_a_decoder_comes_whole_and_once(hub: HubServer, tmp_path: Path) -> None:
    """Weights in one form only, with what stands beside them; a second call fetches nothing."""
    folder = download(DECODER, tmp_path / "weights")
    assert folder == tmp_path / "weights" / "vicuna-tiny"
    wanted = set(REPOSITORY) - {"pytorch_model.bin", "original/consolidated.00.pth", "README.md"}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {name: REPOSITORY[name] for name in wanted}
    before = len([path for _, path, _, _ in hub.requests if "/resolve/" in path])
    assert before == len(wanted)
    assert download(DECODER, tmp_path / "weights") == folder
    assert len([path for _, path, _, _ in hub.requests if "/resolve/" in path]) == before


def test_bin_weights_where_there_are_no_safetensors(hub: HubServer, tmp_path: Path) -> None:
    hub.files[DECODER.repository] = {name: REPOSITORY[name] for name in ("config.json", "pytorch_model.bin")}
    assert {path.name for path in download(DECODER, tmp_path).iterdir()} == {"config.json", "pytorch_model.bin"}


def test_one_file_of_a_repository(hub: HubServer, tmp_path: Path) -> None:
    content = b"\x80 a projection"
    hub.files["Vision-CAIR/MiniGPT-4"] = {"deep/prerelease.pth": content, "README.md": b"#"}
    published = Published(
        "pretrained_minigpt4.pth", "", "", repository="Vision-CAIR/MiniGPT-4", file="deep/prerelease.pth"
    )
    path = download(published, tmp_path)
    assert path == tmp_path / "pretrained_minigpt4.pth" and path.read_bytes() == content
    assert [child.name for child in tmp_path.iterdir()] == ["pretrained_minigpt4.pth"]


def test_a_cut_connection_is_resumed(hub: HubServer, tmp_path: Path) -> None:
    hub.cut_after[SHARD] = 60_000
    assert (download(DECODER, tmp_path) / SHARD).read_bytes() == REPOSITORY[SHARD]
    assert hub.ranges_of(SHARD) == ["", "bytes=60000-"]


def test_a_later_call_goes_on_where_an_earlier_one_broke(hub: HubServer, tmp_path: Path) -> None:
    """The process that began the file is gone: nothing but its `.part` is left."""
    part = tmp_path / "vicuna-tiny" / f"{SHARD}.part"
    part.parent.mkdir()
    part.write_bytes(REPOSITORY[SHARD][:77_000])
    hub.broken.add(SHARD)
    message = message_of(DECODER, tmp_path)
    assert "answers 503" in message and "goes on from there" in message
    assert part.stat().st_size == 77_000
    hub.broken.clear()
    hub.requests.clear()
    assert (download(DECODER, tmp_path) / SHARD).read_bytes() == REPOSITORY[SHARD]
    assert hub.ranges_of(SHARD) == ["bytes=77000-"] and not list(tmp_path.rglob("*.part"))


def test_a_part_that_is_whole_already(hub: HubServer, tmp_path: Path) -> None:
    """Killed between the last byte and the new name."""
    part = tmp_path / "vicuna-tiny" / f"{SHARD}.part"
    part.parent.mkdir()
    part.write_bytes(REPOSITORY[SHARD])
    assert (download(DECODER, tmp_path) / SHARD).read_bytes() == REPOSITORY[SHARD]
    assert hub.ranges_of(SHARD) == []


def test_a_wrong_hash(hub: HubServer, tmp_path: Path) -> None:
    hub.stated_hash[SHARD] = "0" * 64
    message = message_of(DECODER, tmp_path)
    found = hashlib.sha256(REPOSITORY[SHARD]).hexdigest()
    assert f"its SHA-256 is {found}, and {'0' * 64} was published. It was deleted" in message
    assert not list(tmp_path.rglob(f"{SHARD}*"))


def test_a_part_of_other_content_is_found_by_its_hash(hub: HubServer, tmp_path: Path) -> None:
    part = tmp_path / "vicuna-tiny" / f"{SHARD}.part"
    part.parent.mkdir()
    part.write_bytes(b"\x00" * 50_000)
    assert "its SHA-256 is" in message_of(DECODER, tmp_path)
    assert (download(DECODER, tmp_path) / SHARD).read_bytes() == REPOSITORY[SHARD]


def test_a_server_that_cannot_resume_sends_all_of_it(hub: HubServer, tmp_path: Path) -> None:
    hub.ignores_range.add(SHARD)
    part = tmp_path / "vicuna-tiny" / f"{SHARD}.part"
    part.parent.mkdir()
    part.write_bytes(REPOSITORY[SHARD][:50_000])
    assert (download(DECODER, tmp_path) / SHARD).read_bytes() == REPOSITORY[SHARD]


def test_a_whole_part_of_a_file_whose_size_nobody_told(hub: HubServer, tmp_path: Path) -> None:
    """Killed before the last step, it would be asked for its next byte for ever, which no server has."""
    content = b"\x00" + BYTES.randbytes(9_999)
    published = on_the_web(hub, content)
    hub.no_head.add("eva.pth")
    (tmp_path / "eva.pth.part").write_bytes(content)
    assert download(published, tmp_path).read_bytes() == content
    (tmp_path / "eva.pth").unlink()
    (tmp_path / "eva.pth.part").write_bytes(content + b"of another version")
    assert "eva.pth.part is not of what" in message_of(published, tmp_path)
    assert download(published, tmp_path).read_bytes() == content


def test_two_at_once_do_not_mix_their_bytes(hub: HubServer, tmp_path: Path) -> None:
    hub.held[SHARD] = threading.Event()
    first = threading.Thread(target=download, args=(DECODER, tmp_path))
    first.start()
    while not hub.ranges_of(SHARD):  # it has begun to fetch, and has the file locked
        first.join(0.01)
    message = message_of(DECODER, tmp_path)
    hub.held.pop(SHARD).set()
    first.join()
    assert f"{SHARD}.part is being written by another process" in message
    assert (tmp_path / "vicuna-tiny" / SHARD).read_bytes() == REPOSITORY[SHARD]


def test_a_licence_is_a_text_and_comes_too(hub: HubServer, tmp_path: Path) -> None:
    """Without an ending, as Qwen's: it was taken for a web page, and the download ended."""
    hub.files[DECODER.repository]["LICENSE"] = b"Apache License, Version 2.0"
    assert (download(DECODER, tmp_path) / "LICENSE").read_bytes() == b"Apache License, Version 2.0"


def test_a_mirror_that_is_none(hub: HubServer, tmp_path: Path) -> None:
    hub.portal = b"<!DOCTYPE html><title>Hospital network: please log in</title>"
    assert f"{hub.url} does not answer as the Hugging Face Hub does" in message_of(DECODER, tmp_path)


def test_fewer_bytes_than_the_listing_says(hub: HubServer, tmp_path: Path) -> None:
    hub.stated_size[SHARD] = len(REPOSITORY[SHARD]) + 5
    message = message_of(DECODER, tmp_path)
    assert "sent more or fewer bytes than it had said" in message and "force_download" not in message


def test_a_name_that_the_hub_does_not_allow(hub: HubServer, tmp_path: Path) -> None:
    unknown = Published("b", "", "", repository="lmsys/a--b")
    assert "'lmsys/a--b' is no name of a repository" in message_of(unknown, tmp_path)


def test_an_address_outside_the_hub(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same resuming and checking; and the hub's token goes to the hub only."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    content = b"\x00" + BYTES.randbytes(40_000)
    published = on_the_web(hub, content, hashlib.sha256(content).hexdigest())
    hub.cut_after["eva.pth"] = 25_000
    assert download(published, tmp_path).read_bytes() == content
    assert hub.ranges_of("eva.pth") == ["", "bytes=25000-"]
    assert not any(authorization for *_, authorization in hub.requests)


def test_a_web_page_instead_of_the_file(hub: HubServer, tmp_path: Path) -> None:
    """What Google Drive gives when too many have asked."""
    message = message_of(on_the_web(hub, b"<!DOCTYPE html><title>Quota exceeded</title>"), tmp_path)
    assert "is an HTML page, not weights" in message and list(tmp_path.iterdir()) == []


def test_nothing_at_an_address(hub: HubServer, tmp_path: Path) -> None:
    published = Published("eva.pth", "a file", "MIT", url=f"{hub.url}/plain/gone.pth")
    assert message_of(published, tmp_path).startswith(f"{published.url} answers 404: nothing is published there")


def test_a_repository_and_a_file_that_do_not_exist(hub: HubServer, tmp_path: Path) -> None:
    unknown = Published("x", "", "", repository="lmsys/no-such")
    assert f"{hub.url} has no repository lmsys/no-such" in message_of(unknown, tmp_path)
    renamed = Published("p.pth", "", "", repository=DECODER.repository, file="p.pth")
    assert "has no p.pth; it holds README.md, config.json" in message_of(renamed, tmp_path)
    hub.files["lmsys/empty"] = {"README.md": b"#"}
    empty = Published("e", "", "", repository="lmsys/empty")
    assert "has no weights (model*.safetensors, pytorch_model*.bin)" in message_of(empty, tmp_path)


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_repository(status: int, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated[DECODER.repository] = status
    message = message_of(DECODER, tmp_path)
    assert "https://huggingface.co/lmsys/vicuna-tiny gives its files only to who accepted its licence" in message
    assert "HF_TOKEN" in message
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert (download(DECODER, tmp_path) / SHARD).is_file()


def test_offline_mode(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert message_of(DECODER, tmp_path).startswith("HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set")
    assert "HF_HUB_OFFLINE" in message_of(on_the_web(hub, b"\x00"), tmp_path)
    assert hub.requests == []


def test_no_room_is_said_before_anything_is_fetched(hub: HubServer, tmp_path: Path) -> None:
    hub.stated_size[SHARD] = 10**18
    message = message_of(DECODER, tmp_path)
    assert f"{tmp_path / 'vicuna-tiny'} has room for " in message
    assert "1000000000.0 GB are to come. Nothing was fetched" in message
    assert not any("/resolve/" in path for _, path, _, _ in hub.requests)


@pytest.mark.parametrize("small_disk", ["64k"], indirect=True)
def test_a_disk_that_fills_up_while_the_bytes_come(hub: HubServer, small_disk: Path) -> None:
    """The server understates the size, as when somebody else writes to the same disk."""
    hub.stated_size[SHARD] = 0
    message = message_of(DECODER, small_disk)
    assert f"The disk of {small_disk} is full" in message and "goes on from there" in message
    kept = (small_disk / "vicuna-tiny" / f"{SHARD}.part").stat().st_size
    assert 30_000 < kept < 65_536
    subprocess.run(["mount", "-o", "remount,size=1m", small_disk], check=True)
    assert (download(DECODER, small_disk) / SHARD).read_bytes() == REPOSITORY[SHARD]
    assert hub.ranges_of(SHARD) == ["", f"bytes={kept}-"]


def test_another_file_of_that_name_is_not_overwritten(hub: HubServer, tmp_path: Path) -> None:
    path = tmp_path / "vicuna-tiny" / SHARD
    path.parent.mkdir()
    path.write_bytes(b"mine")
    assert f"{path} is there with 4 bytes; the published one has 100,000. Move it away" in message_of(DECODER, tmp_path)
    assert path.read_bytes() == b"mine"


def test_a_configuration_that_somebody_changed_stays(hub: HubServer, tmp_path: Path) -> None:
    config = tmp_path / "vicuna-tiny" / "config.json"
    config.parent.mkdir()
    config.write_text('{"mine": true}')
    download(DECODER, tmp_path)
    assert config.read_text() == '{"mine": true}'


def test_no_connection(tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    message = message_of(DECODER, tmp_path)
    assert "No connection to http://127.0.0.1:9" in message and "HF_ENDPOINT" in message
