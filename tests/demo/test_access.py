"""Where the page listens and who may use it: what is asked for, refused, warned about."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from skingpt4.cli import main
from skingpt4.demo.server import launch as demo_page
from skingpt4.demo.server.access import Access, access_of, accounts_of
from skingpt4.errors import DeviceError, SettingsError
from skingpt4.web.address import LOOPBACK, listen


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "::1", "[::1]", "127.8.8.8"])
def test_on_this_computer_no_password_is_asked_for(host: str) -> None:
    access = access_of(host)
    assert not access.is_public and access.accounts == {}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "clinic-pc", "localhost.example"])
def test_elsewhere_it_is_unless_the_user_says_that_everyone_may(host: str) -> None:
    with pytest.raises(SettingsError, match=r"others can open the page\. Give --auth FILE .* or say with --no-auth"):
        access_of(host)
    assert access_of(host, no_auth=True).is_public
    assert access_of(host, auth="ann:secret").accounts == {"ann": "secret"}


def test_what_is_published_needs_a_password_as_well() -> None:
    with pytest.raises(SettingsError, match="With --share others can open the page"):
        access_of(share=True)


def test_what_a_proxy_shows_to_others_needs_a_password_too() -> None:
    with pytest.raises(SettingsError, match=r"With --root-path https://skin\.clinic\.example others can open the page"):
        access_of(root_path="https://skin.clinic.example")
    assert access_of(root_path="https://skin.clinic.example", no_auth=True).is_public
    assert (
        not access_of(root_path="/skin").is_public and not access_of(root_path="http://localhost:8000/skin").is_public
    )


def test_the_command_refuses_before_it_loads_anything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--host", "0.0.0.0"]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("skingpt4: With --host 0.0.0.0 others can open the page.")
    assert "Loading" not in output.out


def test_a_file_holds_one_user_in_each_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "users"
    file.write_text("# the day shift\nann:secret\n\nbjörn:with:colon ä\n", encoding="utf-8")
    assert accounts_of(str(file)) == {"ann": "secret", "björn": "with:colon ä"}
    assert capsys.readouterr().err == ""


def test_a_password_on_the_command_line_is_warned_about_and_never_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    access = access_of("0.0.0.0", auth="ann:hunter2")
    told = capsys.readouterr().err
    assert "every user of this computer can read it" in told
    assert "hunter2" not in told + repr(access)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ann\n", "has no user:password in line 1"),
        (b"ann:secret\nhunter2:\n", "has no user:password in line 2"),
        (b"# nobody yet\n", "holds no user:password"),
        (b"\xff\xfehunter2", "cannot be read as text"),
    ],
)
def test_a_broken_file_is_told_without_its_words(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "users"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=message) as told:
        accounts_of(str(file))
    assert "hunter2" not in str(told.value)


def test_a_file_that_is_not_there_is_no_password() -> None:
    with pytest.raises(SettingsError, match="neither a file that is there nor user:password"):
        accounts_of("/nowhere/users")


def test_auth_and_no_auth_contradict_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["demo", "--auth", "a:b", "--no-auth"])
    assert "not allowed with" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="contradict each other"):
        access_of(auth="a:b", no_auth=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": " "}, "--host is empty"),
        ({"port": 70000}, "ports go from 1 to 65535"),
        ({"root_path": "clinic.example"}, "give a path as /skin, or an address as https://clinic.example/skin"),
        ({"root_path": "ftp://clinic.example"}, "give a path as /skin"),
    ],
)
def test_what_cannot_be_is_told(options: dict[str, str | int], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Access(**options)  # type: ignore[arg-type]


def test_it_answers_to_its_own_names_only() -> None:
    assert Access().host_names == ["127.0.0.1", "[::1]", "localhost"]
    assert "clinic.example" in Access(root_path="https://Clinic.example/skin").host_names
    everywhere = Access("0.0.0.0").host_names
    assert socket.gethostname().lower() in everywhere and "0.0.0.0" not in everywhere
    assert not any("*" in name for name in everywhere)
    assert "*.gradio.live" in Access(share=True).host_names


@pytest.mark.parametrize(
    ("root_path", "path", "origins"),
    [
        ("", "", []),
        ("/skin/", "/skin", []),
        ("https://clinic.example", "", ["https://clinic.example"]),
        ("https://clinic.example:8443/skin", "/skin", ["https://clinic.example:8443"]),
    ],
)
def test_what_a_reverse_proxy_puts_before_it(root_path: str, path: str, origins: list[str]) -> None:
    access = Access(root_path=root_path)
    assert (access.path, access.origins) == (path, origins)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as taken:
        yield taken.getsockname()[1]


def test_a_taken_port_is_told_and_the_next_one_found(taken_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match=rf"Port {taken_port} of 127.0.0.1 is taken; choose another with --port"):
        listen(Access(port=taken_port))
    monkeypatch.setattr("skingpt4.web.address.PORTS", range(taken_port, taken_port + 50))
    with listen(Access()) as found:
        assert taken_port < found.getsockname()[1] < taken_port + 50


def test_an_address_of_another_computer_is_told() -> None:
    with pytest.raises(DeviceError, match=r"192.0.2.7 is no address of this computer; choose another with --host"):
        listen(Access("192.0.2.7", port=0))


def test_sharing_is_refused_where_nobody_can_agree(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))  # no terminal: a script, a service
    assert main(["demo", "--share", "--no-auth"]) == 2
    output = capsys.readouterr()
    assert "asks first; start it from a terminal" in output.err and "Loading" not in output.out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["\n", "no\n", "y\n"])
def test_sharing_explains_itself_and_needs_a_whole_yes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert main(["demo", "--share", "--auth", "ann:secret"]) == 2
    output = capsys.readouterr()
    assert "publishes this page on the internet" in output.out and "Photographs, questions and answers" in output.out
    assert "Nothing was published" in output.err


def test_a_yes_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    demo_page._ask_before_sharing()
