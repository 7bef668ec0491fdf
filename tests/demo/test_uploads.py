"""What visitors send, to the real program on the embedded default: taken, refused, never written, forgotten."""

from __future__ import annotations

import fcntl
import io
import os
import re
import signal
import subprocess
import sys
import termios
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from demo_process import Server, started, until
from PIL import Image
from test_images_dicom import COLOURS, dicom, stored
from upload_files import BAD, BOMB, encoded, grainy
from visitors import Tab, file_value, jpeg

from skingpt4.demo.page.words import READY
from skingpt4.demo.visitors.private_folder import PrivateFolder
from skingpt4.demo.visitors.uploads import DRAINED_BYTES, TOO_BIG, UPLOAD_LIMIT
from skingpt4.images import open_image
from skingpt4.web.decoding import CRASHED, LONGEST_SIDE_PX, as_png

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

SECRETS = (b"47.3769N 8.5417E", b"Jane_Doe_1970-01-01", b"Doe^Jane")
MIB = 1 << 20


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one_thread = {"OMP_NUM_THREADS": "1"}
    with started(tmp_path_factory.mktemp("home"), "--device", "cpu", environment=one_thread) as server:
        tab = Tab(server.url)
        assert tab.told("look", tab.upload(jpeg())) == READY  # what is loaded at the first use is there
        yield server


@pytest.fixture
def tab(program: Server) -> Tab:
    return Tab(program.url)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_told_kindly_and_the_next_visitor_is_unharmed(kind: str, program: Server, tab: Tab) -> None:
    data, message = BAD[kind]
    before, already = program.forget_peak(), len(program.written)
    assert tab.told("look", tab.upload(data, "photo.png")).startswith(message)
    assert program.peak_bytes - before < 100 * MIB
    assert program.written[already:] == [] and list(program.folder.iterdir()) == []
    other = Tab(program.url)
    assert other.told("look", other.upload(jpeg())) == READY


def test_the_bomb_is_the_one_that_was_meant() -> None:
    assert 20_000 < len(BOMB) < 22_000


def test_too_many_bytes_without_a_length_are_refused_too(program: Server, tab: Tab) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' + jpeg()
    before = program.forget_peak()

    def body(pieces: int) -> Iterator[bytes]:
        yield head
        for _ in range(pieces):
            yield bytes(MIB)
        yield b"\r\n--x--\r\n"

    form = {"content-type": "multipart/form-data; boundary=x"}
    answer = tab.browser.post("/gradio_api/upload", content=body(60), headers=form)
    assert tab.told("look", file_value(answer.json()[0])) == f"⚠ {TOO_BIG}"
    endless = tab.browser.post("/gradio_api/upload", content=body(DRAINED_BYTES // MIB + 30), headers=form)
    assert (endless.status_code, endless.text) == (413, TOO_BIG)
    assert program.peak_bytes - before < 100 * MIB
    assert tab.told("look", tab.upload(jpeg())) == READY


@pytest.mark.parametrize("body", [b"", b"x", b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\nx\r\n--x--"])
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "multipart/form-data", "image/jpeg", ""])
def test_what_is_no_form_is_refused(body: bytes, kind: str, tab: Tab) -> None:
    answer = tab.browser.post("/gradio_api/upload", content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.text) == (400, "One file in a form was expected.")


def test_one_file_at_a_time(tab: Tab) -> None:
    answer = tab.browser.post("/gradio_api/upload", files=[("files", ("a", jpeg())), ("files", ("b", jpeg()))])
    assert answer.status_code == 400


def test_heic_dicom_and_turned_photographs_are_read(tab: Tab) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "IMG_1.HEIC": encoded(grainy((320, 240)), "HEIF"),
        "1.2.3.dcm": stored(dicom(COLOURS, "RGB")),
        "IMG_2.JPG": jpeg(exif=exif),
    }
    for name, data in files.items():
        assert tab.told("look", tab.upload(data, name)) == READY


def test_gps_names_and_patients_are_nowhere_afterwards(program: Server, tab: Tab) -> None:
    """Neither in a file, its name, nor in the log, nor in what comes back: picture, heat-map and reports."""
    exif = Image.Exif()
    exif[0x010E] = SECRETS[0].decode()
    exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 22.0, 36.84), 29: SECRETS[0].decode()})
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + SECRETS[0] + b"</x:xmpmeta>"
    photograph = jpeg((400, 300), exif=exif, xmp=xmp, comment=SECRETS[0])
    assert photograph.count(SECRETS[0]) == 4
    shown = ""
    for name, data in (
        ("Jane_Doe_1970-01-01.dcm", stored(dicom(COLOURS, "RGB"))),
        ("Jane_Doe_1970-01-01.jpg", photograph),
    ):
        shown += str(tab.steps("look", tab.upload(data, name)))
        assert tab.told("look", tab.upload(data[:200], name)).startswith("⚠")
    sampling = (0, 1, 12, 1, 1, 0)
    shown += str(tab.steps("ask", "What is it?", *sampling)) + str(tab.steps("heatmap"))
    shown += str(tab.steps("report", *sampling))
    urls = set(re.findall(r"/kept/[\w-]{43}/[\w.-]+", shown))
    assert {url.rpartition("/")[2].partition(".")[2] for url in urls} >= {"jpg", "html", "pdf", "json"}
    files = [tab.browser.get(url).raise_for_status().content for url in urls]
    files += [path.read_bytes() for path in program.home.rglob("*") if path.is_file()]  # log and notes are among them
    for secret in SECRETS:
        assert secret.decode() not in shown
        assert [data[:20] for data in files if secret in data] == []
    for data in (data for data in files if data.startswith(b"\xff\xd8")):
        with Image.open(io.BytesIO(data)) as image:
            assert not image.getexif() and not image.info.keys() & {"exif", "xmp", "comment", "icc_profile"}
    assert list(program.folder.iterdir()) == []


def test_nothing_is_written_for_a_picture(program: Server, tab: Tab) -> None:
    already = len(program.written)
    assert any("skingpt4-page-" in each for each in program.written)  # the notes work
    assert tab.told("look", tab.upload(encoded(grainy((2000, 1500)), "PNG"))) == READY
    assert program.written[already:] == []
    assert program.folder.stat().st_mode & 0o777 == 0o700
    assert program.folder.parent == Path("/dev/shm") or not Path("/dev/shm").exists()


def test_a_picture_is_handed_to_the_page_that_sent_it_and_to_nobody_else(program: Server, tab: Tab) -> None:
    value, stranger = tab.upload(jpeg()), Tab(program.url)
    gone = "⚠ The picture is not here any more. Add it again."
    assert stranger.told("look", value) == gone
    for browser in (tab.browser, stranger.browser, httpx.Client(base_url=program.url, trust_env=False)):
        assert browser.get(value["url"]).status_code == 404
    assert tab.told("look", value) == READY
    assert tab.told("look", value) == gone


def test_without_a_cookie_nothing_is_taken(program: Server) -> None:
    answer = httpx.post(f"{program.url}gradio_api/upload", files={"files": ("a.jpg", jpeg())}, trust_env=False)
    assert answer.status_code == 403 and "Allow cookies" in answer.text


@pytest.mark.slow
def test_photographs_of_48_megapixels_are_read_one_after_the_other(program: Server) -> None:
    photograph = encoded(grainy((8064, 6048)), "JPEG", quality=85)
    assert 5_000_000 < len(photograph) < UPLOAD_LIMIT
    growth = []
    for many in (1, 4):
        tabs = [Tab(program.url) for _ in range(many)]
        before = program.forget_peak()
        with ThreadPoolExecutor(many) as pool:
            said = list(pool.map(lambda tab: tab.told("look", tab.upload(photograph)), tabs))
        assert said == [READY] * many
        growth.append((program.peak_bytes - before) / MIB)
    print(f"48 megapixels take {growth[0]:.0f} MiB for a moment, four at once {growth[1]:.0f} MiB")
    assert growth[0] < 150  # a process of its own decodes
    assert growth[1] < growth[0] + 4 * (len(photograph) / MIB * 3 + 30)  # the files and results of all, one decoding


def decoder_of(program: Server) -> Path:
    """In /proc: the process that decodes."""
    children = Path(f"/proc/{program.process.pid}/task").glob("*/children")
    (decoder,) = [f"/proc/{child}" for each in children for child in each.read_text().split()]
    return Path(decoder)


def test_the_decoder_has_no_network_and_little_memory(program: Server, tab: Tab) -> None:
    assert tab.told("look", tab.upload(jpeg())) == READY
    decoder = decoder_of(program)
    limits = {line[:26].strip(): line[26:].split()[0] for line in (decoder / "limits").read_text().splitlines()}
    assert limits["Max core file size"] == "0"
    assert int(limits["Max address space"]) < 2500 * MIB
    assert [each for each in (decoder / "fd").iterdir() if str(each.readlink()).startswith("socket")] == []
    assert "Umask:\t0077" in (decoder / "status").read_text()
    assert "torch" not in (decoder / "maps").read_text()


def waiting_bytes(pid: int) -> int:
    """What a stopped process has in its standard input."""
    pipe, count = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK), array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    os.close(pipe)
    return count[0]


def test_a_crash_of_the_decoder_harms_one_picture_only(program: Server, tab: Tab) -> None:
    pid = int(decoder_of(program).name)
    os.kill(pid, signal.SIGSTOP)  # so that it is not done before
    with ThreadPoolExecutor(1) as pool:
        value = pool.submit(tab.upload, jpeg())
        assert until(lambda: waiting_bytes(pid) > 0, 60)
        os.kill(pid, signal.SIGABRT)
        os.kill(pid, signal.SIGCONT)
    assert tab.told("look", value.result()) == f"⚠ {CRASHED}"
    assert tab.told("look", tab.upload(jpeg())) == READY
    decoder = decoder_of(program)
    os.kill(int(decoder.name), signal.SIGKILL)  # while it waits: nobody is harmed
    assert until(lambda: not decoder.exists() or "State:\tZ" in (decoder / "status").read_text())
    assert tab.told("look", tab.upload(jpeg())) == READY


def test_a_small_picture_stays_as_it_is_and_a_large_one_is_made_smaller() -> None:
    small, large = jpeg((300, 200), colour=(201, 119, 90)), encoded(grainy((3000, 100)), "JPEG")
    with Image.open(io.BytesIO(as_png(small))) as image:
        assert image.info == {} and image.tobytes() == open_image(small).tobytes()
    with Image.open(io.BytesIO(as_png(large))) as image:
        assert image.size == (LONGEST_SIDE_PX, round(100 * LONGEST_SIDE_PX / 3000))


MAKE_FOLDER = """
from skingpt4.demo.visitors.private_folder import PrivateFolder
print(PrivateFolder().path, flush=True)
input()
"""


def test_the_folder_of_a_killed_server_goes_at_the_next_start_and_a_running_ones_stays() -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", MAKE_FOLDER], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    killed, runs = (Path(process.stdout.readline().strip()) for process in started if process.stdout)
    started[0].kill()
    started[0].communicate()
    assert killed.exists() and runs.exists()
    folder = PrivateFolder()
    assert not killed.exists() and runs.exists()
    folder.close()
    folder.close()
    assert not folder.path.exists()
    started[1].communicate("")
    PrivateFolder().close()
    assert not runs.exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.usefixtures("terminal_signals")
def test_no_folder_stays_however_the_program_ends(how: signal.Signals, tmp_path: Path) -> None:
    with started(tmp_path, "--device", "cpu", environment={"OMP_NUM_THREADS": "1"}) as program:
        tab = Tab(program.url)
        assert tab.told("look", tab.upload(jpeg())) == READY
        folder = program.folder
        assert folder.is_dir() and folder.stat().st_mode & 0o777 == 0o700
        assert program.status("Umask") == "0077"
        decoder = decoder_of(program)
        code = program.end(how)
        assert until(lambda: not decoder.exists())
    if how == signal.SIGKILL:
        assert not list(folder.glob("*"))  # gone, where another server has started since
        PrivateFolder().close()  # the next start
    else:
        assert code == 0
    assert not folder.exists()
