"""The real `demo.py` on the embedded default, and the system's Chromium in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from patient import Patient
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def demo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page is."""
    from demo_process import started

    with started(tmp_path_factory.mktemp("demo"), "--device", "cpu") as server:
        yield server.url


@pytest.fixture
def patients(chromium: Browser, demo_url: str) -> Iterator[Callable[..., Patient]]:
    """Makes visitors of `demo_url` (or another), each with a browser profile of their own; options: of Playwright's
    `new_context`.

    Whatever a test does: its tabs turn to this computer only, their scripts do not fail, and they leave nothing behind.
    """
    from patient import Patient

    made: list[Patient] = []

    def make(url: str = demo_url, **options: Any) -> Patient:
        made.append(Patient(chromium.new_context(**options).new_page(), url))
        return made[-1]

    yield make
    left = [patient.stored() for patient in made]
    hosts = {urlsplit(address).hostname for patient in made for address in patient.requests if "://" in address}
    faults = [fault for patient in made for fault in patient.faults]
    for patient in made:
        patient.page.context.close()
    assert hosts == {"127.0.0.1"}
    assert left == [[]] * len(made)
    assert faults == []


@pytest.fixture
def patient(patients: Callable[..., Patient]) -> Patient:
    """One visitor at a desk."""
    return patients()
