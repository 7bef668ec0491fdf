"""Downloads that can be interrupted: from the Hugging Face Hub (or its mirror, `HF_ENDPOINT`) and from plain addresses.

Never by itself: `skingpt4 weights download` is the only caller. `huggingface_hub` says which files there are, how large
and with which hash, gives the token (`HF_TOKEN`, `hf auth login`) and fetches the bytes. Its own `hf_hub_download`
keeps nothing of a file when its process dies (2.4: each process has a partial file of its own, deleted at the end), so
that the 10 GB shard of a 13B decoder begins anew. Here the bytes go to `NAME.part`, which the next call continues.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from http.client import REQUESTED_RANGE_NOT_SATISFIABLE
from pathlib import Path

from skingpt4.data.records import file_sha256
from skingpt4.durable import alone
from skingpt4.errors import WeightsError
from skingpt4.weights.catalogue import Published
from skingpt4.weights.files import what_it_is

# Weights of a decoder, preferred first; a repository may have both.
WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
BESIDE = ("*.json", "*.model", "*.txt", "*.jinja", "LICENSE*", "USE_POLICY*")  # configuration, tokenizer, licence
NO_TEXT = (".safetensors", ".bin", ".pth")  # where these were expected, text is a web page
NOBODY_CHANGES = (*NO_TEXT, ".model")  # a configuration may have been changed where it is, and stays so


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch. size_bytes: 0 = not known. sha256: "" = not known."""

    name: str
    url: str
    size_bytes: int = 0
    sha256: str = ""


def download(published: Published, folder: Path) -> Path:
    """Fetch what is not there yet into `folder`; returns the file, or the decoder's folder.

    An interrupted call is continued by the next one. Raises `WeightsError`: no connection, nothing at that address, a
    licence to accept first, no room, a file that is not what was published, another download of the same file.
    """
    with _in_words(published, folder):
        files = _files_of(published)
        to_folder = folder if published.url or published.file else folder / published.name
        _require_room(files, to_folder)
        for file in files:
            _fetch(file, to_folder / file.name, on_hub=not published.url)
    return folder / published.name


def _files_of(published: Published) -> list[RemoteFile]:
    """What is published, with sizes and hashes, asked of the server; nothing is fetched."""
    if published.url:
        return [RemoteFile(published.name, published.url, _size_of(published.url), published.sha256)]
    from huggingface_hub import HfApi, constants, hf_hub_url

    try:
        listed = HfApi().model_info(published.repository, files_metadata=True).siblings or []
    except json.JSONDecodeError as error:
        raise WeightsError(
            f"{constants.ENDPOINT} does not answer as the Hugging Face Hub does. Check HF_ENDPOINT, and whether this "
            "network wants a log-in first."
        ) from error
    sizes = {file.rfilename: file for file in listed}
    wanted = [published.file] if published.file else _of_a_decoder(list(sizes))
    if not wanted or wanted[0] not in sizes:
        raise WeightsError(
            f"{published.source} has no {published.file or 'weights (' + ', '.join(WEIGHTS) + ')'}; it holds "
            f"{', '.join(sorted(sizes)[:8]) or 'nothing'}."
        )
    files = []
    for name in wanted:
        url = hf_hub_url(published.repository, name)
        lfs = sizes[name].lfs  # large files; small ones are in git and have no SHA-256
        files.append(RemoteFile(name, url, sizes[name].size or 0, lfs.sha256 if lfs else ""))
    if published.file:
        files = [RemoteFile(published.name, files[0].url, files[0].size_bytes, files[0].sha256)]
    return files


def _of_a_decoder(names: list[str]) -> list[str]:
    """The names at the repository's top that a decoder needs, large ones last; none where there are no weights."""
    top = [name for name in names if "/" not in name]
    kinds = ([name for name in top if fnmatch(name, pattern)] for pattern in WEIGHTS)
    weights = next((kind for kind in kinds if kind), [])
    beside = [name for name in top if any(fnmatch(name, pattern) for pattern in BESIDE)]
    return [*sorted(beside), *sorted(weights)] if weights else []


def _size_of(url: str) -> int:
    """What the server says before it sends anything; 0 where it does not say."""
    from huggingface_hub import get_session

    response = get_session().head(url, headers={"Accept-Encoding": "identity"}, timeout=30)
    return int(response.headers.get("Content-Length", 0)) if response.status_code == 200 else 0


def _require_room(files: list[RemoteFile], folder: Path) -> None:
    """Raise `WeightsError` where the disk cannot hold what is still to come."""
    kept = sum(_bytes_of(folder / file.name) or _bytes_of(_part(folder / file.name)) for file in files)
    missing = sum(file.size_bytes for file in files) - kept
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise WeightsError(
            f"{folder} has room for {free / 1e9:.1f} GB and {missing / 1e9:.1f} GB are to come. Nothing was fetched: "
            "make room, or choose another disk with `--to DIR`."
        )


def _fetch(file: RemoteFile, path: Path, on_hub: bool) -> None:
    """One file, whole and checked, or no file of that name. What there is already of it is kept and continued."""
    if path.is_file():
        differs = file.size_bytes and path.stat().st_size != file.size_bytes
        if differs and file.name.endswith(NOBODY_CHANGES):
            raise WeightsError(
                f"{path} is there with {path.stat().st_size:,} bytes; the published one has {file.size_bytes:,}. "
                "Move it away, then call again."
            )
        return
    part = _part(path)
    part.touch()
    busy = WeightsError(
        f"{part} is being written by another process at this moment. Wait for its end, then call again."
    )
    with alone(part, busy):
        _fetch_rest(file, part, on_hub)
        _require_right(part, file)
        part.replace(path)


def _fetch_rest(file: RemoteFile, part: Path, on_hub: bool) -> None:
    """What `part` still lacks."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented, not in an __all__

    headers = build_hf_headers() if on_hub else {}  # the token is for the Hub only
    with part.open("ab") as opened:
        if file.size_bytes and opened.tell() > file.size_bytes:  # of another version
            opened.seek(0)
            opened.truncate()
        start = opened.tell()
        try:
            http_get(
                file.url, opened, resume_size=start, headers=headers, expected_size=file.size_bytes or None,
                displayed_filename=file.name,
            )  # fmt: skip
        except HfHubHTTPError as error:
            if error.response.status_code != REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            if error.response.headers.get("Content-Range") != f"bytes */{start}":  # else it is whole, as is told now
                part.unlink()
                raise WeightsError(f"{part} is not of what {file.url} has now. It was deleted; call again.") from error
        opened.flush()
        os.fsync(opened.fileno())


def _require_right(part: Path, file: RemoteFile) -> None:
    """Raise `WeightsError`, and delete the file, where it is not what was published."""
    found = file_sha256(part) if file.sha256 else ""
    wrong = f"its SHA-256 is {found}, and {file.sha256} was published" if found != file.sha256 else ""
    if file.name.endswith(NO_TEXT):
        wrong = what_it_is(part) or wrong  # what a log-in page or "too many downloads" looks like
    if wrong:
        part.unlink()
        raise WeightsError(
            f"{file.url} gave something else than {file.name}: {wrong}. It was deleted; try again later."
        )


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _bytes_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


@contextmanager
def _in_words(published: Published, folder: Path) -> Iterator[None]:
    """What a server, a connection or a disk says, as a `WeightsError` with what to do about it."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is its HTTP library's own
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    again = "What was fetched is kept: the same command goes on from there."
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise WeightsError("HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set: nothing is fetched. Unset it.") from error
    except HFValidationError as error:
        raise WeightsError(f"{published.repository!r} is no name of a repository: {error}") from error
    except GatedRepoError as error:
        raise WeightsError(
            f"{published.source} gives its files only to who accepted its licence. Accept it on that page, make a "
            "token at https://huggingface.co/settings/tokens, and give it as HF_TOKEN (or `hf auth login`)."
        ) from error
    except RepositoryNotFoundError as error:
        raise WeightsError(
            f"{constants.ENDPOINT} has no repository {published.repository}, or does not show it to you. Check the "
            "name; for a private one give HF_TOKEN."
        ) from error
    except EntryNotFoundError as error:
        raise WeightsError(f"{published.source} has no such file any more: {error}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        address = f"{published.source} answers {status}"
        if status in (401, 403):
            raise WeightsError(
                f"{address}: it wants to know who you are. Give a token that may read it as HF_TOKEN."
            ) from error
        if status == 404:
            raise WeightsError(f"{address}: nothing is published there any more.") from error
        raise WeightsError(f"{address}. Try again later. {again}") from error
    except HTTPError as error:
        host = published.url or constants.ENDPOINT
        raise WeightsError(
            f"No connection to {host}, or it broke ({error or type(error).__name__}). {again} "
            "A mirror of the Hugging Face Hub can be given as HF_ENDPOINT."
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise WeightsError(f"The disk of {folder} is full ({error}). {again} Make room first.") from error
        if error.errno is None:  # huggingface_hub counts what came
            raise WeightsError(
                f"{published.source} sent more or fewer bytes than it had said. Call again: what fits is kept."
            ) from error
        raise WeightsError(f"{published.name} cannot be written to {folder}: {error}") from error
